"""Samplers: the sum tree against a list, and draws against probabilities worked out by hand."""

import numpy as np
import pytest
from conftest import append
from histories import History, assert_batches_equal, histories, live, lived, name_of, thorough
from hypothesis import given
from hypothesis import strategies as st

from replay.samplers import Prioritized, SumTree, importance_weights
from replay_memory import ReplayMemory


@thorough
@given(st.data(), st.integers(1, 40))
def test_sum_tree_is_a_list_of_numbers(data: st.DataObject, n: int) -> None:
    tree, twin = SumTree(n), [0.0] * n
    index, number = st.integers(0, n - 1), st.sampled_from([0.0, 0.1, 0.25, 1.0, 3.0, 1e6])
    for _ in range(data.draw(st.integers(1, 10))):
        changes = data.draw(st.dictionaries(index, number, min_size=1))
        tree[np.array(list(changes))] = list(changes.values())
        for i, value in changes.items():
            twin[i] = value
        assert tree[np.arange(n)].tolist() == twin
        assert tree.total == pytest.approx(sum(twin))
    running = np.cumsum(twin)
    for share in [0.0, *data.draw(st.lists(st.floats(0, 1, exclude_max=True), max_size=10))]:
        if tree.total > 0:
            wanted = share * tree.total
            (found,) = tree.find(np.array([wanted]))
            assert twin[found] > 0  # an index of probability 0 is never found
            slack = 1e-9 * running[-1]
            assert (running[found - 1] if found else 0) - slack <= wanted <= running[found] + slack


def test_sum_tree_by_hand() -> None:
    tree = SumTree(3)
    tree[np.array([0, 1, 2])] = [1, 0, 2]
    # The first index up to which the numbers sum to more than 0, 0.9, 1 and 2.9; the sums are 1, 1 and 3.
    assert tree.find(np.array([0, 0.9, 1, 2.9])).tolist() == [0, 0, 2, 2]
    tree[np.array([0, 0])] = [5, 4]  # the last one stays
    assert tree.total == 6


def test_priorities_by_hand() -> None:
    # Four transitions, alpha 0.5 and errors 4, -9, 0, 1 (EPSILON is 0.001): priorities sqrt(4.001) = 2.000250,
    # sqrt(9.001) = 3.000167, sqrt(0.001) = 0.031623, sqrt(1.001) = 1.000500, which sum to 6.032539.
    memory = ReplayMemory(4, 2, np.zeros((), np.int64), 1, priority_alpha=0.5)
    no = np.zeros(2, bool)
    for first in (10, 20):
        append(memory, [first, first + 1], [0, 0], [0, 0], no, no, [first + 10, first + 11])
    memory.set_priorities(np.arange(4), np.array([4.0, -9.0, 0.0, 1.0]))
    batch = memory.sample(40_000, 1, 0.9, np.random.default_rng(0))
    expected = dict(zip([10, 11, 20, 21], np.array([2.000250, 3.000167, 0.031623, 1.000500]) / 6.032539, strict=True))
    # With beta 1 a weight is the smallest probability over a transition's own: 0.031623 / 2.000250 for the first.
    weights = [0.031623 / 6.032539 / expected[o] for o in batch.observations.tolist()]
    np.testing.assert_allclose(batch.weights, weights, rtol=1e-4)
    slots, probabilities = memory.sampler.draw(memory.frames, 1000, np.random.default_rng(0))
    np.testing.assert_allclose(probabilities, np.array(list(expected.values()))[slots], rtol=1e-5)
    for observation, probability in expected.items():  # drawn from equal shares, the counts are off by two at most
        assert (batch.observations == observation).sum() == pytest.approx(40_000 * probability, abs=2)


@thorough
@given(histories(), st.integers(0, 9999))
def test_prioritized_memory_draws_only_what_it_holds(history: History, seed: int) -> None:
    """New transitions have the largest priority, and those that fell off none. A restored memory draws the same."""
    lanes = history.lanes
    uniform, twin = lived(history)
    memory = history.memory(priority_alpha=0.6)
    sampler, frames = memory.sampler, memory.frames
    assert isinstance(sampler, Prioritized)
    generator = np.random.default_rng(seed)
    errors: dict[int, float] = {}
    for _, held in live(history):
        append(memory, *[np.array(column) for column in zip(*list(held)[-lanes:], strict=True)])
        newest = frames.slots(np.arange(len(memory) - lanes, len(memory)))
        errors.update(dict.fromkeys(newest.tolist(), sampler._largest))
        slots = memory.sample(5, 1, 0.9, generator).slots
        td_errors = generator.normal(size=5) * 3
        memory.set_priorities(slots, td_errors)
        errors.update(zip(slots.tolist(), (np.abs(td_errors) + 0.001) ** 0.6, strict=True))
    drawn = memory.sample(200, 3, 0.9, generator)
    held_observations = {name_of(held.observation): index for index, held in enumerate(twin)}
    indices = [held_observations[name_of(observation)] for observation in drawn.observations]  # all are held
    np.testing.assert_array_equal(drawn.slots, frames.slots(np.array(indices)))
    held_slots = frames.slots(np.arange(len(twin)))
    total = sum(errors[slot] for slot in held_slots.tolist())
    probabilities = np.array([errors[slot] / total for slot in drawn.slots.tolist()])
    np.testing.assert_allclose(drawn.weights, importance_weights(probabilities, 1.0), rtol=1e-6)
    slots, found = sampler.draw(frames, 50, generator)
    np.testing.assert_allclose(found, [errors[slot] / total for slot in slots.tolist()])
    np.testing.assert_array_equal(drawn.returns, uniform.frames.n_step(drawn.slots, 3, 0.9).returns)
    restored = history.memory(priority_alpha=0.6)
    restored.set_state(memory.get_state(), [memory.get_steps()])
    again = [each.sample(20, 2, 0.9, np.random.default_rng(seed)) for each in (memory, restored)]
    assert_batches_equal(*again)


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


def test_importance_weights_by_hand() -> None:
    # Drawn with probabilities 0.4, 0.1 and 0.1: (N P) ** -beta over the largest of them is (P / P_min) ** -beta, so
    # 4 ** -0.7 = 0.378929 with beta 0.7, and 0.25 with beta 1.
    probabilities = np.array([0.4, 0.1, 0.1])
    for beta, expected in ((0.0, 1.0), (0.7, 0.378929), (1.0, 0.25)):
        weights = importance_weights(probabilities, beta)
        assert weights == pytest.approx([expected, 1, 1], rel=1e-5)
        assert weights.dtype == np.float32
