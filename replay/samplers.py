"""Prioritized replay memory: transitions with a large TD error are drawn more often."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from environments.spaces import Observations, check_like
from replay_memory import Batch, ReplayMemory


class SumTree:
    """n numbers of at least 0, their sum, and the search for where a running sum of them is reached, in O(log n).

    A complete binary tree in an array: node i has the children 2i and 2i+1, every inner node is the sum of its two, and
    the root is node 1.

    Args:
        n: how many numbers; all are 0 at first.
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
        """The bytes of its array."""
        return self._nodes.nbytes

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        """The numbers at int (k,): float64 (k,)."""
        return self._nodes[self._first_leaf + indices]

    def __setitem__(self, indices: np.ndarray, numbers: npt.ArrayLike) -> None:
        """Set the numbers at int (k,). Of an index given twice the last number stays."""
        nodes = self._first_leaf + indices
        self._nodes[nodes] = numbers
        while nodes[0] > 1:  # all leaves lie equally deep
            nodes = nodes // 2
            self._nodes[nodes] = self._nodes[2 * nodes] + self._nodes[2 * nodes + 1]

    def find(self, sums: np.ndarray) -> np.ndarray:
        """For float64 (k,) in [0, total): int64 (k,), the first index up to which the numbers sum to more."""
        nodes, sums = np.ones(len(sums), np.int64), sums.copy()
        while nodes[0] < self._first_leaf:
            left = self._nodes[2 * nodes]
            # Rounding may leave a rest where nothing is: never step into an empty half.
            right = (sums >= left) & (self._nodes[2 * nodes + 1] > 0)
            sums -= np.where(right, left, 0)
            nodes = 2 * nodes + right
        return nodes - self._first_leaf


class PrioritizedReplayMemory(ReplayMemory):
    """Draws transitions in proportion to their last TD error (Schaul et al. 2016, "Prioritized experience replay").

    Transition i is drawn with chance p_i / sum of all p, where p_i = (|TD error| + EPSILON) ** alpha (section 3.3). New
    ones get the largest p so far, so that each is seen soon.

    Args:
        maxlen, lanes, example, n_actions, stack: as `ReplayMemory`.
        alpha: 0 draws uniformly, 1 in full proportion.
    """

    EPSILON = 1e-3  # in reward; without it a transition of no error would never be drawn again

    def __init__(
        self, maxlen: int, lanes: int, example: Observations, n_actions: int, stack: int = 1, alpha: float = 0.6
    ) -> None:
        super().__init__(maxlen, lanes, example, n_actions, stack)
        self._alpha = alpha
        self._tree = SumTree(self._rows * lanes)
        self._largest = 1.0

    @property
    def nbytes(self) -> int:
        """As `ReplayMemory.nbytes`, with the priorities'."""
        return super().nbytes + self._tree.nbytes

    def append(self, *step: Any, **named: Any) -> None:
        """As `ReplayMemory.append`."""
        new, fallen = self._steps, self._steps - self.maxlen // self.lanes
        super().append(*step, **named)
        lanes = np.arange(self.lanes)
        self._tree[fallen % self._rows * self.lanes + lanes] = 0
        self._tree[new % self._rows * self.lanes + lanes] = self._largest

    def sample(self, batch_size: int, n_step: int, discount: float, generator: np.random.Generator) -> Batch:
        """Draw transitions by priority, one from each of `batch_size` equal shares of the total (appendix B.2.1).

        Raises:
            ValueError: the memory is empty.
        """
        if not len(self):
            raise ValueError("cannot sample from an empty replay memory")
        shares = (np.arange(batch_size) + generator.random(batch_size)) / batch_size
        slots = self._tree.find(shares * self._tree.total)
        return self._gather(slots, self._tree[slots] / self._tree.total, n_step, discount)

    def set_priorities(self, slots: np.ndarray, td_errors: np.ndarray) -> None:
        """Take note of the TD errors, float (B,), of the transitions in the slots that a batch named, int (B,)."""
        priorities = (np.abs(td_errors) + self.EPSILON) ** self._alpha
        self._tree[slots] = priorities
        self._largest = max(self._largest, float(priorities.max()))

    def get_state(self) -> dict[str, Any]:
        """As `ReplayMemory.get_state`, with the priorities."""
        priorities = self._tree[np.arange(self._rows * self.lanes)]
        return {**super().get_state(), "priorities": priorities, "largest": self._largest}

    def set_state(self, state: dict[str, Any], segments: Iterable[dict[str, np.ndarray]]) -> None:
        """As `ReplayMemory.set_state`."""
        super().set_state(state, segments)
        slots = np.arange(self._rows * self.lanes)
        check_like("priorities", state["priorities"], self._tree[slots])
        self._tree[slots] = state["priorities"]
        self._largest = float(state["largest"])
