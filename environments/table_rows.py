"""Observations as the rows of a table."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import psutil
from gymnasium.spaces import Discrete, MultiDiscrete

from console.errors import InputError


def table_shape(observation_space: gym.Space, action_space: gym.Space, copied: bool = False) -> tuple[int, int]:
    """States and actions: the rows and columns of the table.

    Args:
        observation_space, action_space: of the environment.
        copied: whether the machine must have room for it twice more, as writing a checkpoint takes.

    Raises:
        InputError: states cannot be counted, or the table does not fit in the machine's memory.
    """
    states = count_states(observation_space)
    actions = int(action_space.n)  # type: ignore[attr-defined]
    needed, free = states * actions * 8, psutil.virtual_memory().available
    takes = f"a table of {states:,} states and {actions} actions takes {needed / 1e9:,.1f} GB"
    if needed > free:
        raise InputError(
            f"{takes}, this machine has {free / 1e9:,.1f} GB free: leave --method out for a network, which makes do "
            "with far less"
        )
    if copied and 3 * needed > free:
        raise InputError(
            f"{takes}, and twice as much again while a checkpoint is written; this machine has {free / 1e9:,.1f} GB "
            "free: --checkpoint-every 0 writes none"
        )
    return states, actions


def count_states(space: gym.Space) -> int:
    """Count the values that an observation can take.

    Raises:
        InputError: they cannot be counted.
    """
    if not isinstance(space, Discrete | MultiDiscrete) or len(space.shape or ()) > 1:
        raise InputError(
            f"a table needs Discrete or MultiDiscrete observations, these are {space}: "
            "leave --method out, or for Blob, set --env-args observation=cells or observation=offsets"
        )
    states = 1
    for count in np.atleast_1d(_sizes_and_starts(space)[0]).tolist():
        states *= count  # in Python's whole numbers, which do not overflow
    return states


def _sizes_and_starts(space: Discrete | MultiDiscrete) -> tuple[Any, Any]:
    """How many values every number of an observation takes, and the lowest of them."""
    return (space.n, space.start) if isinstance(space, Discrete) else (space.nvec, space.start)


def rows_of(observations: np.ndarray, space: Discrete | MultiDiscrete) -> np.ndarray:
    """The table's rows, int64 (batch,), for observations (batch,) or (batch, numbers), whose last number counts
    fastest."""
    sizes, starts = _sizes_and_starts(space)
    if isinstance(space, Discrete):
        return np.asarray(observations, np.int64) - starts
    rows = np.zeros(len(observations), np.int64)
    for column, (size, start) in enumerate(zip(sizes.tolist(), starts.tolist(), strict=True)):
        rows = rows * size + (observations[:, column] - start)
    return rows
