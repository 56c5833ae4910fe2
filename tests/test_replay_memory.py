"""The replay memories against naive twins: a `collections.deque` of transitions, walked step by step, and a list."""

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import numpy as np
import optree
import pytest
from conftest import Transition, transitions
from hypothesis import given, settings
from hypothesis import strategies as st

from config import Config
from environments.lanes import make_lanes
from replay.frames import Frames
from replay_memory import Batch, ReplayMemory

# The same examples every time: what fails on one machine fails on all.
thorough = settings(max_examples=80, deadline=None, derandomize=True)


class History(NamedTuple):
    """What the lanes live through: how each vector step ends in each lane ("-" goes on, "T" terminated, "X" truncated,
    "B" both), a seed for actions, rewards and masks, and how many frames an observation stacks."""

    lanes: int
    maxlen: int
    ends: list[list[str]]
    seed: int
    stack: int = 1

    def memory(self, priority_alpha: float | None = None) -> ReplayMemory:
        shape = (self.stack, 2) if self.stack > 1 else (2,)
        return ReplayMemory(self.maxlen, self.lanes, np.zeros(shape, np.uint8), 3, self.stack, priority_alpha)


@st.composite
def histories(draw: st.DrawFn) -> History:
    lanes = draw(st.integers(1, 4))
    maxlen = draw(st.integers(lanes, 6 * lanes))  # so 30 steps go round the ring three times or more
    n_steps = draw(st.integers(1, 30))
    step = st.lists(st.sampled_from("----TXB"), min_size=lanes, max_size=lanes)
    ends = draw(st.lists(step, min_size=n_steps, max_size=n_steps))
    return History(lanes, maxlen, ends, draw(st.integers(0, 9999)), draw(st.integers(1, 4)))


def live(history: History) -> Iterator[tuple[ReplayMemory, deque[Transition]]]:
    """Feed a memory and its twin the same steps, and give both after each. Every frame has its own number."""
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

    frames = [first_frames() for _ in range(lanes)]
    for step in history.ends:
        observations = observed(frames)
        actions, rewards = generator.integers(3, size=lanes), generator.normal(size=lanes).astype(np.float32)
        terminated, truncated = np.isin(step, ["T", "B"]), np.isin(step, ["X", "B"])
        masks = generator.integers(2, size=(lanes, 3)).astype(bool)
        for seen in frames:
            seen.append(frame())
        # Of an episode that ends in both ways the memory keeps that it terminated, which is all that targets need.
        kept = [observations, actions, rewards, terminated, truncated & ~terminated, observed(frames), masks]
        twin.extend(Transition(*[array[lane].copy() for array in kept]) for lane in range(lanes))
        lent = [observations, actions, rewards, terminated, truncated, observed(frames), masks]
        memory.append(*lent)
        for array in lent:
            array[...] = 0  # the environment may use its arrays again
        frames = [seen if end == "-" else first_frames() for seen, end in zip(frames, step, strict=True)]
        yield memory, twin


def name_of(observation: np.ndarray) -> tuple[int, ...]:
    return tuple(observation.ravel().tolist())


def lived(history: History) -> tuple[ReplayMemory, deque[Transition]]:
    return list(live(history))[-1]


def assert_same(transition: Transition, expected: Transition) -> None:
    assert transition.observation.tolist() == expected.observation.tolist()
    assert transition.next_observation.tolist() == expected.next_observation.tolist()
    assert transition.observation.dtype == transition.next_observation.dtype == expected.observation.dtype
    assert transition[1:5] == expected[1:5]
    assert transition.next_mask.tolist() == expected.next_mask.tolist()


def assert_holds(memory: ReplayMemory, expected: Sequence[Transition]) -> None:
    assert len(memory) == len(expected)
    for transition, held in zip(transitions(memory), expected, strict=True):
        assert_same(transition, held)
        # Copies: this leaves the memory as it is.
        transition.observation[...] = transition.next_observation[...] = transition.next_mask[...] = 0
    for transition, held in zip(transitions(memory), expected, strict=True):
        assert_same(transition, held)


def assert_batches_equal(batch: Batch, expected: Batch) -> None:
    for array, expected_array in zip(batch, expected, strict=True):
        np.testing.assert_array_equal(array, expected_array, strict=True)


@thorough
@given(histories())
def test_is_a_deque_of_transitions(history: History) -> None:
    for memory, twin in live(history):
        assert_holds(memory, twin)
        # A final observation goes when its transition does.
        assert len(memory.frames._last_observations) == sum(held.terminated or held.truncated for held in twin)


