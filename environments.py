"""Making environments: what the settings name, preprocessed and checked, one at a time or in lanes side by side."""

from __future__ import annotations

import importlib
import math
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Sequence
from numbers import Real
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import optree
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box, Dict, Discrete
from gymnasium.utils import RecordConstructorArgs, env_checker
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation, TimeLimit, TransformObservation

from blob_env import BlobRules  # and with it registers Blob-v0
from config import Config
from env_state import Recorder
from spaces import example_observation, table_shape
from startup import InputError
from symmetry import KNOWN, Symmetry

# Environments whose package Gymnasium does not import by itself: the module that registers them, and what they need
# beside their own arguments. A screen every 4 frames is what Mnih et al. 2015 play by; for Atari its wrapper does it.
PACKAGES: dict[str, tuple[str, dict[str, Any]]] = {
    "ALE/": ("ale_py", {"frameskip": 1}),
    "Vizdoom": (
        "vizdoom.gymnasium_wrapper",
        {"frame_skip": 4, "screen_format": "GRAY8", "screen_resolution": "RES_160X120"},
    ),
}
# An episode ends here if neither the environment nor the settings limit it, or a greedy player that walks in circles
# would never be done. Half an hour of an Atari game (Machado et al. 2018).
LONGEST_EPISODE = 27_000
LONGEST_SEARCH = 10_000  # random steps within which an environment without a limit must have ended by itself


def make_env(config: Config, render_mode: str | None = None) -> gym.Env:
    """Make one environment as the settings say, with what the agent sees of it: screens of Atari and Doom in grey and
    small, `frame_stack` frames together, truncated after `max_episode_steps`.

    Raises:
        InputError: there is none of that name, it does not take these arguments, or a package it needs is missing.
    """
    name = config.env
    for option, instead in (
        ("max_episode_steps", "train.py's --max-episode-steps"),
        ("render_mode", "play.py's --render"),
    ):
        if option in config.env_args:
            raise InputError(f"--env-args takes no {option}: use {instead}")
    arguments = f" with {config.env_args}" if config.env_args else ""
    shown = {} if render_mode is None else {"render_mode": render_mode}
    # Without it SDL's Wayland client complains on standard error where there is no display.
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())
    try:
        spec, options = _find_spec(name)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*render_mode")  # said better below
            # Limited below, in steps of the agent, and checked by `check_env`.
            unlimited: dict[str, Any] = {"max_episode_steps": -1, "disable_env_checker": True}
            env = gym.make(spec, **unlimited, **{**options, **config.env_args, **shown})
        env = _preprocess(env, spec.id)
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # somebody else's constructor may raise anything
        if render_mode and isinstance(error, TypeError) and "render_mode" in str(error):
            raise InputError(f"{name} cannot be shown: its constructor takes no render_mode") from error
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"cannot make the environment {name!r}{arguments}: {reason}") from error
    modes = env.metadata.get("render_modes", [])
    if render_mode not in (None, env.render_mode) or render_mode not in (None, "human", *modes):
        advice = "; use --record OUT.gif" if "rgb_array" in modes else ""
        raise InputError(f"{name} cannot be shown as {render_mode!r}, only as {', '.join(modes) or 'nothing'}{advice}")
    env = TimeLimit(env, config.max_episode_steps or spec.max_episode_steps or LONGEST_EPISODE)
    return FrameStackObservation(env, config.frame_stack) if config.frame_stack > 1 else env


def _find_spec(name: str) -> tuple[EnvSpec, dict[str, Any]]:
    """Of `ID`, `module:ID` or `module:ClassName`: the specification, and the arguments that `PACKAGES` adds."""
    module_name, _, name = name.rpartition(":")
    module = _import(module_name) if module_name else None
    found = getattr(module, name, None)
    if isinstance(found, type) and issubclass(found, gym.Env):  # nothing else is called: a model file may name it
        return EnvSpec(name, found), {}  # type: ignore[arg-type]
    for prefix, (package, options) in PACKAGES.items():
        if name.startswith(prefix):
            _import(package)
            return gym.spec(name), options
    try:
        return gym.spec(name), {}
    except gym.error.Error as error:
        if module_name:
            raise InputError(
                f"--env {module_name}:{name}: the module has no class {name} derived from gymnasium.Env, and registers "
                "no such environment"
            ) from error
        raise


def foreign_parts(config: Config) -> dict[str, Any]:
    """The settings that name code or paths other than this project's and the known packages', which a stranger's file
    must not make anyone run or open: an environment, a network, and options of the environment that look like paths."""
    foreign: dict[str, Any] = {}
    root = ""
    if ":" not in config.env:
        try:
            root = str(_find_spec(config.env)[0].entry_point).partition(":")[0].partition(".")[0]
        except gym.error.Error:
            root = "gymnasium"  # it does not know the name, and says so when it is to make it
    if root not in ("blob_env", "gymnasium", "ale_py", "vizdoom"):
        foreign["env"] = config.env
    if ":" in config.network:
        foreign["network"] = config.network
    paths = {
        k: v
        for k, v in config.env_args.items()
        if not isinstance(v, bool | int | float) and re.search(r"[./\\]", str(v))
    }
    return {**foreign, "env_args": paths} if paths else foreign


