"""What is seen and what may be done: observations as arrays and as rows of a table, and which actions are legal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import optree
import psutil
from gymnasium.spaces import Box, Dict, Discrete, MultiBinary, MultiDiscrete, Tuple

from startup import InputError

# An array, or arrays in dicts and tuples, as the observations of Dict and Tuple spaces are.
Observations = Any
QValues = Callable[[Observations], np.ndarray]  # from (batch, ...) to (batch, n_actions)
MASK = "action_mask"  # Gymnasium's convention, in an environment's info


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


def table_shape(observation_space: gym.Space, action_space: gym.Space, copied: bool = False) -> tuple[int, int]:
    """States and actions: the rows and columns of the table.

    Args:
        observation_space, action_space: of the environment.
        copied: whether the machine must have room for it twice more, as writing a checkpoint takes.

    Raises:
        InputError: states cannot be counted, or the table does not fit in the machine's memory.
    """
    if not isinstance(observation_space, Discrete | MultiDiscrete) or len(observation_space.shape or ()) > 1:
        raise InputError(
            f"a table needs Discrete or MultiDiscrete observations, these are {observation_space}: "
            "leave --method out, or for Blob, set --env-args observation=cells or observation=offsets"
        )
    states = 1
    for count in np.atleast_1d(_sizes_and_starts(observation_space)[0]).tolist():
        states *= count  # in Python's whole numbers, which do not overflow
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


def action_masks(infos: dict[str, Any], shape: tuple[int, int]) -> np.ndarray:
    """The actions that are legal in the observations that a vector environment's `reset` or `step` returned with these
    infos: bool of this shape, (lanes, n_actions), all where it does not say. A mask without any legal action bars
    nothing."""
    if MASK not in infos:
        return np.ones(shape, bool)
    masks = np.asarray(infos[MASK]).astype(bool)
    return masks | ~masks.any(axis=1, keepdims=True)  # a lane that said nothing has zeros too


def final_action_masks(infos: dict[str, Any], shape: tuple[int, int]) -> np.ndarray:
    """The actions that are legal in the observations that a vector step led to: at an episode's end, where SAME_STEP
    autoreset returns the next episode's first observation, those of the final one. Bool of this shape, (lanes,
    n_actions)."""
    masks = action_masks(infos, shape)
    if "final_info" in infos:
        ended = infos["_final_info"]
        masks[ended] = action_masks(infos["final_info"], shape)[ended]
    return masks


def epsilon_greedy(
    q_values: QValues, observations: Observations, masks: np.ndarray, epsilon: float, generator: np.random.Generator
) -> np.ndarray:
    """Pick a legal action for each observation: a random one with chance epsilon, else the one valued highest.

    Args:
        q_values: from observations (batch, ...) to (batch, n_actions).
        observations: (batch, ...).
        masks: bool (batch, n_actions).
        epsilon: in [0, 1].
        generator: of the random draws.

    Returns:
        int64 (batch,), counted from 0.
    """
    actions = best_actions(generator.random(masks.shape), masks)
    greedy = generator.random(len(masks)) >= epsilon
    if greedy.any():
        values = q_values(optree.tree_map(lambda array: array[greedy], observations))
        actions[greedy] = best_actions(values, masks[greedy])
    return actions


def best_actions(q_values: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The legal action of the highest value: from float (batch, n_actions) and bool (batch, n_actions) to int
    (batch,)."""
    return np.where(masks, q_values, -np.inf).argmax(axis=1)