def n_step(lane: list[Transition], n: int, discount: float) -> tuple[float, float, np.ndarray, np.ndarray]:
    """Of the first of these consecutive transitions, by walking them: return, discount, next observation and mask."""
    total, power = 0.0, 1.0
    for transition in lane[:n]:
        total += power * transition.reward
        power *= discount
        if transition.terminated:
            return total, 0.0, transition.next_observation, transition.next_mask
        if transition.truncated:
            break
    return total, power, transition.next_observation, transition.next_mask


@thorough
@given(histories(), st.integers(1, 5), st.floats(0, 1))
def test_samples_are_what_walking_the_episodes_gives(history: History, n: int, discount: float) -> None:
    lanes, seed = history.lanes, history.seed
    memory, twin = lived(history)
    expected = {}
    for index, held in enumerate(twin):
        following = list(twin)[index::lanes]  # the same lane's
        expected[name_of(held.observation)] = (held.action, *n_step(following, n, discount))
    sampled = memory.sample(50, n, discount, np.random.default_rng(seed))
    slots = memory.frames.slots(np.arange(len(twin)))
    everything = Batch(*memory.frames.n_step(slots, n, discount), np.ones(len(slots)), slots)
    assert [name_of(observation) for observation in everything.observations] == list(expected)
    for batch in (sampled, everything):
        rows = [expected[name_of(observation)] for observation in batch.observations]  # which one it is, it says
        actions, returns, discounts, next_observations, next_masks = zip(*rows, strict=True)
        np.testing.assert_array_equal(batch.actions, np.array(actions, np.int32), strict=True)
        np.testing.assert_allclose(batch.returns, np.array(returns, np.float32), rtol=1e-5, atol=1e-5, strict=True)
        np.testing.assert_allclose(batch.discounts, np.array(discounts, np.float32), rtol=1e-5, atol=1e-9, strict=True)
        np.testing.assert_array_equal(batch.next_observations, np.array(next_observations), strict=True)
        np.testing.assert_array_equal(batch.next_masks, np.array(next_masks), strict=True)
        assert batch.observations.dtype == np.uint8


@pytest.mark.parametrize(
    ("end", "returns", "discounts", "next_observations"),
    [
        # From step 0: 1 + 0.5 * 2 + 0.25 * 4 = 3 and discount 0.5^3. Steps 1 and 2 are cut at the memory's newest end:
        # 2 + 0.5 * 4 = 4 with 0.5^2, and 4 with 0.5.
        ("-", [3, 4, 4], [0.125, 0.25, 0.5], [13, 13, 13]),
        # Step 1 ends the episode: 1 + 0.5 * 2 = 2 from step 0, 2 from step 1. Terminated, nothing is worth anything
        # after it; truncated, its final observation (12, not the reset's 22) is, two steps and one step later.
        ("T", [2, 2, 4], [0, 0, 0.5], [12, 12, 13]),
        ("X", [2, 2, 4], [0.25, 0.5, 0.5], [12, 12, 13]),
        ("B", [2, 2, 4], [0, 0, 0.5], [12, 12, 13]),
    ],
)
def test_three_steps_by_hand(
    end: str, returns: list[float], discounts: list[float], next_observations: list[int]
) -> None:
    memory = ReplayMemory(5, 1, np.zeros((), np.int64), 4)
    for step, (reward, ends) in enumerate(zip([1.0, 2.0, 4.0], ["-", end, "-"], strict=True)):
        observation = 22 if step == 2 and end != "-" else 10 + step
        terminated, truncated = np.array([ends in "TB"]), np.array([ends in "XB"])
        next_observation = np.array([11 + step])
        memory.append(
            np.array([observation]), np.array([step]), np.array([reward]), terminated, truncated, next_observation
        )
    batch = Batch(*memory.frames.n_step(np.arange(3), 3, 0.5), np.ones(3), np.arange(3))
    assert batch.returns.tolist() == returns
    assert batch.discounts.tolist() == discounts
    assert batch.next_observations.tolist() == next_observations
    assert batch.actions.tolist() == [0, 1, 2]


