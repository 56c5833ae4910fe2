"""Observations as arrays: their structure, shapes and dtypes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import optree
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from console.errors import InputError

LARGEST_BOARD = 64  # an image with a longer side is a screen, not a board
LONGEST_ONE_HOT = 50_000  # a layer of 256 units has 13 million weights for it; a batch of 256 takes 51 MB
MOST_ACTIONS = 10_000  # the memory holds a mask of all actions for every transition
Observations = Any  # an array, or arrays in dicts and tuples, as Dict and Tuple spaces have them
QValues = Callable[[Observations], np.ndarray]  # from (batch, ...) to (batch, n_actions)


def example_observation(space: gym.Space) -> Observations:
    """Make an observation of zeros, as observations are stored and enter the network.

    Returns:
        An array, or arrays in dicts and tuples for Dict and Tuple spaces. Bytes stay uint8; other numbers take 32 bits.

    Raises:
        InputError: no network fits the observations.
    """
    _check_names(space)
    return _example(space)


def _example(space: gym.Space) -> Observations:
    if isinstance(space, Dict | Tuple) and not len(space.spaces):
        raise InputError(f"there is no network for observations of {space}: it is empty")
    if isinstance(space, Dict):
        return {name: _example(part) for name, part in space.items()}
    if isinstance(space, Tuple):
        return tuple(_example(part) for part in space)
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


def part_name(parent: str, key: Any) -> str:
    """The name of a network's input, for a part of a Dict or Tuple: Keras takes no slash in one."""
    return f"{parent}.{key}".lstrip(".").replace("/", "|")


def _check_names(space: gym.Space, parent: str = "", names: set[str] | None = None) -> None:
    """Raise InputError unless the keys of Dict spaces are texts, and every part has a name of its own."""
    names = set() if names is None else names
    if isinstance(space, Dict | Tuple):
        for key, part in space.items() if isinstance(space, Dict) else enumerate(space):
            if isinstance(space, Dict) and not isinstance(key, str):
                raise InputError(f"there is no network for observations with the key {key!r}: keys must be texts")
            _check_names(part, part_name(parent, key), names)
        return
    if parent in names:
        raise InputError(f"there is no network for observations with two parts called {parent!r}: rename a key")
    names.add(parent)


def check_size(space: gym.Space, n_actions: int) -> None:
    """Raise InputError if a network for observations of this space and for so many actions would be too large."""
    if n_actions > MOST_ACTIONS:
        raise InputError(f"{n_actions:,} actions are more than a network can value here: {MOST_ACTIONS:,} at most")
    for part in _parts(space):
        if not isinstance(part, Discrete | MultiDiscrete):
            continue
        length = int(part.n) if isinstance(part, Discrete) else int(part.nvec.sum())
        if length > LONGEST_ONE_HOT:
            table = "use --method q-learning, which has a table, or " if part is space else ""
            raise InputError(
                f"observations of {str(part)[:60]} become one-hot vectors of {length:,} numbers, more than "
                f"{LONGEST_ONE_HOT:,}: {table}describe them by numbers in a Box"
            )


def _parts(space: gym.Space) -> list[gym.Space]:
    """A space, or the parts in a Dict or Tuple that are none themselves."""
    if not isinstance(space, Dict | Tuple):
        return [space]
    parts = space.spaces.values() if isinstance(space, Dict) else space.spaces
    return [leaf for part in parts for leaf in _parts(part)]


def batch_of_one(observation: Any) -> Observations:
    """Make a batch (1, ...) of an observation."""
    return optree.tree_map(lambda array: np.asarray(array)[None], observation)


def write_lane(observations: Observations, lane: int, observation: Observations) -> None:
    """Put one lane's observation into those of all lanes, (lanes, ...)."""

    def write(arrays: np.ndarray, array: Any) -> None:
        arrays[lane] = array

    optree.tree_map_(write, observations, observation)


def check_like(name: str, found: np.ndarray, needed: np.ndarray) -> None:
    """Raise ValueError unless an array of a saved state has the shape and dtype needed here."""
    if (found.shape, found.dtype) != (needed.shape, needed.dtype):
        raise ValueError(f"{name} is {found.dtype} {found.shape} in the state, {needed.dtype} {needed.shape} here")
