"""Legal actions, and picking one of them: greedily or epsilon-greedily."""

from __future__ import annotations

from typing import Any

import numpy as np
import optree

from environments.spaces import Observations, QValues

MASK = "action_mask"  # Gymnasium's convention, in an environment's info


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