def _import(module: str) -> Any:
    if "" not in sys.path:
        sys.path.append("")  # a user's own file lies in the folder they are in, wherever this one is
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if module == "cv2" or any(module == needed for needed, _ in PACKAGES.values()):
            package = module.split(".")[0]
            raise InputError(
                f"this environment needs the package {package}: pip install -r requirements-extra.txt"
            ) from error
        raise InputError(f"--env: cannot import {module} from {Path.cwd()} ({error})") from error
    except SystemExit as error:
        raise InputError(f"--env: importing {module} ended the program, with exit code {error.code}") from error


def _preprocess(env: gym.Env, env_id: str) -> gym.Env:
    """The screens of Atari and Doom as Mnih et al. 2015 see them, in 84 x 84 greys."""
    if env_id.startswith(tuple(PACKAGES)):
        cv2 = _import("cv2")
    if env_id.startswith("ALE/"):
        # Sticky actions (the registration's own repeat_action_probability, 0.25) make games differ instead of
        # no-operations at their start, and only the last life's loss ends one (Machado et al. 2018).
        return AtariPreprocessing(env, noop_max=0, frame_skip=4, terminal_on_life_loss=False)
    if env_id.startswith("Vizdoom"):
        assert isinstance(env.observation_space, Dict)
        space = Dict({**env.observation_space.spaces, "screen": Box(0, 255, (84, 84), np.uint8)})
        return TransformObservation(
            env,
            lambda seen: {**seen, "screen": cv2.resize(seen["screen"], (84, 84), interpolation=cv2.INTER_AREA)},
            space,
        )
    return env


def has_own_lanes(config: Config) -> bool:
    """Whether the environment's own vector version is used, which steps thousands of lanes as cheaply as one."""
    return config.env == "Blob-v0" and config.frame_stack == 1


def is_emulated(config: Config) -> bool:
    """Whether it is a game of Atari or Doom, whose emulators are heavy."""
    return config.env.rpartition(":")[2].startswith(tuple(PACKAGES))


def make_vector_env(config: Config, lanes: int, resumable: bool = False) -> VectorEnv:
    """Make `lanes` environments stepped side by side, with SAME_STEP autoreset: every step of every lane is a
    transition, none is spent on resetting. Of resumable ones `get_lanes_state` tells where they stand.

    Raises:
        InputError: as `make_env`.
    """
    if has_own_lanes(config):
        make_env(config).close()  # for its checks
        limit: dict[str, Any] = {"max_episode_steps": config.max_episode_steps} if config.max_episode_steps else {}
        return gym.make_vec("Blob-v0", num_envs=lanes, **limit, **config.env_args)
    # A registration's own vector entry point may reset otherwise (CartPole-v1's spends a step on it): wrap single ones.
    make = (lambda: Recorder(make_env(config))) if resumable else (lambda: make_env(config))
    return gym.vector.SyncVectorEnv([make] * lanes, autoreset_mode=AutoresetMode.SAME_STEP)


def published_symmetries(env: gym.Env | VectorEnv) -> Sequence[Symmetry]:
    """The symmetries that an environment has, as it says in an attribute `symmetries` or as is known; none of stacked
    frames."""
    single = env.envs[0] if isinstance(env, gym.vector.SyncVectorEnv) else env
    if isinstance(single, gym.Env) and single.observation_space != single.unwrapped.observation_space:
        return ()
    known = KNOWN.get(single.spec.id, ()) if single.spec else ()
    symmetries = getattr(single.unwrapped, "symmetries", known)
    is_ours = isinstance(symmetries, Sequence) and all(isinstance(symmetry, Symmetry) for symmetry in symmetries)
    return symmetries if is_ours else ()  # somebody else's attribute may mean anything


def same_game(one: Config, other: Config) -> bool:
    """Whether two agents play the same game, whatever they see of it."""
    if one.env == other.env == "Blob-v0":
        rules = [BlobRules(**{**config.env_args, "observation": "image"}) for config in (one, other)]
        return rules[0] == rules[1] and one.max_episode_steps == other.max_episode_steps
    games = [(config.env, config.env_args, config.max_episode_steps) for config in (one, other)]
    return games[0] == games[1]


