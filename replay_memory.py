"""Replay memory: a bounded deque of transitions that stores every observation once, and its prioritized kin."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt


class Transition(NamedTuple):
    """One step of one lane, as the memory gives it back by index. A terminated step does not count as truncated."""

    observation: np.ndarray
    action: int
    reward: float
    terminated: bool
    truncated: bool
    next_observation: np.ndarray


class Batch(NamedTuple):
    """A sample for one update: B n-step transitions (Sutton & Barto 2018, eq. 7.1).

    The target of row i is `returns[i] + discounts[i] * max_a Q(next_observations[i], a)`.

    Attributes:
        observations: (B, ...) in the observation's dtype.
        actions: int32 (B,).
        returns: float32 (B,), the discounted sum of up to n rewards.
        discounts: float32 (B,), discount ** (rewards summed), and 0 where the episode terminated.
        next_observations: (B, ...), the observation behind the last reward summed.
        slots: int64 (B,), where in the memory the transitions lie; `set_priorities` takes them back.
        chances: float64 (B,), the probability with which each was drawn.
    """

    observations: np.ndarray
    actions: np.ndarray
    returns: np.ndarray
    discounts: np.ndarray
    next_observations: np.ndarray
    slots: np.ndarray
    chances: np.ndarray


class ReplayMemory:
    """A `collections.deque(maxlen=...)` of transitions in NumPy ring arrays, fed by all lanes at once.

    Appending a vector step adds one transition a lane on the right; once full, the oldest vector step falls off the
    left. The next observation of a step is the observation of the lane's following step, so it is not stored again;
    only an episode's final observation, which no following step repeats, is kept beside the ring.

    Args:
        maxlen: transitions to hold, rounded down to whole vector steps.
        lanes: transitions in every vector step.
        shape: shape of one observation.
        dtype: dtype of the observations; images stay uint8.

    Raises:
        ValueError: `maxlen` is smaller than `lanes`.
    """

    def __init__(self, maxlen: int, lanes: int, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        if not 1 <= lanes <= maxlen:
            raise ValueError(f"a memory of {maxlen} transitions cannot hold a step of {lanes} lanes")
        self.lanes = lanes
        self.maxlen = maxlen // lanes * lanes
        # One row more than the steps held: the newest step's next observation has no step of its own yet.
        self._rows = maxlen // lanes + 1
        self._observations = np.zeros((self._rows, lanes, *shape), dtype)
        self._actions = np.zeros((self._rows, lanes), np.int32)
        self._rewards = np.zeros((self._rows, lanes), np.float32)
        self._terminated = np.zeros((self._rows, lanes), bool)
        self._ended = np.zeros((self._rows, lanes), bool)
        self._final_observations: dict[tuple[int, int], np.ndarray] = {}
        self._steps = 0  # vector steps appended so far; step t lies in row t % self._rows

    def append(
        self,
        observations: npt.ArrayLike,
        actions: npt.ArrayLike,
        rewards: npt.ArrayLike,
        terminated: npt.ArrayLike,
        truncated: npt.ArrayLike,
        next_observations: npt.ArrayLike,
    ) -> None:
        """Add one step of every lane.

        Args:
            observations: (lanes, ...) what was acted on. Where no episode ended in the step before, these must be that
                step's `next_observations`.
            actions: int (lanes,).
            rewards: float (lanes,).
            terminated: bool (lanes,).
            truncated: bool (lanes,).
            next_observations: (lanes, ...); at an episode's end its true final observation, never the reset's.
        """
        row, next_row = self._steps % self._rows, (self._steps + 1) % self._rows
        for lane in np.flatnonzero(self._ended[next_row]):  # the step in `next_row` falls off the left
            del self._final_observations[next_row, int(lane)]
        self._ended[next_row] = False
        self._observations[row] = observations
        self._observations[next_row] = next_observations
        self._actions[row] = actions
        self._rewards[row] = rewards
        self._terminated[row] = terminated
        self._ended[row] = np.logical_or(terminated, truncated)
        for lane in np.flatnonzero(self._ended[row]):
            self._final_observations[row, int(lane)] = self._observations[next_row, lane].copy()
        self._steps += 1

    def __len__(self) -> int:
        return min(self._steps * self.lanes, self.maxlen)

    def __getitem__(self, index: int) -> Transition:
        """Transition `index` from the left: the oldest is 0, within a vector step lane 0 comes first.

        Raises:
            IndexError: there is no such transition.
        """
        if not -len(self) <= index < len(self):
            raise IndexError("replay memory index out of range")
        steps, lanes = self._locate(np.array([index % len(self)]))
        row, lane = steps[0] % self._rows, lanes[0]
        return Transition(
            self._observations[row, lane].copy(),
            int(self._actions[row, lane]),
            float(self._rewards[row, lane]),
            bool(self._terminated[row, lane]),
            bool(self._ended[row, lane] and not self._terminated[row, lane]),
            self._next_observations(steps, lanes)[0],
        )

    def sample(self, batch_size: int, n_step: int, discount: float, generator: np.random.Generator) -> Batch:
        """Draw transitions uniformly, with replacement, as n-step transitions.

        A transition with fewer than `n_step` steps behind it (its episode ended, or the memory does) is cut short there
        and bootstraps with the matching power of the discount.

        Raises:
            ValueError: the memory is empty.
        """
        if not len(self):
            raise ValueError("cannot sample from an empty replay memory")
        steps, lanes = self._locate(generator.integers(len(self), size=batch_size))
        chances = np.full(batch_size, 1 / len(self))
        return self._gather(steps % self._rows * self.lanes + lanes, chances, n_step, discount)

    def _gather(self, slots: np.ndarray, chances: np.ndarray, n_step: int, discount: float) -> Batch:
        rows, lanes = np.divmod(slots, self.lanes)
        last = rows
        returns = self._rewards[rows, lanes]
        discounts = np.full(len(slots), discount, np.float32)
        newest = (self._steps - 1) % self._rows
        for _ in range(n_step - 1):
            goes_on = ~self._ended[last, lanes] & (last != newest)
            last = (last + goes_on) % self._rows
            returns += np.where(goes_on, discounts * self._rewards[last, lanes], 0)
            discounts[goes_on] *= discount
        discounts[self._terminated[last, lanes]] = 0
        return Batch(
            self._observations[rows, lanes],
            self._actions[rows, lanes],
            returns,
            discounts,
            self._next_observations(last, lanes),
            slots,
            chances,
        )

    def _locate(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        steps, lanes = np.divmod(indices, self.lanes)
        return self._steps - len(self) // self.lanes + steps, lanes

    def _next_observations(self, steps: np.ndarray, lanes: np.ndarray) -> np.ndarray:
        rows = steps % self._rows
        observations = self._observations[(rows + 1) % self._rows, lanes]
        for i in np.flatnonzero(self._ended[rows, lanes]):
            observations[i] = self._final_observations[int(rows[i]), int(lanes[i])]
        return observations

    def get_state(self) -> dict[str, Any]:
        """Everything held, as arrays that `set_state` takes back."""
        keys = np.array(sorted(self._final_observations), np.int64).reshape(-1, 2)
        finals = [self._final_observations[row, lane] for row, lane in keys.tolist()]
        return {
            "steps": self._steps,
            "observations": self._observations.copy(),
            "actions": self._actions.copy(),
            "rewards": self._rewards.copy(),
            "terminated": self._terminated.copy(),
            "ended": self._ended.copy(),
            "final_keys": keys,
            "final_observations": np.array(finals, self._observations.dtype).reshape(-1, *self._observations.shape[2:]),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Take back what `get_state` of a memory of the same size gave.

        Raises:
            ValueError: the state is of a memory of another size.
        """
        for name in ("observations", "actions", "rewards", "terminated", "ended"):
            array = getattr(self, f"_{name}")
            found, needed = ((a.shape, a.dtype) for a in (state[name], array))
            if found != needed:
                raise ValueError(f"{name} of shape and dtype {found} in the state, {needed} in this memory")
            array[...] = state[name]
        self._steps = int(state["steps"])
        keys = map(tuple, state["final_keys"].tolist())
        self._final_observations = dict(zip(keys, state["final_observations"].copy(), strict=True))


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
        maxlen, lanes, shape, dtype: as `ReplayMemory`.
        alpha: 0 draws uniformly, 1 in full proportion.
    """

    EPSILON = 1e-3  # in reward; without it a transition of no error would never be drawn again

    def __init__(
        self, maxlen: int, lanes: int, shape: tuple[int, ...], dtype: npt.DTypeLike, alpha: float = 0.6
    ) -> None:
        super().__init__(maxlen, lanes, shape, dtype)
        self._alpha = alpha
        self._tree = SumTree(self._rows * lanes)
        self._largest = 1.0

    def append(
        self,
        observations: npt.ArrayLike,
        actions: npt.ArrayLike,
        rewards: npt.ArrayLike,
        terminated: npt.ArrayLike,
        truncated: npt.ArrayLike,
        next_observations: npt.ArrayLike,
    ) -> None:
        """As `ReplayMemory.append`."""
        row, next_row = self._steps % self._rows, (self._steps + 1) % self._rows
        super().append(observations, actions, rewards, terminated, truncated, next_observations)
        lanes = np.arange(self.lanes)
        self._tree[row * self.lanes + lanes] = self._largest
        self._tree[next_row * self.lanes + lanes] = 0  # fell off the left

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

    def set_state(self, state: dict[str, Any]) -> None:
        """As `ReplayMemory.set_state`."""
        super().set_state(state)
        self._tree[np.arange(self._rows * self.lanes)] = state["priorities"]
        self._largest = float(state["largest"])
