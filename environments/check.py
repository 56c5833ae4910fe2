"""Check, before anything slow happens, that a DQN can learn in an environment."""

from __future__ import annotations

import re
import time
import warnings
from contextlib import closing
from typing import Any

import gymnasium as gym
import numpy as np
import optree
from gymnasium.utils import RecordConstructorArgs, env_checker

from config import Config
from console.errors import InputError
from console.messages import say
from environments.actions import MASK, action_mask
from environments.make import LONGEST_EPISODE, has_vector_version, is_emulated, make_env, time_limit
from environments.resume import ResumableEnv
from environments.spaces import check_size
from environments.table_rows import table_shape

LONGEST_SEARCH = 10_000  # random steps in which an environment without a limit must end an episode
FEW_STEPS, FEW_EPISODES = 30, 3  # compared between two instances
# What `_check_repeats` finds too, and says better.
_OF_RANDOMNESS = re.compile(r"eterministic|np_random|bit_generator|super\(\)\.reset|random (number )?generat")


def check_env(config: Config) -> str:
    """Check an environment on throw-away instances, as it is trained on. Prints warnings on standard error.

    Returns:
        A line that says what it is like.

    Raises:
        InputError: no agent with these settings can learn in it; the message says why.
    """
    try:
        with closing(make_env(config)) as env:
            if config.method != "dqn":
                table_shape(env.observation_space, env.action_space, config.checkpoint_every > 0)
            elif ":" not in config.network:
                check_size(env.observation_space, int(env.action_space.n))  # type: ignore[attr-defined]
            _check_interface(env, config.env)
            episode = _check_episode(env, config)
        if not (has_vector_version(config) or is_emulated(config)):
            _check_repeats(config)
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # user code may raise anything
        raise InputError(f"--env {config.env} fails: {type(error).__name__}: {error}") from error
    _check_length(config, time_limit(env))
    endless = "; it has no time limit: --max-episode-steps sets one" * (time_limit(env) == LONGEST_EPISODE)
    return f"{config.env} can be trained on: {episode}{endless}; preset {config.preset}"


def _check_length(config: Config, limit: int) -> None:
    """Check that the run is long enough to learn, given the time limit of an episode, in steps."""
    if config.method == "dqn" and config.episodes * limit < config.learn_start:
        raise InputError(
            f"--learn-start {config.learn_start} is more than the {config.episodes * limit} steps that --episodes "
            f"{config.episodes} can take, so it would never learn: lower it or play more episodes"
        )


def _check_interface(env: gym.Env, name: str) -> None:
    """Pass on what Gymnasium's own checker finds, as warnings: `CheckedEnv` refuses what cannot be trained on."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", message=".*different from the unwrapped version")
        found = ""
        try:
            env_checker.check_env(_OnlyLegal(env), skip_render_check=True, skip_close_check=True)
        except InputError:
            raise
        except Exception as error:  # assertions
            found = str(error)
    texts = [str(warning.message) for warning in caught] + [found] * (not _OF_RANDOMNESS.search(found))
    for text in filter(None, dict.fromkeys(texts)):
        plain = re.sub(r"\x1b\[\d+m|WARN: ", "", text)  # without Gymnasium's colours
        say(f"warning: {name}: {' '.join(plain.split())}")


class _OnlyLegal(gym.Wrapper, RecordConstructorArgs):
    """Replaces an illegal action by the first legal one: Gymnasium's checker knows no masks."""

    def __init__(self, env: gym.Env) -> None:
        RecordConstructorArgs.__init__(self)  # the checker makes the environment a second time
        gym.Wrapper.__init__(self, env)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        self._mask: Any = info.get(MASK)
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        n_actions, first = int(self.action_space.n), int(self.action_space.start)  # type: ignore[attr-defined]
        if np.shape(self._mask) == (n_actions,) and np.any(self._mask) and not self._mask[action - first]:
            action = np.int64(first + np.argmax(self._mask))
        *step, info = self.env.step(action)
        self._mask = info.get(MASK)
        return *step, info


def _check_episode(env: gym.Env, config: Config) -> str:
    """Play a random episode. It must end; `CheckedEnv` looks at the rest. Returns what it was like."""
    player, began, told = _RandomPlayer(env), time.monotonic(), False
    player.reset(seed=0)
    for _ in range(min(time_limit(env), LONGEST_SEARCH)):
        if player.step():
            break
        if not told and time.monotonic() - began > 2:
            say(f"playing a random episode of {config.env} to check it")
            told = True
    else:
        if time_limit(env) == LONGEST_EPISODE:
            raise InputError(
                f"--env {config.env} did not end in {LONGEST_SEARCH:,} random steps and has no time limit of its own: "
                "set --max-episode-steps"
            )
    return (
        f"observations {env.observation_space}, actions {env.action_space}; a random episode took {player.length:,} "
        f"steps and returned {player.total:g}"
    )


def _check_repeats(config: Config) -> None:
    """Warn unless one seed gives one course of events, here and when a run is resumed."""
    with closing(ResumableEnv(make_env(config))) as env:
        player = _RandomPlayer(env)
        first = player.play(FEW_STEPS, seed=0)
        states = []
        for _ in range(FEW_EPISODES):
            player.play(FEW_STEPS // 3)
            states.append((env.get_state(), player.observation))
    with closing(ResumableEnv(make_env(config))) as env:
        again = _RandomPlayer(env).play(FEW_STEPS, seed=0)
        lost = "" if _equal(first, again) else "two runs of one seed differ, and "
        try:
            resumes = all(_equal(env.set_state(state), observation) for state, observation in states)
        except Exception:  # user code may raise anything
            resumes = False
    if lost or not resumes:
        say(
            f"warning: {config.env} draws random numbers elsewhere than from its self.np_random: {lost}a resumed run "
            "starts new episodes where it stood"
        )


def _equal(one: Any, other: Any) -> bool:
    pairs = optree.tree_leaves(one), optree.tree_leaves(other)
    return len(pairs[0]) == len(pairs[1]) and all(map(np.array_equal, *pairs))


class _RandomPlayer:
    """Plays with random legal actions, always the same ones.

    Attributes:
        observation: the newest.
        length, total: steps and rewards of the episode so far.
    """

    def __init__(self, env: gym.Env) -> None:
        self._env, self._generator = env, np.random.default_rng(0)
        space: Any = env.action_space
        self._n_actions, self._first_action = int(space.n), int(space.start)

    def reset(self, seed: int | None = None) -> None:
        self.observation, self._info = self._env.reset(seed=seed)
        self.length, self.total = 0, 0.0

    def step(self) -> bool:
        """Take a step. Returns whether it ended the episode."""
        legal = np.flatnonzero(action_mask(self._info, self._n_actions))
        action = self._first_action + int(self._generator.choice(legal))
        self.observation, reward, terminated, truncated, self._info = self._env.step(action)
        self.length, self.total = self.length + 1, self.total + float(reward)
        return terminated or truncated

    def play(self, steps: int, seed: int | None = None) -> list[Any]:
        """Play at most this many steps of an episode. Returns its observations."""
        self.reset(seed)
        observations = [self.observation]
        for _ in range(steps):
            ended = self.step()
            observations.append(self.observation)
            if ended:
                break
        return observations
