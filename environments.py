"""Making environments: what the settings name, checked, one at a time or in lanes side by side."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from gymnasium.vector import AutoresetMode, VectorEnv

import blob_env  # noqa: F401  (registers Blob-v0)
from config import Config
from startup import InputError
from symmetry import Symmetry


def make_env(env_id: str, env_args: dict[str, Any], render_mode: str | None = None) -> gym.Env:
    """Make one environment.

    Raises:
        InputError: there is none of that name, it does not take these arguments, or a package it needs is missing.
    """
    arguments = f" with {env_args}" if env_args else ""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*render_mode")  # said better below
            env = gym.make(env_id, render_mode=render_mode, **env_args)
    except Exception as error:  # somebody else's constructor may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"cannot make the environment {env_id!r}{arguments}: {reason}") from error
    modes = env.metadata.get("render_modes", [])
    if render_mode not in (None, env.render_mode) or render_mode not in (None, "human", *modes):
        advice = "; use --record OUT.gif" if "rgb_array" in modes else ""
        raise InputError(
            f"{env_id} cannot be shown as {render_mode!r}, only as {', '.join(modes) or 'nothing'}{advice}"
        )
    return env


def make_vector_env(env_id: str, env_args: dict[str, Any], lanes: int) -> VectorEnv:
    """Make `lanes` environments stepped side by side, with SAME_STEP autoreset: every step of every lane is a
    transition, none is spent on resetting.

    Raises:
        InputError: as `make_env`.
    """
    if env_id == "Blob-v0":
        make_env(env_id, env_args).close()  # for its checks
        return gym.make_vec(env_id, num_envs=lanes, **env_args)
    # A registration's own vector entry point may reset otherwise (CartPole-v1's spends a step on it): wrap single ones.
    fns = [lambda: make_env(env_id, env_args)] * lanes
    return gym.vector.SyncVectorEnv(fns, autoreset_mode=AutoresetMode.SAME_STEP)


def published_symmetries(env: gym.Env | VectorEnv) -> Sequence[Symmetry]:
    """The symmetries that an environment says it has, in an attribute `symmetries`."""
    single = env.envs[0] if isinstance(env, gym.vector.SyncVectorEnv) else env
    return getattr(single.unwrapped, "symmetries", ())


def final_observations(next_observations: np.ndarray, infos: dict[str, Any]) -> np.ndarray:
    """The observations (lanes, ...) that a vector step led to: at an episode's end the final one, not the reset's."""
    if "final_obs" not in infos:
        return next_observations
    ended = infos["_final_obs"]
    observations = next_observations.copy()
    observations[ended] = np.stack(infos["final_obs"][ended])
    return observations


def check_env(config: Config) -> None:
    """Check that a deep Q-network can learn in the environment within the run.

    Raises:
        InputError: it cannot; the message says why.
    """
    env = make_env(config.env, config.env_args)
    env.close()
    if not isinstance(env.action_space, Discrete):
        raise InputError(
            f"--env {config.env} has the action space {env.action_space}: deep Q-learning needs a Discrete one"
        )
    check_observation_space(env.observation_space, config.env)
    limit = env.spec.max_episode_steps if env.spec else None
    if limit and config.episodes * limit < config.learn_start:
        raise InputError(
            f"--learn-start {config.learn_start} is more than the {config.episodes * limit} steps that --episodes "
            f"{config.episodes} can take, so it would never learn: lower it or play more episodes"
        )


def check_observation_space(space: gym.Space, env_id: str) -> None:
    """Raise InputError unless there is a network for the observations: vectors, images, Discrete or MultiDiscrete."""
    if isinstance(space, Box) and len(space.shape or ()) in (1, 3):
        return
    if isinstance(space, Discrete | MultiDiscrete) and len(space.shape or ()) <= 1:
        return
    raise InputError(
        f"--env {env_id} has the observation space {space}: there are networks for vectors, images of shape "
        "(height, width, channels), Discrete and MultiDiscrete"
    )
