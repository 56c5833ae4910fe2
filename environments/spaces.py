"""Observations as arrays: their structure, shapes and dtypes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import optree
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from console.errors import InputError

Observations = Any  # an array, or arrays in dicts and tuples, as Dict and Tuple spaces have them
QValues = Callable[[Observations], np.ndarray]  # from (batch, ...) to (batch, n_actions)


def example_observation(space: gym.Space) -> Observations:
    """Make an observation of zeros, as observations are stored and enter the network.

    Returns:
        An array, or arrays in dicts and tuples for Dict and Tuple spaces. Bytes stay uint8; other numbers take 32 bits.

    Raises:
        InputError: no network fits the observations.
    """
    if isinstance(space, Dict | Tuple) and not len(space.spaces):
        raise InputError(f"there is no network for observations of {space}: it is empty")
    if isinstance(space, Dict):
        return {name: example_observation(part) for name, part in space.items()}
    if isinstance(space, Tuple):
        return tuple(example_observation(part) for part in space)
    if not isinstance(space, Box | Discrete | MultiDiscrete | MultiBinary):
        raise InputError(
            f"there is no network for observations of {space}: use Box, Discrete, MultiDiscrete, MultiBinary, or a "
            "Dict or Tuple of those"
        )
    shape = space.shape or ()
    if 0 in shape:
        raise InputError(f"there is no network for observations of {space}: they hold no numbers")
    if isinstance(space, MultiBinary) or space.dtype in (np.uint8, bool):
        return np.zeros(shape, np.uint8)
    whole = np.issubdtype(space.dtype, np.integer)
    if whole and isinstance(space, Box):  # numbers beyond 32 bits would wrap around
        whole = space.low.min() >= np.iinfo(np.int32).min and space.high.max() <= np.iinfo(np.int32).max
    return np.zeros(shape, np.int32 if whole else np.float32)


def write_lane(observations: Observations, lane: int, observation: Observations) -> None:
    """Put one lane's observation into those of all lanes, (lanes, ...)."""

    def write(arrays: np.ndarray, array: Any) -> None:
        arrays[lane] = array

    optree.tree_map_(write, observations, observation)


def check_like(name: str, found: np.ndarray, needed: np.ndarray) -> None:
    """Raise ValueError unless an array of a saved state has the shape and dtype needed here."""
    if (found.shape, found.dtype) != (needed.shape, needed.dtype):
        raise ValueError(f"{name} is {found.dtype} {found.shape} in the state, {needed.dtype} {needed.shape} here")
