"""The replay memory is a deque: against a `collections.deque` of transitions, walked step by step."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from conftest import Transition, append, transitions
from histories import (
    History,
    assert_batches_equal,
    assert_holds,
    assert_same,
    histories,
    live,
    lived,
    name_of,
    thorough,
)
from hypothesis import given
from hypothesis import strategies as st

from config import Config
from environments.lanes import make_lanes
from replay.frames import Frames
from replay_memory import ReplayMemory


@thorough
@given(histories(), st.booleans())
def test_is_a_deque_of_transitions(history: History, with_masks: bool) -> None:
    for memory, twin in live(history, with_masks):
        assert_holds(memory, twin)
        # An episode's last observation goes when its transition does.
        assert len(memory.frames._last) == sum(held.terminated or held.truncated for held in twin)


def n_step(lane: list[Transition], n: int, discount: float) -> tuple[float, float, np.ndarray, np.ndarray]:
    """Walk consecutive transitions. Returns the first one's return, discount, next observation and next mask."""
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
        expected[name_of(held.observation)] = (held.mask, held.action, *n_step(following, n, discount))
    sampled = memory.sample(50, n, discount, np.random.default_rng(seed))
    slots = memory.frames.slots(np.arange(len(twin)))
    everything = memory.frames.n_step(slots, n, discount)
    assert [name_of(observation) for observation in everything.observations] == list(expected)
    for batch in (sampled, everything):
        rows = [expected[name_of(observation)] for observation in batch.observations]  # it tells which one it is
        masks, actions, returns, discounts, next_observations, next_masks = zip(*rows, strict=True)
        np.testing.assert_array_equal(batch.masks, np.array(masks), strict=True)
        np.testing.assert_array_equal(batch.actions, np.array(actions, np.int32), strict=True)
        np.testing.assert_allclose(batch.returns, np.array(returns, np.float32), rtol=1e-5, atol=1e-5, strict=True)
        np.testing.assert_allclose(batch.discounts, np.array(discounts, np.float32), rtol=1e-5, atol=1e-9, strict=True)
        np.testing.assert_array_equal(batch.next_observations, np.array(next_observations), strict=True)
        np.testing.assert_array_equal(batch.next_masks, np.array(next_masks), strict=True)
        assert batch.observations.dtype == np.uint8


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


def test_a_million_stacked_screens_take_at_most_seven_and_a_half_gigabytes() -> None:
    # The arrays are allocated but not touched, so this takes no memory.
    for maxlen, limit in ((1_000_000, 7.5e9), (100_000, 0.75e9)):
        memory = ReplayMemory(maxlen, 8, np.zeros((4, 84, 84), np.uint8), 18, 4, 0.6)
        needed = memory.nbytes
        assert needed <= limit
        assert needed <= 1.001 * Frames.bytes_needed(maxlen, np.zeros((4, 84, 84), np.uint8), 18, 4) <= limit


@thorough
@given(histories(), st.integers(0, 9999))
def test_restored_memory_holds_the_same_and_goes_on_the_same(history: History, seed: int) -> None:
    lanes = history.lanes
    middle = len(history.ends) // 2
    held: list[Transition] = []
    segments: list[dict[str, np.ndarray]] = []
    later: list[list[np.ndarray]] = []
    for step, (memory, twin) in enumerate(live(history)):
        if step in (middle // 2, middle):  # the later of two copies of a step counts
            segments.append(memory.get_steps(segments[-1]["steps"][-1] if segments else 0))
        if step == middle:
            state, held = memory.get_state(), list(twin)
        elif step > middle:  # the memory goes on, and the state must stay as it is
            later.append([np.array(column) for column in zip(*list(twin)[-lanes:], strict=True)])
    # Restored over another life, whose episodes' last observations must be forgotten.
    restored, _ = lived(history._replace(ends=[["T"] * lanes] * 9, seed=seed))
    restored.set_state(state, segments)
    assert_holds(restored, held)
    for vector_step in later:
        append(restored, *vector_step)
    assert_holds(restored, twin)
    assert len(restored.frames._last) == len(memory.frames._last)
    assert_batches_equal(*[each.sample(20, 3, 0.9, np.random.default_rng(seed)) for each in (restored, memory)])


@pytest.mark.parametrize(
    ("maxlen", "lanes", "shape", "n_actions"),
    [(8, 4, (3,), 5), (8, 2, (2,), 5), (8, 2, (3, 1), 5), (8, 2, (3,), 4)],
)
def test_state_of_another_size_is_refused(maxlen: int, lanes: int, shape: tuple[int, ...], n_actions: int) -> None:
    memory = ReplayMemory(8, 2, np.zeros(3), 5)
    append(memory, np.zeros((2, 3)), [0, 1], [0, 0], [False] * 2, [False] * 2, np.zeros((2, 3)))
    state, steps = memory.get_state(), memory.get_steps()
    ReplayMemory(9, 2, np.zeros(3), 5).set_state(state, [steps])  # 9 are 8 in steps of 2 lanes
    with pytest.raises(ValueError, match="in the state"):
        ReplayMemory(maxlen, lanes, np.zeros(shape), n_actions).set_state(state, [steps])


def test_holds_the_true_last_observations_of_cartpole() -> None:
    # A limit of 20 steps, so that both kinds of end are common: random play lasts 22 steps on average.
    lanes, steps = 8, 200
    actions = np.random.default_rng(0).integers(2, size=(steps, lanes))
    memory = ReplayMemory(lanes * steps, lanes, np.zeros(4, np.float32), 2)
    vector = make_lanes(Config(env="CartPole-v1", max_episode_steps=20), lanes)
    observations, _ = vector.reset(seed=3)
    for row in actions:
        step = vector.step(row)
        append(memory, observations, row, step.rewards, step.terminated, step.truncated, step.successors)
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
            assert_same(held, Transition(*transition, np.ones(2, bool), np.ones(2, bool)))
            x, _, theta, _ = held.next_observation
            # CartPole's documented bounds; a new episode starts within 0.05 of the middle.
            assert fell == (abs(theta) > np.radians(12) or abs(x) > 2.4)
            if fell or timed_out:
                ends.append(fell)
                next_observation, _ = single.reset()
                assert (next_observation != held.next_observation).any()
            observation = next_observation
    assert ends.count(True) > 20 and ends.count(False) > 20
