"""Legal actions, and picking one: greedily or epsilon-greedily. Actions count from 0."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

MASK = "action_mask"  # Gymnasium's name for it in an environment's info


def action_masks(infos: dict[str, Any], shape: tuple[int, int]) -> np.ndarray:
    """Read the legal actions from the infos of a vector environment's `reset` or `step`.

    A mask without a legal action is ignored: all actions count as legal, as they do where there is no mask.

    Returns:
        bool of this shape, (lanes, n_actions): legal in the observations returned with the infos.
    """
    if MASK not in infos:
        return np.ones(shape, bool)
    masks = np.asarray(infos[MASK]).astype(bool)
    return masks | ~masks.any(axis=1, keepdims=True)  # a lane without a mask has zeros here too


def action_mask(info: dict[str, Any], n_actions: int) -> np.ndarray:
    """Read the legal actions from the info of a single environment: bool (n_actions,), as `action_masks` reads them."""
    infos = {MASK: np.asarray(info[MASK])[None]} if MASK in info else {}
    return action_masks(infos, (1, n_actions))[0]


def successor_masks(masks: np.ndarray, infos: dict[str, Any]) -> np.ndarray:
    """Read the legal actions in the observations that a vector step led to.

    At an episode's end these differ from `masks`, which SAME_STEP autoreset gives for the next episode's start.

    Args:
        masks: bool (lanes, n_actions), from `action_masks`.
        infos: of the step.
    """
    if "final_info" not in infos:
        return masks
    ended = infos["_final_info"][:, None]
    return np.where(ended, action_masks(infos["final_info"], masks.shape), masks)


def epsilon_greedy(
    q_values: np.ndarray, masks: np.ndarray, epsilon: npt.ArrayLike, generator: np.random.Generator
) -> np.ndarray:
    """Pick a legal action for each observation: a random one with probability epsilon, else the greedy one.

    Args:
        q_values: float (batch, n_actions).
        masks: bool (batch, n_actions).
        epsilon: in [0, 1], one or (batch,).
        generator: source of the random draws.

    Returns:
        int64 (batch,).
    """
    random = best_actions(generator.random(masks.shape), masks)
    is_greedy = generator.random(len(masks)) >= np.asarray(epsilon)
    return np.where(is_greedy, best_actions(q_values, masks), random)


def one_each(epsilons: np.ndarray, batch: int) -> np.ndarray:
    """Return the lanes' epsilons, rising (lanes,), if the batch has one observation for each lane, else the lowest."""
    return epsilons if len(epsilons) == batch else epsilons[:1]


def best_actions(q_values: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Pick the legal action of the highest value: int64 (batch,), from float and bool (batch, n_actions)."""
    return legal_values(q_values, masks).argmax(axis=1)


def legal_values(q_values: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Replace the values of illegal actions by -inf, so that no maximum sees them."""
    return np.where(masks, q_values, -np.inf)
