"""Check, before anything slow happens, that a DQN can learn in an environment."""

from __future__ import annotations

import math
import re
import warnings
from contextlib import closing
from numbers import Real
from typing import Any

import gymnasium as gym
import numpy as np
import optree
from gymnasium.spaces import Discrete
from gymnasium.utils import RecordConstructorArgs, env_checker

from config import Config
from console.errors import InputError
from console.messages import say
from environments.actions import MASK
from environments.make import LONGEST_EPISODE, is_emulated, make_env, time_limit
from environments.spaces import example_observation
from environments.table_rows import table_shape

LONGEST_SEARCH = 10_000  # random steps in which an environment without a limit must end an episode


def check_env(config: Config) -> None:
    """Check an environment on a throw-away instance. Prints Gymnasium's warnings on standard error.

    Raises:
        InputError: no agent with these settings can learn in it; the message says why.
    """
    env = make_env(config)
    try:
        with closing(env):
            _check_spaces(env, config)
            _check_interface(env.unwrapped, config.env)
            _check_episode(env, config)
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # user code may raise anything
        raise InputError(f"--env {config.env} fails: {type(error).__name__}: {error}") from error
    _check_length(config, time_limit(env))


def _check_spaces(env: gym.Env, config: Config) -> None:
    if not isinstance(env.action_space, Discrete):
        raise InputError(
            f"--env {config.env} has the action space {env.action_space}: deep Q-learning needs a Discrete one"
        )
    example_observation(env.observation_space)  # raises if no network fits
    if config.method != "dqn":
        table_shape(env.observation_space, env.action_space, config.checkpoint_every > 0)


def _check_length(config: Config, limit: int) -> None:
    """Check that the run is long enough to learn, given the time limit of an episode, in steps."""
    if config.method == "dqn" and config.episodes * limit < config.learn_start:
        raise InputError(
            f"--learn-start {config.learn_start} is more than the {config.episodes * limit} steps that --episodes "
            f"{config.episodes} can take, so it would never learn: lower it or play more episodes"
        )
    if limit == LONGEST_EPISODE and not is_emulated(config):
        say(
            f"warning: {config.env} has no time limit: greedy play that never ends is cut after {limit:,} steps; "
            "--max-episode-steps cuts it sooner"
        )


def _check_interface(env: gym.Env, name: str) -> None:
    """Run Gymnasium's own checker: the interface, and the same episode again from the same seed."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", message=".*different from the unwrapped version")
        try:
            env_checker.check_env(_OnlyLegal(env), skip_render_check=True)
        except Exception as error:  # assertions, and whatever the environment itself raises
            reason = f"{type(error).__name__}: {error}"
            raise InputError(f"--env {name} is not a sound Gymnasium environment: {reason}") from error
    for text in dict.fromkeys(str(warning.message) for warning in caught):
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


def _check_episode(env: gym.Env, config: Config) -> None:
    """Play a random episode: it ends, and its observations, rewards and masks are as they should be."""
    generator = np.random.default_rng(0)
    n_actions, first_action = int(env.action_space.n), int(env.action_space.start)  # type: ignore[attr-defined]
    observation, info = env.reset(seed=0)
    ended = False
    for _ in range(min(time_limit(env), LONGEST_SEARCH)):
        mask = info.get(MASK, np.ones(n_actions, bool))
        _check_step(env, config.env, observation, mask)
        if ended:
            return
        legal = np.flatnonzero(mask) if mask.any() else np.arange(n_actions)
        observation, reward, terminated, truncated, info = env.step(first_action + int(generator.choice(legal)))
        if not (isinstance(reward, Real | np.generic) and math.isfinite(reward)):
            raise InputError(f"--env {config.env} gave the reward {reward!r}: rewards must be finite numbers")
        ended = terminated or truncated
    if time_limit(env) == LONGEST_EPISODE and not ended:
        raise InputError(
            f"--env {config.env} did not end in {LONGEST_SEARCH:,} random steps and has no time limit of its own: set "
            "--max-episode-steps"
        )


def _check_step(env: gym.Env, name: str, observation: Any, mask: Any) -> None:
    n_actions = int(env.action_space.n)  # type: ignore[attr-defined]
    if not isinstance(mask, np.ndarray) or mask.shape != (n_actions,):
        raise InputError(
            f"--env {name} gives the action_mask {mask!r}, it must be a NumPy array of shape ({n_actions},)"
        )
    if not env.observation_space.contains(observation):
        raise InputError(
            f"--env {name} gave an observation outside of its space {env.observation_space}: {observation!r}"
        )
    # Raises unless the structure is the space's own: Gymnasium lets a list pass for a tuple.
    optree.tree_map_(lambda *_: None, example_observation(env.observation_space), observation)
    arrays = [np.asarray(array) for array in optree.tree_leaves(observation)]
    if not all(np.isfinite(array).all() for array in arrays):
        raise InputError(f"--env {name} gave an observation that is not finite: {observation!r}")
