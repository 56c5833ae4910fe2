"""Observations as arrays: their structure, shapes and dtypes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from console.errors import InputError

# An array, or arrays in dicts and tuples, as the observations of Dict and Tuple spaces are.
Observations = Any


QValues = Callable[[Observations], np.ndarray]  # from (batch, ...) to (batch, n_actions)


def example_observation(space: gym.Space) -> Observations:
    """An observation of zeros in the structure, shapes and dtypes in which observations are stored and enter the
    network: arrays, in dicts and tuples for Dict and Tuple spaces. Bytes stay uint8, other numbers take 32 bits.

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
            f"there is no network for observations of {space}: Box, Discrete, MultiDiscrete, MultiBinary, and Dict and "
            "Tuple of those have one"
        )
    shape = space.shape or ()
    if 0 in shape:
        raise InputError(f"there is no network for observations of {space}: they hold no numbers")
    if isinstance(space, MultiBinary) or space.dtype in (np.uint8, bool):
        return np.zeros(shape, np.uint8)
    whole = np.issubdtype(space.dtype, np.integer)
    if whole and isinstance(space, Box):  # wider ones would wrap around
        whole = space.low.min() >= np.iinfo(np.int32).min and space.high.max() <= np.iinfo(np.int32).max
    return np.zeros(shape, np.int32 if whole else np.float32)


def check_like(name: str, found: np.ndarray, needed: np.ndarray) -> None:
    """Raise ValueError unless an array of a state has the shape and dtype needed here."""
    if (found.shape, found.dtype) != (needed.shape, needed.dtype):
        raise ValueError(f"{name} is {found.dtype} {found.shape} in the state, {needed.dtype} {needed.shape} here")