def test_sampling_is_uniform_over_what_is_held_and_reproducible() -> None:
    memory, twin = lived(History(2, 20, [["-", "-"]] * 17, 0))  # 34 transitions, of which the last 20 are held
    batch = memory.sample(40_000, 3, 0.9, np.random.default_rng(0))
    numbers, counts = np.unique(batch.observations[:, 0], return_counts=True)
    assert set(numbers) == {held.observation[0] for held in twin}
    # Chi-square of 20 outcomes, expected 2,000 times each: 51 is its 99.99th percentile for 19 degrees of freedom.
    assert ((counts - 2000) ** 2 / 2000).sum() < 51
    assert_batches_equal(batch, memory.sample(40_000, 3, 0.9, np.random.default_rng(0)))
    other = memory.sample(40_000, 3, 0.9, np.random.default_rng(1))
    assert (batch.observations != other.observations).any()


def test_empty_memory_has_nothing_to_give() -> None:
    memory = ReplayMemory(4, 2, np.zeros(2, np.uint8), 3)
    assert len(memory) == 0
    with pytest.raises(ValueError, match="empty"):
        memory.sample(1, 1, 0.9, np.random.default_rng(0))


def test_maxlen_is_rounded_down_to_whole_vector_steps() -> None:
    assert [ReplayMemory(maxlen, 4, np.zeros(()), 3).maxlen for maxlen in (4, 7, 8, 11)] == [4, 4, 8, 8]
    for maxlen, lanes in ((3, 4), (0, 1), (5, 0)):
        with pytest.raises(ValueError, match=f"memory of {maxlen} transitions cannot hold a step of {lanes} lanes"):
            ReplayMemory(maxlen, lanes, np.zeros(()), 3)


