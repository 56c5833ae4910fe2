"""Storage of the replay memory: every frame once, in rings of rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import optree

from environments.lanes import Step
from environments.spaces import Observations, check_like, write_lane
from replay.rings import ARRAYS, SparseRing, arrays_of, bytes_of_frame, make_ring, restore


class Batch(NamedTuple):
    """A sample for one update: B n-step transitions (Sutton & Barto 2018, eq. 7.1).

    The target of row i is `returns[i] + discounts[i] * max_a Q(next_observations[i], a)`, over the legal actions a.

    Attributes:
        observations: (B, ...) in the observation's structure and dtypes.
        masks: bool (B, n_actions), the legal actions there.
        actions: int32 (B,), counted from 0.
        returns: float32 (B,), the discounted sum of up to n rewards.
        discounts: float32 (B,), discount ** (rewards summed), and 0 where the episode terminated.
        next_observations: (B, ...), those after the last reward summed.
        next_masks: bool (B, n_actions), the legal actions in those.
        weights: float32 (B,), how much each row counts in the loss.
        slots: int64 (B,), where the transitions lie in the memory; `set_priorities` takes them back.
    """

    observations: Observations
    masks: np.ndarray
    actions: np.ndarray
    returns: np.ndarray
    discounts: np.ndarray
    next_observations: Observations
    next_masks: np.ndarray
    weights: np.ndarray
    slots: np.ndarray


class Frames:
    """The latest vector steps (one step of every lane), each frame stored once.

    The next observation of a step is the observation of the lane's following step, so it is not stored again. Only an
    episode's last observation, which no following step repeats, is kept beside the ring. The masks of legal actions are
    stored the same way. Of stacked frames the newest alone is stored; the older ones are those of the steps before, or
    copies of an episode's first, as `gymnasium.wrappers.FrameStackObservation` has it.

    Vector step t lies in row t % rows; the transition of a lane in it lies in slot row * lanes + lane.

    Args:
        maxlen: transitions to hold, rounded down to whole vector steps.
        lanes: transitions in a vector step.
        example: one observation, with the structure, shapes and dtypes of all.
        n_actions: number of actions.
        stack: frames stacked along the first axis of every array of an observation, the newest last; 1 for none.

    Attributes:
        maxlen, lanes: as given; `maxlen` rounded.
        steps: vector steps appended so far.

    Raises:
        ValueError: `maxlen` is smaller than `lanes`.
    """

    def __init__(self, maxlen: int, lanes: int, example: Observations, n_actions: int, stack: int = 1) -> None:
        if not 1 <= lanes <= maxlen:
            raise ValueError(f"a memory of {maxlen} transitions cannot hold a step of {lanes} lanes")
        self.lanes, self.maxlen, self.steps = lanes, maxlen // lanes * lanes, 0
        # More rows than steps held: one for the newest step's next observation, and the rest for the older frames of
        # the oldest step's stack.
        self._rows, self._stack = maxlen // lanes + stack, stack
        self._observations = optree.tree_map(
            lambda array: make_ring((self._rows, lanes, *array.shape[stack > 1 :]), array.dtype), example
        )
        self._actions = np.zeros((self._rows, lanes), np.int32)
        self._rewards = np.zeros((self._rows, lanes), np.float32)
        self._terminated = np.zeros((self._rows, lanes), bool)
        self._ended = np.zeros((self._rows, lanes), bool)
        self._masks = np.ones((self._rows, lanes, n_actions), bool)
        self._last: dict[tuple[int, int], tuple[Observations, np.ndarray]] = {}  # what episodes' last steps led to

    @staticmethod
    def bytes_needed(maxlen: int, example: Observations, n_actions: int, stack: int = 1) -> int:
        """Estimate the bytes of a full memory, priorities included; the last frame of each episode comes on top."""
        leaves = optree.tree_leaves(example)
        frame = sum(bytes_of_frame(array.shape[stack > 1 :], array.dtype) for array in leaves)
        return maxlen * (frame + n_actions + 4 + 4 + 1 + 1 + 4 * 8)  # a sum tree has 2 to 4 numbers per transition

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays, filled or not."""
        return sum(array.nbytes for array in self._arrays().values())

    @property
    def n_slots(self) -> int:
        """Number of slots."""
        return self._rows * self.lanes

    def __len__(self) -> int:
        return min(self.steps * self.lanes, self.maxlen)

    def append(
        self, observations: Observations, actions: npt.ArrayLike, step: Step, masks: npt.ArrayLike | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Add a vector step; see `ReplayMemory.append`.

        Returns:
            The slots of the new transitions and of those that fall off the left, int64 (lanes,) each.
        """
        row, fallen = self.steps % self._rows, self.steps - self.maxlen // self.lanes
        if masks is None:  # those that the step before led to, or all where an episode starts
            masks = self._masks[row] | self._ended[row - 1][:, None]
        self._write(row, observations, masks)
        self._write((row + 1) % self._rows, step.successors, step.successor_masks)
        self._actions[row] = actions
        self._rewards[row] = step.rewards
        self._terminated[row] = step.terminated
        self._ended[row] = step.ended
        for lane in range(self.lanes):
            self._last.pop((fallen, lane), None)
        for lane in np.flatnonzero(self._ended[row]).tolist():
            self._keep_last(self.steps, lane)
        self.steps += 1
        lanes = np.arange(self.lanes)
        return row * self.lanes + lanes, fallen % self._rows * self.lanes + lanes

    def _write(self, row: int, observations: Observations, masks: npt.ArrayLike) -> None:
        def write(ring: np.ndarray | SparseRing, arrays: npt.ArrayLike) -> None:
            ring[row] = arrays if self._stack == 1 else np.asarray(arrays)[:, -1]

        optree.tree_map(write, self._observations, observations)
        self._masks[row] = masks

    def _keep_last(self, step: int, lane: int) -> None:
        row = (step + 1) % self._rows  # where the next episode's first observation will overwrite it
        observation = optree.tree_map(lambda ring: ring[row, lane].copy(), self._observations)
        self._last[step, lane] = observation, self._masks[row, lane].copy()

    def truncate_lane(self, lane: int) -> None:
        """Count the newest step of a lane as truncated: the next one appended does not follow from it."""
        row = (self.steps - 1) % self._rows
        if self.steps and not self._ended[row, lane]:
            self._ended[row, lane] = True
            self._keep_last(self.steps - 1, lane)

    def truncate_jumps(self, observations: Observations) -> int:
        """Truncate each lane whose observation is not the last step's successor: a loop has reset it without saying so.

        Args:
            observations: (lanes, ...), those of the step to append next.

        Returns:
            The number of lanes truncated.
        """
        if not self.steps:
            return 0
        row, jumped = self.steps % self._rows, np.zeros(self.lanes, bool)

        def compare(ring: np.ndarray | SparseRing, arrays: npt.ArrayLike) -> None:
            given = np.asarray(arrays) if self._stack == 1 else np.asarray(arrays)[:, -1]
            differs = ring[row] != given.astype(ring.dtype, copy=False)
            np.logical_or(jumped, differs.reshape(self.lanes, -1).any(axis=1), out=jumped)

        optree.tree_map_(compare, self._observations, observations)
        lanes = np.flatnonzero(jumped & ~self._ended[row - 1]).tolist()
        for lane in lanes:
            self.truncate_lane(lane)
        return len(lanes)

    def slots(self, indices: np.ndarray) -> np.ndarray:
        """Slots of the transitions at these indices from the left, int (k,): oldest first, lane 0 before lane 1."""
        steps, lanes = np.divmod(indices, self.lanes)
        return (self.steps - len(self) // self.lanes + steps) % self._rows * self.lanes + lanes

    def n_step(self, slots: np.ndarray, n: int, discount: float) -> Batch:
        """Read n-step transitions (Sutton & Barto 2018, eq. 7.1) that start in these slots, int (k,).

        A transition with fewer than n steps behind it, as its episode or the memory ended, is cut short there and
        bootstraps with the matching power of the discount.
        """
        rows, lanes = np.divmod(slots, self.lanes)
        newest = self.steps - 1
        steps = newest - (newest - rows) % self._rows
        last = steps
        returns = self._rewards[rows, lanes]
        discounts = np.full(len(slots), discount, np.float32)
        for _ in range(n - 1):
            goes_on = ~self._ended[last % self._rows, lanes] & (last < newest)
            last = last + goes_on
            returns += np.where(goes_on, discounts * self._rewards[last % self._rows, lanes], 0)
            discounts[goes_on] *= discount
        discounts[self._terminated[last % self._rows, lanes]] = 0
        return Batch(
            self._observations_at(steps, lanes),
            self._masks[rows, lanes],
            self._actions[rows, lanes],
            returns,
            discounts,
            *self._successors(last, lanes),
            np.ones(len(slots), np.float32),
            slots,
        )

    def _observations_at(self, steps: np.ndarray, lanes: np.ndarray) -> Observations:
        """The observations of these steps, (k, ...), with their stacks of frames rebuilt."""
        if self._stack == 1:
            return optree.tree_map(lambda ring: ring[steps % self._rows, lanes], self._observations)
        frames = [steps]
        for _ in range(self._stack - 1):
            before = frames[0] - 1
            is_first = (before < 0) | self._ended[before % self._rows, lanes]  # of its episode
            frames.insert(0, np.where(is_first, frames[0], before))
        rows = np.stack(frames, axis=1) % self._rows
        return optree.tree_map(lambda ring: ring[rows, lanes[:, None]], self._observations)

    def _successors(self, steps: np.ndarray, lanes: np.ndarray) -> tuple[Observations, np.ndarray]:
        """The observations that these steps led to, (k, ...), and the masks there, (k, n_actions)."""
        rows = (steps + 1) % self._rows
        newest, masks = optree.tree_map(lambda ring: ring[rows, lanes], self._observations), self._masks[rows, lanes]
        for i in np.flatnonzero(self._ended[steps % self._rows, lanes]).tolist():
            observation, masks[i] = self._last[int(steps[i]), int(lanes[i])]
            write_lane(newest, i, observation)
        if self._stack == 1:
            return newest, masks
        stacks = optree.tree_map(  # all but the oldest frame of the step's own stack, and the newest
            lambda stacks, frames: np.concatenate([stacks[:, 1:], frames[:, None]], axis=1),
            self._observations_at(steps, lanes),
            newest,
        )
        return stacks, masks

    @property
    def oldest(self) -> int:
        """The first vector step still stored, including those that only stacks reach back to."""
        return max(0, self.steps - self._rows + 1)

    def get_steps(self, first: int = 0, end: int | None = None) -> dict[str, np.ndarray]:
        """Save the vector steps from `first` on and before `end`, by default all to the newest, as a segment for
        `set_state`."""
        end = self.steps if end is None else min(end, self.steps)
        steps = np.arange(max(first, self.oldest), end)
        keys = sorted(key for key in self._last if first <= key[0] < end)
        last = [[*optree.tree_leaves(self._last[key][0]), self._last[key][1]] for key in keys]
        return {
            "steps": steps,
            **{name: ring[steps % self._rows] for name, ring in self._arrays().items()},
            "last_keys": np.array(keys, np.int64).reshape(-1, 2),
            **{
                f"last_{i}": np.array([leaves[i] for leaves in last], ring.dtype).reshape(-1, *ring.shape[2:])
                for i, ring in enumerate(self._frames())
            },
        }

    def get_state(self) -> dict[str, Any]:
        """Save what `set_state` needs beside the segments."""
        row = self.steps % self._rows
        return {"appended": self.steps, **{f"newest_{i}": ring[row].copy() for i, ring in enumerate(self._frames())}}

    def set_state(self, state: dict[str, Any], segments: Iterable[dict[str, np.ndarray]]) -> None:
        """Restore what `get_state` and, oldest first, `get_steps` saved.

        Raises:
            ValueError: they are of a memory of another size.
        """
        self._last = {}
        self.steps = int(state["appended"])
        for segment in segments:
            self._set_steps(segment)
        for i, ring in enumerate(self._frames()):
            check_like(f"newest_{i}", state[f"newest_{i}"], ring[0, ...])
            ring[self.steps % self._rows] = state[f"newest_{i}"]

    def _set_steps(self, segment: dict[str, np.ndarray]) -> None:
        steps = segment["steps"]
        stored = steps >= self.oldest
        rows = steps[stored] % self._rows
        for i, ring in enumerate(optree.tree_leaves(self._observations)):
            names = {end: f"observations_{i}{end}" for end in ARRAYS}
            restore(ring, rows, {end: segment[name][stored] for end, name in names.items() if name in segment})
        for name, array in self._of_transitions().items():
            check_like(name, segment[name][:0], array[:0])
            array[rows] = segment[name][stored]
        structure, n_rings = optree.tree_structure(self._observations), len(self._frames())
        first = self.steps - self.maxlen // self.lanes
        for i, (step, lane) in enumerate(segment["last_keys"].tolist()):
            if step >= first:
                *leaves, mask = [segment[f"last_{ring}"][i].copy() for ring in range(n_rings)]
                self._last[step, lane] = optree.tree_unflatten(structure, leaves), mask

    def _arrays(self) -> dict[str, np.ndarray]:
        """All ring arrays by name."""
        rings = enumerate(optree.tree_leaves(self._observations))
        of_frames = {f"observations_{i}{end}": array for i, ring in rings for end, array in arrays_of(ring).items()}
        return {**of_frames, **self._of_transitions()}

    def _of_transitions(self) -> dict[str, np.ndarray]:
        return {
            "masks": self._masks,
            "actions": self._actions,
            "rewards": self._rewards,
            "terminated": self._terminated,
            "ended": self._ended,
        }

    def _frames(self) -> list[np.ndarray | SparseRing]:
        """The rings in which a step's successor is the next step's own: those of observations, and the masks."""
        return [*optree.tree_leaves(self._observations), self._masks]
