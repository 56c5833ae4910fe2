"""Many environments, stepped side by side."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import optree
from gymnasium.vector import AutoresetMode, VectorEnv

from config import Config
from environments.make import has_vector_version, make_env
from environments.resume import Recorder


def make_vector_env(config: Config, lanes: int, resumable: bool = False) -> VectorEnv:
    """Make `lanes` environments stepped side by side, with SAME_STEP autoreset: every step of every lane is a
    transition, none is spent on resetting. Of resumable ones `get_lanes_state` tells where they stand.

    Raises:
        InputError: as `make_env`.
    """
    if has_vector_version(config):
        make_env(config).close()  # for its checks
        limit: dict[str, Any] = {"max_episode_steps": config.max_episode_steps} if config.max_episode_steps else {}
        return gym.make_vec("Blob-v0", num_envs=lanes, **limit, **config.env_args)
    # A registration's own vector entry point may reset otherwise (CartPole-v1's spends a step on it): wrap single ones.
    make = (lambda: Recorder(make_env(config))) if resumable else (lambda: make_env(config))
    return gym.vector.SyncVectorEnv([make] * lanes, autoreset_mode=AutoresetMode.SAME_STEP)


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
