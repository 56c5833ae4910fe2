"""Random lives of lanes, and their twin: a `collections.deque` of transitions."""

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from conftest import Transition, append, transitions
from hypothesis import settings
from hypothesis import strategies as st

from replay_memory import Batch, ReplayMemory

# The same examples every time: what fails on one machine fails on all.
thorough = settings(max_examples=80, deadline=None, derandomize=True)


class History(NamedTuple):
    """What the lanes live through.

    Attributes:
        lanes, maxlen: of the memory.
        ends: how each vector step ends in each lane: "-" goes on, "T" terminated, "X" truncated, "B" both.
        seed: of actions, rewards and masks.
        stack: frames in an observation.
    """

    lanes: int
    maxlen: int
    ends: list[list[str]]
    seed: int
    stack: int = 1

    def memory(self, priority_alpha: float | None = None) -> ReplayMemory:
        """Make an empty memory."""
        shape = (self.stack, 2) if self.stack > 1 else (2,)
        return ReplayMemory(self.maxlen, self.lanes, np.zeros(shape, np.uint8), 3, self.stack, priority_alpha)


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Draw a history."""
    lanes = draw(st.integers(1, 4))
    maxlen = draw(st.integers(lanes, 6 * lanes))  # so 30 steps go round the ring three times or more
    n_steps = draw(st.integers(1, 30))
    step = st.lists(st.sampled_from("----TXB"), min_size=lanes, max_size=lanes)
    ends = draw(st.lists(step, min_size=n_steps, max_size=n_steps))
    return History(lanes, maxlen, ends, draw(st.integers(0, 9999)), draw(st.integers(1, 4)))


def live(history: History, with_masks: bool = True) -> Iterator[tuple[ReplayMemory, deque[Transition]]]:
    """Feed a memory and its twin the same steps, and give both after each. Every frame has its own number.

    Args:
        history: the steps.
        with_masks: whether the memory is given the masks of the observations themselves, or has to remember them as
            those of the step before. Then all actions are legal at an episode's start.
    """
    lanes, stack = history.lanes, history.stack
    memory = history.memory()
    twin: deque[Transition] = deque(maxlen=memory.maxlen)
    generator = np.random.default_rng(history.seed)
    numbers = itertools.count()

    def frame() -> np.ndarray:
        number = next(numbers)
        return np.array([number, 255 - number], np.uint8)

    def observed(frames: list[deque[np.ndarray]]) -> np.ndarray:
        return np.array([np.array(seen) if stack > 1 else seen[0] for seen in frames])

    def first_frames() -> deque[np.ndarray]:
        return deque([frame()] * stack, maxlen=stack)

    def first_masks() -> np.ndarray:
        return generator.integers(2, size=(lanes, 3)).astype(bool) if with_masks else np.ones((lanes, 3), bool)

    frames, masks = [first_frames() for _ in range(lanes)], first_masks()
    for step in history.ends:
        observations = observed(frames)
        actions, rewards = generator.integers(3, size=lanes), generator.normal(size=lanes).astype(np.float32)
        terminated, truncated = np.isin(step, ["T", "B"]), np.isin(step, ["X", "B"])
        next_masks = generator.integers(2, size=(lanes, 3)).astype(bool)
        for seen in frames:
            seen.append(frame())
        given = [observations, actions, rewards, terminated, truncated, observed(frames), next_masks, masks]
        # Of an episode that ends in both ways the memory keeps that it terminated, which is all that targets need.
        kept = [array.copy() for array in given]
        kept[4] &= ~terminated
        twin.extend(Transition(*[array[lane] for array in kept]) for lane in range(lanes))
        append(memory, *given[: None if with_masks else -1])
        for array in given:
            array[...] = 0  # the environment may use its arrays again
        frames = [seen if end == "-" else first_frames() for seen, end in zip(frames, step, strict=True)]
        masks = np.where((np.array(step) == "-")[:, None], kept[6], first_masks())
        yield memory, twin


def lived(history: History) -> tuple[ReplayMemory, deque[Transition]]:
    """Return a memory and its twin at the end of a history."""
    return list(live(history))[-1]


def name_of(observation: np.ndarray) -> tuple[int, ...]:
    """Return an observation's numbers, which no other one has."""
    return tuple(observation.ravel().tolist())


def assert_same(transition: Transition, expected: Transition) -> None:
    """Compare two transitions, dtypes included."""
    assert transition.observation.tolist() == expected.observation.tolist()
    assert transition.next_observation.tolist() == expected.next_observation.tolist()
    assert transition.observation.dtype == transition.next_observation.dtype == expected.observation.dtype
    assert transition[1:5] == expected[1:5]
    assert transition.next_mask.tolist() == expected.next_mask.tolist()
    assert transition.mask.tolist() == expected.mask.tolist()


def assert_holds(memory: ReplayMemory, expected: Sequence[Transition]) -> None:
    """Compare all that a memory holds, and check that reading it gives copies."""
    assert len(memory) == len(expected)
    for transition, held in zip(transitions(memory), expected, strict=True):
        assert_same(transition, held)
        transition.observation[...] = transition.next_observation[...] = 0
        transition.next_mask[...] = transition.mask[...] = 0
    for transition, held in zip(transitions(memory), expected, strict=True):
        assert_same(transition, held)


def assert_batches_equal(batch: Batch, expected: Batch) -> None:
    """Compare two batches, dtypes included."""
    for array, expected_array in zip(batch, expected, strict=True):
        np.testing.assert_array_equal(array, expected_array, strict=True)
