"""Make one environment, as the settings name it."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import warnings
from contextlib import closing
from inspect import signature
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import EnvSpec, load_env_creator
from gymnasium.spaces import Box, Dict
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation, TimeLimit, TransformObservation

import blob_env  # noqa: F401 (registers Blob-v0)
from config import Config
from console.errors import InputError
from console.nearest import did_you_mean
from environments.checked import CheckedEnv
from environments.dict_parts import without_odd_parts
from environments.names import find_spec, import_module, package_of

# The limit where neither the environment nor the settings have one, since a greedy player may walk in circles for ever:
# half an hour of an Atari game (Machado et al. 2018).
LONGEST_EPISODE = 27_000
EMULATORS = ("ale_py", "vizdoom", "environments")  # packages; the last one has the games of consoles
# How to start a process: a new interpreter would run the whole script again, and import TensorFlow for nothing.
FORK = "fork" if sys.platform.startswith("linux") else None
# Options that have a flag of their own.
FLAGS = {
    "max_episode_steps": "train.py's --max-episode-steps",
    "render_mode": "play.py's --render",
    "screen_size": "--screen-size",
}


def make_env(config: Config, render_mode: str | None = None) -> gym.Env:
    """Make an environment as the agent sees it: preprocessed, checked, with stacked frames and a time limit.

    Raises:
        InputError: there is none of that name, it refuses its options, a package is missing, its actions are not
            Discrete, or no network fits its observations.
    """
    for option, instead in FLAGS.items():
        if option in config.env_args:
            raise InputError(f"--env-args takes no {option}: use {instead}")
    # Without it SDL's Wayland client complains on standard error where there is no display.
    os.environ.setdefault("XDG_RUNTIME_DIR", tempfile.gettempdir())
    spec, env = _make(config, render_mode)
    try:
        _check_render_mode(config.env, env, render_mode)
        env = CheckedEnv(without_odd_parts(env, config.env), config.env)
    except InputError:
        env.close()
        raise
    env = TimeLimit(env, config.max_episode_steps or spec.max_episode_steps or LONGEST_EPISODE)
    return FrameStackObservation(env, config.frame_stack) if config.frame_stack > 1 else env


def _make(config: Config, render_mode: str | None) -> tuple[EnvSpec, gym.Env]:
    spec = None
    try:
        spec, package_options = find_spec(config.env)
        options: dict[str, Any] = {**package_options, **config.env_args}
        if spec.namespace == "retro":
            options["screen_size"] = config.screen_size
        if render_mode is not None:
            options["render_mode"] = render_mode
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*render_mode")  # `_check_render_mode` says it better
            # The limit counts the agent's steps, not frames, and `check_env` checks: both come later.
            env = gym.make(spec, max_episode_steps=-1, disable_env_checker=True, **options)
        return spec, _preprocess(env, package_of(spec), config.screen_size)
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # user code may raise anything
        if render_mode and isinstance(error, TypeError) and "render_mode" in str(error):
            raise InputError(f"{config.env} cannot be shown: its constructor takes no render_mode") from error
        if spec and (unknown := re.search(r"unexpected keyword argument '(\w+)'", str(error))):
            raise InputError(_no_option(config.env, spec, unknown[1], str(error))) from error
        options_text = f" with {config.env_args}" if config.env_args else ""
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"cannot make the environment {config.env!r}{options_text}: {reason}") from error


def _no_option(env: str, spec: EnvSpec, option: str, error: str) -> str:
    """Say that an environment has no such option, and which it has.

    Args:
        env, spec: the environment.
        option: that it refused.
        error: its message, which names the function that refused it: the constructor may pass its options on.
    """
    creator = load_env_creator(spec.entry_point) if isinstance(spec.entry_point, str) else spec.entry_point
    refused = re.search(r"(\w+)\.__init__\(\)", error)
    inner = getattr(sys.modules.get(getattr(creator, "__module__", "")), refused[1], None) if refused else None
    names = [name for function in (creator, inner) if callable(function) for name in signature(function).parameters]
    options = [name for name in dict.fromkeys(names) if name not in {*FLAGS, "self", "args", "kwargs", "options"}]
    meant = did_you_mean(option, options) or f"; it has {', '.join(options) or 'none'}"
    return f"--env-args: {env} has no option {option}{meant}"


def _check_render_mode(name: str, env: gym.Env, render_mode: str | None) -> None:
    modes = env.metadata.get("render_modes") or []
    if render_mode not in (None, env.render_mode) or render_mode not in (None, "human", *modes):
        advice = "; use --record OUT.gif" if "rgb_array" in modes else ""
        raise InputError(f"{name} cannot be shown as {render_mode!r}, only as {', '.join(modes) or 'nothing'}{advice}")


def _preprocess(env: gym.Env, package: str, side: int) -> gym.Env:
    """Turn the screens of Atari and Doom into square grey images, as Mnih et al. 2015 did."""
    if package in EMULATORS:
        cv2: Any = import_module("cv2")
    if package == "ale_py":
        # As Machado et al. 2018 recommend: sticky actions (the registration has them) vary the games instead of no-ops
        # at their start, and an episode ends with the last life.
        return AtariPreprocessing(env, noop_max=0, frame_skip=4, screen_size=side, terminal_on_life_loss=False)
    if package == "vizdoom":
        assert isinstance(env.observation_space, Dict)
        space = Dict({**env.observation_space.spaces, "screen": Box(0, 255, (side, side), np.uint8)})
        return TransformObservation(
            env,
            lambda seen: {**seen, "screen": cv2.resize(seen["screen"], (side, side), interpolation=cv2.INTER_AREA)},
            space,
        )
    return env


def has_vector_version(config: Config) -> bool:
    """Whether the environment registers a vector version that suits: it steps thousands of lanes as cheaply as one.

    It suits if it resets in the same step, can save its state, and is given a time limit.
    """
    if config.frame_stack > 1:
        return False
    try:
        spec, _ = find_spec(config.env)
        entry_point = spec.vector_entry_point
        version = load_env_creator(entry_point) if isinstance(entry_point, str) else entry_point
    except (Exception, SystemExit):  # user code may raise anything; `make_env` says what is wrong
        return False
    has_limit = bool(config.max_episode_steps or spec.max_episode_steps)
    mode = getattr(version, "metadata", {}).get("autoreset_mode")
    return has_limit and mode == AutoresetMode.SAME_STEP and hasattr(version, "set_state")


def is_emulated(config: Config) -> bool:
    """Whether it is a game of Atari, of Doom or of a console, whose emulators are heavy."""
    try:
        return package_of(find_spec(config.env)[0]) in EMULATORS
    except (Exception, SystemExit):  # user code may raise anything; `make_env` says what is wrong
        return False


def same_game(one: Config, other: Config) -> bool:
    """Whether two agents play the same game, however they observe it.

    Where the options differ, an environment may still say so, in an attribute `game` that is equal where the game is.
    """
    if (one.env, one.max_episode_steps) != (other.env, other.max_episode_steps):
        return False
    return one.env_args == other.env_args or _game(one) == _game(other)


def _game(config: Config) -> Any:
    with closing(make_env(config)) as env:
        return getattr(env.unwrapped, "game", config.env_args)


def time_limit(env: gym.Env) -> int:
    """The steps after which `make_env`'s environment truncates an episode."""
    while not isinstance(env, TimeLimit):
        env = env.env  # type: ignore[attr-defined]
    return env._max_episode_steps
