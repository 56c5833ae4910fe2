"""Symmetries of an environment, as data: what is learned on one side of a mirror holds on the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from environments.spaces import QValues

AT_A_TIME, NUMBERS = 128, 250_000  # observations, and numbers in them, seen in all views in one call


class Symmetry(NamedTuple):
    """A transformation of observations and actions that leaves an environment the same.

    An environment publishes its own in an attribute `symmetries`: tuples of these fields, the identity among them.

    Attributes:
        places: int64 (numbers,). Number i of the transformed observation, flattened, is number `places[i]` of the
            original.
        signs: int8 (numbers,), 1 or -1: the factor of each number.
        actions: int64 (n_actions,). Action a becomes `actions[a]`.
        values: int64 (values,), for whole numbers that stand for cells: number v becomes `values[v]`. None keeps them.
    """

    places: np.ndarray
    signs: np.ndarray
    actions: np.ndarray
    values: np.ndarray | None = None

    def observations(self, observations: np.ndarray) -> np.ndarray:
        """Transform observations (batch, ...). Returns a contiguous array of the same shape and dtype."""
        numbers = np.take(observations.reshape(len(observations), -1), self.places, axis=1)
        if self.values is not None:
            numbers = self.values[numbers].astype(numbers.dtype, copy=False)
        if (self.signs < 0).any():
            numbers = numbers * self.signs
        return numbers.reshape(observations.shape)


def mean_over_symmetries(q_values: QValues, symmetries: Sequence[Symmetry]) -> QValues:
    """Average Q-values over all symmetric views of an observation.

    The true values agree in all views and the network's errors differ, so the mean errs less: an ensemble of one
    network with itself.

    Args:
        q_values: from observations (batch, ...) to (batch, n_actions).
        symmetries: `q_values` itself is returned where there are none.
    """
    if not symmetries:
        return q_values

    def mean(observations: np.ndarray) -> np.ndarray:
        views = np.concatenate([symmetry.observations(observations) for symmetry in symmetries])
        values = q_values(views).reshape(len(symmetries), len(observations), -1)
        pairs = zip(values, symmetries, strict=True)
        return np.mean([of_view[:, symmetry.actions] for of_view, symmetry in pairs], axis=0)

    return lambda observations: np.concatenate([mean(part) for part in parts(observations)])


def parts(observations: np.ndarray) -> list[np.ndarray]:
    """Split observations (batch, ...) into as many at a time as are seen in all views in one call, which bounds its
    memory."""
    at_a_time = max(1, min(AT_A_TIME, NUMBERS * len(observations) // max(1, observations.size)))
    return [observations[first : first + at_a_time] for first in range(0, len(observations), at_a_time)]
