"""Replay memory: a bounded deque of transitions that stores every observation once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import optree

from environments.spaces import Observations, check_like


class Transition(NamedTuple):
    """One step of one lane, as the memory gives it back by index. A terminated step does not count as truncated."""

    observation: Observations
    action: int
    reward: float
    terminated: bool
    truncated: bool
    next_observation: Observations
    next_mask: np.ndarray


class Batch(NamedTuple):
    """A sample for one update: B n-step transitions (Sutton & Barto 2018, eq. 7.1).

    The target of row i is `returns[i] + discounts[i] * max_a Q(next_observations[i], a)`, over the legal actions a.

    Attributes:
        observations: (B, ...) in the observation's dtype, or such arrays in the observation's structure.
        actions: int32 (B,).
        returns: float32 (B,), the discounted sum of up to n rewards.
        discounts: float32 (B,), discount ** (rewards summed), and 0 where the episode terminated.
        next_observations: (B, ...), the observation behind the last reward summed.
        next_masks: bool (B, n_actions), the actions that are legal there.
        slots: int64 (B,), where in the memory the transitions lie; `set_priorities` takes them back.
        chances: float64 (B,), the probability with which each was drawn.
    """

    observations: Observations
    actions: np.ndarray
    returns: np.ndarray
    discounts: np.ndarray
    next_observations: Observations
    next_masks: np.ndarray
    slots: np.ndarray
    chances: np.ndarray


class ReplayMemory:
    """A `collections.deque(maxlen=...)` of transitions in NumPy ring arrays, fed by all lanes at once.

    Appending a vector step adds one transition a lane on the right; once full, the oldest vector step falls off the
    left. The next observation of a step is the observation of the lane's following step, so it is not stored again;
    only an episode's final observation, which no following step repeats, is kept beside the ring. Of stacked frames
    the newest alone is stored: the others are those of the steps before, or the episode's first again, as
    `gymnasium.wrappers.FrameStackObservation` has it.

    Args:
        maxlen: transitions to hold, rounded down to whole vector steps.
        lanes: transitions in every vector step.
        example: one observation, whose structure, shapes and dtypes all have; images are best uint8.
        n_actions: how many there are.
        stack: frames stacked along the first axis of every array in an observation, the newest last; 1 means that
            observations are no stacks.

    Raises:
        ValueError: `maxlen` is smaller than `lanes`.
    """

    def __init__(self, maxlen: int, lanes: int, example: Observations, n_actions: int, stack: int = 1) -> None:
        if not 1 <= lanes <= maxlen:
            raise ValueError(f"a memory of {maxlen} transitions cannot hold a step of {lanes} lanes")
        self.lanes = lanes
        self.maxlen = maxlen // lanes * lanes
        # One row more than the steps held: the newest step's next observation has no step of its own yet. And the
        # oldest step's stack goes on into steps no longer held.
        self._rows = maxlen // lanes + stack
        self._stack = stack
        self._observations = optree.tree_map(
            lambda array: np.zeros((self._rows, lanes, *array.shape[stack > 1 :]), array.dtype), example
        )
        self._actions = np.zeros((self._rows, lanes), np.int32)
        self._rewards = np.zeros((self._rows, lanes), np.float32)
        self._terminated = np.zeros((self._rows, lanes), bool)
        self._ended = np.zeros((self._rows, lanes), bool)
        self._next_masks = np.ones((self._rows, lanes, n_actions), bool)
        self._final_observations: dict[tuple[int, int], Observations] = {}
        self._steps = 0  # vector steps appended so far; step t lies in row t % self._rows

    @staticmethod
    def bytes_needed(maxlen: int, example: Observations, n_actions: int, stack: int = 1) -> int:
        """About how many bytes a memory's arrays take when it is full, priorities included; what is kept of episodes'
        ends, a frame each, comes on top."""
        frame = sum(array.nbytes for array in optree.tree_leaves(example)) // stack
        return maxlen * (frame + n_actions + 4 + 4 + 1 + 1 + 4 * 8)  # a sum tree has 2 to 4 numbers for each of its own

    @property
    def nbytes(self) -> int:
        """The bytes of its arrays, whether filled yet or not."""
        return sum(array.nbytes for array in self._arrays().values())

    def append(
        self,
        observations: Observations,
        actions: npt.ArrayLike,
        rewards: npt.ArrayLike,
        terminated: npt.ArrayLike,
        truncated: npt.ArrayLike,
        next_observations: Observations,
        next_masks: npt.ArrayLike = True,
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
            next_masks: bool (lanes, n_actions), the actions that are legal in `next_observations`.
        """
        row, next_row = self._steps % self._rows, (self._steps + 1) % self._rows
        fallen = (self._steps - self.maxlen // self.lanes) % self._rows  # the row of the step that falls off the left
        for lane in range(self.lanes):
            self._final_observations.pop((fallen, lane), None)
        self._write(row, observations)
        self._write(next_row, next_observations)
        self._actions[row] = actions
        self._rewards[row] = rewards
        self._terminated[row] = terminated
        self._ended[row] = np.logical_or(terminated, truncated)
        self._next_masks[row] = next_masks
        for lane in np.flatnonzero(self._ended[row]).tolist():
            self._keep_final_observation(row, lane)
        self._steps += 1

    def _keep_final_observation(self, row: int, lane: int) -> None:
        next_row = (row + 1) % self._rows  # where a reset's observation will be written over it
        final = optree.tree_map(lambda ring: ring[next_row, lane].copy(), self._observations)
        self._final_observations[row, lane] = final

    def _write(self, row: int, observations: Observations) -> None:
        def write(ring: np.ndarray, arrays: npt.ArrayLike) -> None:
            ring[row] = arrays if self._stack == 1 else np.asarray(arrays)[:, -1]

        optree.tree_map(write, self._observations, observations)

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
        observations, next_observations = self._observations_at(steps, lanes), self._next_observations(steps, lanes)
        return Transition(
            optree.tree_map(lambda array: array[0], observations),
            int(self._actions[row, lane]),
            float(self._rewards[row, lane]),
            bool(self._terminated[row, lane]),
            bool(self._ended[row, lane] and not self._terminated[row, lane]),
            optree.tree_map(lambda array: array[0], next_observations),
            self._next_masks[row, lane].copy(),
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
        newest = self._steps - 1
        steps = newest - (newest - rows) % self._rows
        last = steps
        returns = self._rewards[rows, lanes]
        discounts = np.full(len(slots), discount, np.float32)
        for _ in range(n_step - 1):
            goes_on = ~self._ended[last % self._rows, lanes] & (last < newest)
            last = last + goes_on
            returns += np.where(goes_on, discounts * self._rewards[last % self._rows, lanes], 0)
            discounts[goes_on] *= discount
        discounts[self._terminated[last % self._rows, lanes]] = 0
        return Batch(
            self._observations_at(steps, lanes),
            self._actions[rows, lanes],
            returns,
            discounts,
            self._next_observations(last, lanes),
            self._next_masks[last % self._rows, lanes],
            slots,
            chances,
        )

    def _locate(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        steps, lanes = np.divmod(indices, self.lanes)
        return self._steps - len(self) // self.lanes + steps, lanes

    def _observations_at(self, steps: np.ndarray, lanes: np.ndarray) -> Observations:
        """The observations of these steps, (k, ...), their stacks of frames rebuilt."""
        if self._stack == 1:
            return optree.tree_map(lambda ring: ring[steps % self._rows, lanes], self._observations)
        frames = [steps]
        for _ in range(self._stack - 1):
            before = frames[0] - 1
            is_first = (before < 0) | self._ended[before % self._rows, lanes]  # of its episode
            frames.insert(0, np.where(is_first, frames[0], before))
        rows = np.stack(frames, axis=1) % self._rows
        return optree.tree_map(lambda ring: ring[rows, lanes[:, None]], self._observations)

    def _next_observations(self, steps: np.ndarray, lanes: np.ndarray) -> Observations:
        rows = (steps + 1) % self._rows
        newest = optree.tree_map(lambda ring: ring[rows, lanes], self._observations)
        for i in np.flatnonzero(self._ended[steps % self._rows, lanes]):
            final = self._final_observations[int(steps[i] % self._rows), int(lanes[i])]
            optree.tree_map(lambda arrays, frame, i=i: arrays.__setitem__(i, frame), newest, final)
        if self._stack == 1:
            return newest
        # All but the oldest frame are the stack's of one step before.
        return optree.tree_map(
            lambda stacks, frames: np.concatenate([stacks[:, 1:], frames[:, None]], axis=1),
            self._observations_at(steps, lanes),
            newest,
        )

    @property
    def steps(self) -> int:
        """Vector steps appended so far."""
        return self._steps

    @property
    def oldest(self) -> int:
        """The first vector step that is still stored, those included that only stacks reach back to."""
        return max(0, self._steps - self._rows + 1)

    def get_steps(self, first: int = 0) -> dict[str, np.ndarray]:
        """What is held of what was appended since vector step `first`, as a segment that `set_state` takes back."""
        steps = np.arange(max(first, self.oldest), self._steps)
        rows = steps % self._rows
        keys = sorted((self._step(row), lane) for row, lane in self._final_observations)
        finals = [(step, lane) for step, lane in keys if step >= first]
        return {
            "steps": steps,
            **{name: ring[rows] for name, ring in self._arrays().items()},
            "final_keys": np.array(finals, np.int64).reshape(-1, 2),
            **{f"final_{name}": stored for name, stored in self._finals(finals).items()},
        }

    def get_state(self) -> dict[str, Any]:
        """What is needed beside `get_steps`, as `set_state` takes it back."""
        row = self._steps % self._rows
        newest = {f"newest_{i}": ring[row].copy() for i, ring in enumerate(optree.tree_leaves(self._observations))}
        return {"appended": self._steps, **newest}

    def set_state(self, state: dict[str, Any], segments: Iterable[dict[str, np.ndarray]]) -> None:
        """Take back what `get_state` and, oldest first, `get_steps` of a memory of the same size gave.

        Raises:
            ValueError: they are of a memory of another size.
        """
        self._final_observations = {}
        self._steps = int(state["appended"])
        rings = {f"newest_{i}": ring for i, ring in enumerate(optree.tree_leaves(self._observations))}
        for segment in segments:
            self._set_steps(segment)
        for name, ring in rings.items():
            check_like(name, state[name], ring[0, ...])
            ring[self._steps % self._rows] = state[name]

    def _set_steps(self, segment: dict[str, np.ndarray]) -> None:
        steps, rings = segment["steps"], self._arrays()
        held = steps >= self.oldest
        for name, ring in rings.items():
            check_like(name, segment[name][:0], ring[:0])
            ring[steps[held] % self._rows] = segment[name][held]
        structure, names = optree.tree_structure(self._observations), list(self._finals([]))
        first = self._steps - self.maxlen // self.lanes
        for i, (step, lane) in enumerate(segment["final_keys"].tolist()):
            if step >= first:
                final = [segment[f"final_{name}"][i].copy() for name in names]
                self._final_observations[step % self._rows, lane] = optree.tree_unflatten(structure, final)

    def cut(self, lane: int) -> None:
        """Count the newest step of a lane as truncated: what is appended next does not go on from there."""
        row = (self._steps - 1) % self._rows
        if self._steps and not self._ended[row, lane]:
            self._ended[row, lane] = True
            self._keep_final_observation(row, lane)

    def _step(self, row: int) -> int:
        """The vector step that lies in a row."""
        newest = self._steps - 1
        return newest - (newest - row) % self._rows

    def _finals(self, keys: list[tuple[int, int]]) -> dict[str, np.ndarray]:
        """The final observations of these (vector step, lane), (k, ...), by the names of their rings."""
        finals = [optree.tree_leaves(self._final_observations[step % self._rows, lane]) for step, lane in keys]
        return {
            f"observations_{i}": np.array([final[i] for final in finals], ring.dtype).reshape(-1, *ring.shape[2:])
            for i, ring in enumerate(optree.tree_leaves(self._observations))
        }

    def _arrays(self) -> dict[str, np.ndarray]:
        """The rings by name."""
        return {
            **{f"observations_{i}": ring for i, ring in enumerate(optree.tree_leaves(self._observations))},
            "actions": self._actions,
            "rewards": self._rewards,
            "terminated": self._terminated,
            "ended": self._ended,
            "next_masks": self._next_masks,
        }
