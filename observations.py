"""What observations look like as arrays: in the replay memory and at the network's input."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from startup import InputError

# An array, or arrays in dicts and tuples, as the observations of Dict and Tuple spaces are.
Observations = Any


def example_observation(space: gym.Space) -> Observations:
    """An observation of zeros in the structure, shapes and dtypes in which observations are stored and enter the
    network: arrays, in dicts and tuples for Dict and Tuple spaces. Bytes stay uint8, other numbers take 32 bits.

    Raises:
        InputError: no network fits the observations.
    """
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
    if isinstance(space, MultiBinary) or space.dtype in (np.uint8, bool):
        return np.zeros(shape, np.uint8)
    return np.zeros(shape, np.float32 if np.issubdtype(space.dtype, np.floating) else np.int32)
