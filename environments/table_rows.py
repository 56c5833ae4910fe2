"""Observations as the rows of a table of Q-values."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import psutil
from gymnasium.spaces import Discrete, MultiDiscrete

from console.errors import InputError


def table_shape(observation_space: gym.Space, action_space: gym.Space, copied: bool = False) -> tuple[int, int]:
    """Count the rows (states) and columns (actions) of the table.

    Args:
        observation_space: must be Discrete or MultiDiscrete.
        action_space: must be Discrete.
        copied: whether memory for two copies more is needed, as writing a checkpoint takes.

    Raises:
        InputError: states cannot be counted, or the table does not fit in the machine's memory.
    """
    states = count_states(observation_space)
    actions = int(action_space.n)  # type: ignore[attr-defined]
    needed, free = states * actions * 8, psutil.virtual_memory().available
    takes = f"a table of {states:,} states and {actions} actions takes {needed / 1e9:,.1f} GB"
    if needed > free:
        raise InputError(
            f"{takes}, this machine has {free / 1e9:,.1f} GB free: leave --method out for a network, which needs far "
            "less"
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
        states *= count  # as Python integers, which do not overflow
    return states


def rows_of(observations: np.ndarray, space: Discrete | MultiDiscrete) -> np.ndarray:
    """Number the observations, (batch,) or (batch, numbers): int64 (batch,). The last number counts fastest."""
    sizes, starts = _sizes_and_starts(space)
    if isinstance(space, Discrete):
        return np.asarray(observations, np.int64) - starts
    rows = np.zeros(len(observations), np.int64)
    for column, (size, start) in enumerate(zip(sizes.tolist(), starts.tolist(), strict=True)):
        rows = rows * size + (observations[:, column] - start)
    return rows


def _sizes_and_starts(space: Discrete | MultiDiscrete) -> tuple[Any, Any]:
    """For each number of an observation: how many values it takes, and the lowest."""
    return (space.n, space.start) if isinstance(space, Discrete) else (space.nvec, space.start)
