"""Draws from the replay memory: uniform, or in proportion to TD errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from environments.spaces import check_like
from replay.frames import Frames


class Uniform:
    """Draws every transition with the same probability. Slots are those of `Frames`."""

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        return 0

    def append(self, new: np.ndarray, fallen: np.ndarray) -> None:
        """Note the slots of new transitions and of those that fell off, int (lanes,) each."""

    def draw(self, frames: Frames, count: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw `count` slots, int64, with replacement; with them the probability of each, float64."""
        slots = frames.slots(generator.integers(len(frames), size=count))
        return slots, np.full(count, 1 / len(frames))

    def set_priorities(self, slots: np.ndarray, td_errors: np.ndarray) -> None:
        """Note the latest TD errors, float (k,), of the transitions in these slots, int (k,)."""

    def get_state(self) -> dict[str, Any]:
        """Save everything that later draws depend on."""
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` saved."""


class SumTree:
    """n numbers of at least 0 with their sum; finds where a running sum of them is reached, in O(log n).

    A complete binary tree in an array: node i has the children 2i and 2i+1, an inner node is the sum of its children,
    and the root is node 1.

    Args:
        n: how many numbers; all start at 0.
    """

    def __init__(self, n: int) -> None:
        self._first_leaf = 1 << max(0, n - 1).bit_length()
        self._nodes = np.zeros(2 * self._first_leaf)

    @property
    def total(self) -> float:
        """The sum of all numbers."""
        return float(self._nodes[1])

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return self._nodes.nbytes

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        """The numbers at int (k,): float64 (k,)."""
        return self._nodes[self._first_leaf + indices]

    def __setitem__(self, indices: np.ndarray, numbers: npt.ArrayLike) -> None:
        """Set the numbers at int (k,). If an index is given twice, the last number stays."""
        nodes = self._first_leaf + indices
        self._nodes[nodes] = numbers
        while nodes[0] > 1:  # all leaves are equally deep
            nodes = nodes // 2
            self._nodes[nodes] = self._nodes[2 * nodes] + self._nodes[2 * nodes + 1]

    def find(self, sums: np.ndarray) -> np.ndarray:
        """For float64 (k,) in [0, total): int64 (k,), the first index up to which the numbers sum to more."""
        nodes, sums = np.ones(len(sums), np.int64), sums.copy()
        while nodes[0] < self._first_leaf:
            left = self._nodes[2 * nodes]
            # Rounding may leave a remainder where nothing is: never step into an empty half.
            right = (sums >= left) & (self._nodes[2 * nodes + 1] > 0)
            sums -= np.where(right, left, 0)
            nodes = 2 * nodes + right
        return nodes - self._first_leaf


class Prioritized(Uniform):
    """Draws transitions in proportion to their last TD error (Schaul et al. 2016, "Prioritized experience replay").

    Transition i is drawn with probability p_i / sum of all p, where p_i = (|TD error| + EPSILON) ** alpha (section
    3.3). New ones get the largest p so far, so that each is drawn soon, unless their TD errors follow.

    Args:
        n_slots: of the frames.
        alpha: 0 draws uniformly, 1 in full proportion.
    """

    EPSILON = 1e-3  # in units of reward; without it a transition without an error would never be drawn again

    def __init__(self, n_slots: int, alpha: float = 0.6) -> None:
        self._alpha = alpha
        self._slots = np.arange(n_slots)
        self._tree = SumTree(n_slots)
        self._largest = 1.0

    @property
    def nbytes(self) -> int:
        """Bytes of the priorities."""
        return self._tree.nbytes

    def append(self, new: np.ndarray, fallen: np.ndarray) -> None:
        """Give new transitions the largest priority, and those that fell off none."""
        self._tree[fallen] = 0
        self._tree[new] = self._largest

    def draw(self, frames: Frames, count: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Draw one transition from each of `count` equal shares of the total priority (appendix B.2.1)."""
        shares = (np.arange(count) + generator.random(count)) / count
        slots = self._tree.find(shares * self._tree.total)
        return slots, self._tree[slots] / self._tree.total

    def set_priorities(self, slots: np.ndarray, td_errors: np.ndarray) -> None:
        """Set the priorities of transitions in these slots, int (k,), from their TD errors, float (k,)."""
        priorities = (np.abs(td_errors) + self.EPSILON) ** self._alpha
        self._tree[slots] = priorities
        self._largest = max(self._largest, float(priorities.max()))

    def get_state(self) -> dict[str, Any]:
        """Save all priorities."""
        return {"priorities": self._tree[self._slots], "largest": self._largest}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` saved.

        Raises:
            ValueError: it is of a memory of another size.
        """
        check_like("priorities", state["priorities"], self._tree[self._slots])
        self._tree[self._slots] = state["priorities"]
        self._largest = float(state["largest"])


def importance_weights(probabilities: np.ndarray, beta: float) -> np.ndarray:
    """Weigh draws so that the rare ones count as much as their probability took from them.

    w_i = (N P(i)) ** -beta / max_j w_j (Schaul et al. 2016, section 3.4); all are 1 for uniform draws.

    Args:
        probabilities: float64 (batch,).
        beta: 0 corrects nothing, 1 everything.

    Returns:
        float32 (batch,).
    """
    return ((probabilities / probabilities.min()) ** -beta).astype(np.float32)