@pytest.mark.parametrize(("stack", "shape"), [(1, (10, 10, 3)), (4, (4, 10, 10, 3))])
def test_every_frame_is_stored_once(stack: int, shape: tuple[int, ...]) -> None:
    memory = ReplayMemory(1000, 4, np.zeros(shape, np.uint8), 9, stack)
    arrays = memory.frames._arrays()
    # 300 bytes a frame, and for action, reward, two flags and the mask of 9 actions 4 + 4 + 1 + 1 + 9 a transition.
    assert arrays["observations_0"].nbytes == (1000 // 4 + stack) * 4 * 300
    assert memory.nbytes == (1000 // 4 + stack) * 4 * (300 + 19)


def test_a_million_stacked_screens_take_at_most_seven_and_a_half_gigabytes() -> None:
    # The arrays are allocated but not touched, so this takes no memory.
    for maxlen, limit in ((1_000_000, 7.5e9), (100_000, 0.75e9)):
        memory = ReplayMemory(maxlen, 8, np.zeros((4, 84, 84), np.uint8), 18, 4, 0.6)
        needed = memory.nbytes
        assert needed <= limit
        assert needed <= 1.001 * Frames.bytes_needed(maxlen, np.zeros((4, 84, 84), np.uint8), 18, 4) <= limit


def test_observations_of_dicts_and_tuples_are_held_leaf_by_leaf() -> None:
    example: Any = {"image": np.zeros((2, 2), np.uint8), "rest": (np.zeros(3, np.float32), np.zeros((), np.int32))}
    memory = ReplayMemory(10, 2, example, 1)
    leaves = [ReplayMemory(10, 2, leaf, 1) for leaf in optree.tree_leaves(example)]
    generator = np.random.default_rng(0)

    def draw(*_: Any) -> Any:
        return optree.tree_map(lambda array: generator.integers(9, size=(2, *array.shape)).astype(array.dtype), example)

    observations = draw()
    for step in range(8):
        ends = np.array([step == 6, step in (3, 5)])
        next_observations, resets = draw(), draw()
        for held, part in ((memory, lambda tree: tree), *zip(leaves, PARTS, strict=True)):
            held.append(part(observations), [0, 1], [2, 3], ends, [False, False], part(next_observations))
        for i, lane_ends in enumerate(ends):  # the reset's observation follows an episode's end
            if lane_ends:
                optree.tree_map_(
                    lambda following, reset, i=i: following.__setitem__(i, reset[i]), next_observations, resets
                )
        observations = next_observations
    restored = ReplayMemory(10, 2, example, 1)
    restored.set_state(memory.get_state(), [memory.get_steps()])
    for whole in (memory, restored):
        batch, *parts = [each.sample(30, 3, 0.9, np.random.default_rng(0)) for each in (whole, *leaves)]
        for expected, part in zip(parts, PARTS, strict=True):
            np.testing.assert_array_equal(part(batch.observations), expected.observations, strict=True)
            np.testing.assert_array_equal(part(batch.next_observations), expected.next_observations, strict=True)
            np.testing.assert_array_equal(
                part(transitions(whole)[3].next_observation),
                transitions(leaves[PARTS.index(part)])[3].next_observation,
            )


# The leaves of the test above, in the order of optree.
PARTS = [lambda tree: tree["image"], lambda tree: tree["rest"][0], lambda tree: tree["rest"][1]]


def test_final_observations_do_not_pile_up() -> None:
    for _, (memory, twin) in zip(range(60), live(History(2, 6, [["T", "X"]] * 60, 0)), strict=True):
        assert len(memory.frames._last_observations) == len(twin) <= 6


@thorough
@given(histories(), st.integers(0, 9999))
def test_restored_memory_holds_the_same_and_goes_on_the_same(history: History, seed: int) -> None:
    lanes = history.lanes
    middle = len(history.ends) // 2
    held: list[Transition] = []
    segments: list[dict[str, np.ndarray]] = []
    later: list[list[np.ndarray]] = []
    for step, (memory, twin) in enumerate(live(history)):
        if step in (middle // 2, middle):  # what is written down twice is read in the order of time
            segments.append(memory.get_steps(segments[-1]["steps"][-1] if segments else 0))
        if step == middle:
            state, held = memory.get_state(), list(twin)
        elif step > middle:  # the memory goes on, which must leave the state as it was
            later.append([np.array(column) for column in zip(*list(twin)[-lanes:], strict=True)])
    # Restored over another life, whose final observations must be forgotten.
    restored, _ = lived(history._replace(ends=[["T"] * lanes] * 9, seed=seed))
    restored.set_state(state, segments)
    assert_holds(restored, held)
    for vector_step in later:
        restored.append(*vector_step)
    assert_holds(restored, twin)
    assert len(restored.frames._last_observations) == len(memory.frames._last_observations)
    assert_batches_equal(*[each.sample(20, 3, 0.9, np.random.default_rng(seed)) for each in (restored, memory)])


@pytest.mark.parametrize(
    ("maxlen", "lanes", "shape", "n_actions"),
    [(8, 4, (3,), 5), (8, 2, (2,), 5), (8, 2, (3, 1), 5), (8, 2, (3,), 4)],
)
def test_state_of_another_size_is_refused(maxlen: int, lanes: int, shape: tuple[int, ...], n_actions: int) -> None:
    memory = ReplayMemory(8, 2, np.zeros(3), 5)
    memory.append(np.zeros((2, 3)), [0, 1], [0, 0], [False] * 2, [False] * 2, np.zeros((2, 3)))
    state, steps = memory.get_state(), memory.get_steps()
    ReplayMemory(9, 2, np.zeros(3), 5).set_state(state, [steps])  # 9 are 8 in steps of 2 lanes
    with pytest.raises(ValueError, match="in the state"):
        ReplayMemory(maxlen, lanes, np.zeros(shape), n_actions).set_state(state, [steps])


def test_holds_the_true_final_observations_of_cartpole() -> None:
    # A limit of 20 steps, so that both kinds of end are common: random play lasts 22 steps on average.
    lanes, steps = 8, 200
    actions = np.random.default_rng(0).integers(2, size=(steps, lanes))
    memory = ReplayMemory(lanes * steps, lanes, np.zeros(4, np.float32), 2)
    vector = make_lanes(Config(env="CartPole-v1", max_episode_steps=20), lanes)
    observations, _ = vector.reset(seed=3)
    for row in actions:
        step = vector.step(row)
        memory.append(observations, row, step.rewards, step.terminated, step.truncated, step.successors)
        observations = step.next_observations
    everything = transitions(memory)
    ends = []
    for lane in range(lanes):
        single: Any = gym.make("CartPole-v1", max_episode_steps=20)
        observation, _ = single.reset(seed=3 + lane)
        for number in range(steps):
            held, action = everything[number * lanes + lane], int(actions[number, lane])
            next_observation, reward, fell, timed_out, _ = single.step(action)
            transition = observation, action, reward, fell, timed_out and not fell, next_observation
            assert_same(held, Transition(*transition, np.ones(2, bool)))
            x, _, theta, _ = held.next_observation
            # CartPole's documented bounds; a new episode starts within 0.05 of the middle.
            assert fell == (abs(theta) > np.radians(12) or abs(x) > 2.4)
            if fell or timed_out:
                ends.append(fell)
                next_observation, _ = single.reset()
                assert (next_observation != held.next_observation).any()
            observation = next_observation
    assert ends.count(True) > 20 and ends.count(False) > 20