def final_observations(next_observations: Any, infos: dict[str, Any]) -> Any:
    """The observations (lanes, ...) that a vector step led to: at an episode's end the final one, not the reset's."""
    if "final_obs" not in infos:
        return next_observations
    observations = optree.tree_map(np.copy, next_observations)
    if isinstance(observations, np.ndarray):
        observations[infos["_final_obs"]] = list(infos["final_obs"][infos["_final_obs"]])
        return observations
    for lane in np.flatnonzero(infos["_final_obs"]).tolist():

        def put(arrays: np.ndarray, final: np.ndarray, lane: int = lane) -> None:
            arrays[lane] = final

        optree.tree_map_(put, observations, infos["final_obs"][lane])
    return observations


def check_env(config: Config) -> None:
    """Check on a throw-away environment, before anything else is made, that a deep Q-network can learn in it within the
    run. Prints Gymnasium's warnings about it to standard error.

    Raises:
        InputError: it cannot; the message says why.
    """
    env = make_env(config)
    try:
        if not isinstance(env.action_space, Discrete):
            raise InputError(
                f"--env {config.env} has the action space {env.action_space}: deep Q-learning needs a Discrete one"
            )
        example_observation(env.observation_space)  # for its checks
        if config.method != "dqn":
            table_shape(env.observation_space, env.action_space, config.checkpoint_every > 0)
        _check_interface(env.unwrapped, config.env)
        _check_episode(env, config)
        env.close()
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # somebody else's code may raise anything
        raise InputError(f"--env {config.env} fails: {type(error).__name__}: {error}") from error
    limit = time_limit(env)
    if config.method == "dqn" and config.episodes * limit < config.learn_start:
        raise InputError(
            f"--learn-start {config.learn_start} is more than the {config.episodes * limit} steps that --episodes "
            f"{config.episodes} can take, so it would never learn: lower it or play more episodes"
        )
    if limit == LONGEST_EPISODE and not is_emulated(config):
        print(
            f"warning: {config.env} has no limit of steps: greedy play that never ends is cut after {limit:,}; "
            "--max-episode-steps cuts it sooner",
            file=sys.stderr,
        )


def _check_interface(env: gym.Env, name: str) -> None:
    """What Gymnasium's own checker says of an environment: is it one, and is it the same again from the same seed?"""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", message=".*different from the unwrapped version")
        try:
            env_checker.check_env(_OnlyLegal(env), skip_render_check=True)
        except Exception as error:  # assertions, and whatever the environment itself raises
            reason = f"{type(error).__name__}: {error}"
            raise InputError(f"--env {name} is not a sound Gymnasium environment: {reason}") from error
    for text in dict.fromkeys(str(warning.message) for warning in caught):
        plain = re.sub(r"\x1b\[\d+m|WARN: ", "", text)  # Gymnasium colours its warnings
        print(f"warning: {name}: {' '.join(plain.split())}", file=sys.stderr)


class _OnlyLegal(gym.Wrapper, RecordConstructorArgs):
    """Takes the first legal action instead of one that the mask bars: Gymnasium's checker knows no masks."""

    def __init__(self, env: gym.Env) -> None:
        RecordConstructorArgs.__init__(self)  # the checker makes the environment again
        gym.Wrapper.__init__(self, env)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        observation, info = self.env.reset(seed=seed, options=options)
        self._mask: Any = info.get("action_mask")
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        n_actions, first = int(self.action_space.n), int(self.action_space.start)  # type: ignore[attr-defined]
        if np.shape(self._mask) == (n_actions,) and np.any(self._mask) and not self._mask[action - first]:
            action = np.int64(first + np.argmax(self._mask))
        *step, info = self.env.step(action)
        self._mask = info.get("action_mask")
        return *step, info


def _check_episode(env: gym.Env, config: Config) -> None:
    """Play at random to an episode's end: there is one, and all observations, rewards and masks on the way are as they
    should be."""
    generator = np.random.default_rng(0)
    n_actions, first_action = int(env.action_space.n), int(env.action_space.start)  # type: ignore[attr-defined]
    observation, info = env.reset(seed=0)
    ended = False
    for _ in range(min(time_limit(env), LONGEST_SEARCH)):
        mask = info.get("action_mask", np.ones(n_actions, bool))
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
            f"--env {config.env} did not end in {LONGEST_SEARCH:,} random steps and has no limit of its own: set "
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
    # Raises unless the structure is the space's: a list may pass for a tuple there.
    optree.tree_map_(lambda *_: None, example_observation(env.observation_space), observation)
    arrays = [np.asarray(array) for array in optree.tree_leaves(observation)]
    if not all(np.isfinite(array).all() for array in arrays):
        raise InputError(f"--env {name} gave an observation that is not finite: {observation!r}")


def time_limit(env: gym.Env) -> int:
    """The steps after which `make_env`'s environment truncates an episode."""
    while not isinstance(env, TimeLimit):
        env = env.env  # type: ignore[attr-defined]
    return env._max_episode_steps
