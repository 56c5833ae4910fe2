"""Observations as they were when an agent acted on them, for a loop around an environment that reuses its arrays."""

from __future__ import annotations

import numpy as np
import optree

from environments.spaces import Observations


class ActedOn:
    """Copies what an agent acts on.

    An environment may write its next observation into the array of the last. Lanes copy what it hands out
    (`environments.checked`); a user's own loop around a single environment may not, and would remember, as the
    observation acted on, the one that the action led to.
    """

    def __init__(self) -> None:
        self._given: list[np.ndarray] = []
        self._copies: list[np.ndarray] = []

    def keep(self, observations: Observations) -> None:
        """Copy observations before an environment steps."""
        self._given = optree.tree_leaves(observations)
        self._copies = [np.array(array) for array in self._given]

    def restore(self, observations: Observations) -> Observations:
        """Return the observations as they were when `keep` saw them; of arrays that it did not see, as they are."""
        leaves, structure = optree.tree_flatten(observations)
        if len(leaves) != len(self._given):
            return observations
        known = zip(leaves, self._given, self._copies, strict=True)
        return optree.tree_unflatten(structure, [copy if _same(now, given) else now for now, given, copy in known])


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two arrays are the same piece of memory."""
    return np.shape(one) == np.shape(other) and np.shares_memory(one, other)
