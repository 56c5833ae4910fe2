"""Make one environment, as the settings name it."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.spaces import Box, Dict
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation, TimeLimit, TransformObservation

from blob_env import BlobRules
from config import Config
from console.errors import InputError
from environments.known import PACKAGES

# An episode ends here if neither the environment nor the settings limit it, or a greedy player that walks in circles
# would never be done. Half an hour of an Atari game (Machado et al. 2018).
LONGEST_EPISODE = 27_000


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


def has_vector_version(config: Config) -> bool:
    """Whether the environment's own vector version is used, which steps thousands of lanes as cheaply as one."""
    return config.env == "Blob-v0" and config.frame_stack == 1


def is_emulated(config: Config) -> bool:
    """Whether it is a game of Atari or Doom, whose emulators are heavy."""
    return config.env.rpartition(":")[2].startswith(tuple(PACKAGES))


def same_game(one: Config, other: Config) -> bool:
    """Whether two agents play the same game, whatever they see of it."""
    if one.env == other.env == "Blob-v0":
        rules = [BlobRules(**{**config.env_args, "observation": "image"}) for config in (one, other)]
        return rules[0] == rules[1] and one.max_episode_steps == other.max_episode_steps
    games = [(config.env, config.env_args, config.max_episode_steps) for config in (one, other)]
    return games[0] == games[1]


def time_limit(env: gym.Env) -> int:
    """The steps after which `make_env`'s environment truncates an episode."""
    while not isinstance(env, TimeLimit):
        env = env.env  # type: ignore[attr-defined]
    return env._max_episode_steps
