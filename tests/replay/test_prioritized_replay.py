"""The prioritized replay memory: its sum tree against a list, its draws against numbers worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_replay_memory import History, assert_batches_equal, histories, live, lived, name_of, thorough

from replay.samplers import PrioritizedReplayMemory, SumTree


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
            assert twin[found] > 0  # what has no chance is never drawn
            slack = 1e-9 * running[-1]
            assert (running[found - 1] if found else 0) - slack <= wanted <= running[found] + slack


def test_sum_tree_by_hand() -> None:
    tree = SumTree(3)
    tree[np.array([0, 1, 2])] = [1, 0, 2]
    # The first index up to which the sum is more than 0, 0.9, 1 and 2.9: sums are 1, 1, 3.
    assert tree.find(np.array([0, 0.9, 1, 2.9])).tolist() == [0, 0, 2, 2]
    tree[np.array([0, 0])] = [5, 4]  # the last one stays
    assert tree.total == 6


def test_prioritized_chances_by_hand() -> None:
    # Four transitions, alpha 0.5 and errors 4, -9, 0, 1 (EPSILON is 0.001): priorities sqrt(4.001) = 2.000250,
    # sqrt(9.001) = 3.000167, sqrt(0.001) = 0.031623, sqrt(1.001) = 1.000500, which sum to 6.032539.
    memory = PrioritizedReplayMemory(4, 2, np.zeros((), np.int64), 1, alpha=0.5)
    no = np.zeros(2, bool)
    for first in (10, 20):
        memory.append([first, first + 1], [0, 0], [0, 0], no, no, [first + 10, first + 11])
    memory.set_priorities(np.arange(4), np.array([4.0, -9.0, 0.0, 1.0]))
    batch = memory.sample(40_000, 1, 0.9, np.random.default_rng(0))
    expected = dict(zip([10, 11, 20, 21], np.array([2.000250, 3.000167, 0.031623, 1.000500]) / 6.032539, strict=True))
    np.testing.assert_allclose(batch.chances, [expected[o] for o in batch.observations.tolist()], rtol=1e-5)
    for observation, chance in expected.items():  # drawn from equal shares, the counts are off by two at most
        assert (batch.observations == observation).sum() == pytest.approx(40_000 * chance, abs=2)


@thorough
@given(histories(), st.integers(0, 9999))
def test_prioritized_memory_draws_only_what_it_holds(history: History, seed: int) -> None:
    """New transitions have the largest priority, those that fell off have none; what is drawn is right, and a restored
    memory draws the same."""
    lanes = history.lanes
    uniform, twin = lived(history)
    memory = history.memory(PrioritizedReplayMemory)
    assert isinstance(memory, PrioritizedReplayMemory)
    generator = np.random.default_rng(seed)
    errors: dict[int, float] = {}
    for _, held in live(history):
        memory.append(*[np.array(column) for column in zip(*list(held)[-lanes:], strict=True)])
        newest = (memory._steps - 1) % memory._rows * lanes + np.arange(lanes)
        errors.update(dict.fromkeys(newest.tolist(), memory._largest))
        slots = memory.sample(5, 1, 0.9, generator).slots
        td_errors = generator.normal(size=5) * 3
        memory.set_priorities(slots, td_errors)
        errors.update(zip(slots.tolist(), (np.abs(td_errors) + 0.001) ** 0.6, strict=True))
    drawn = memory.sample(200, 3, 0.9, generator)
    held_observations = {name_of(held.observation): index for index, held in enumerate(twin)}
    indices = [held_observations[name_of(observation)] for observation in drawn.observations]  # all are held
    first = memory._steps - len(twin) // lanes
    rows = (first + np.array(indices) // lanes) % memory._rows
    np.testing.assert_array_equal(drawn.slots, rows * lanes + np.array(indices) % lanes)
    held_slots = ((first + np.arange(len(twin)) // lanes) % memory._rows) * lanes + np.arange(len(twin)) % lanes
    total = sum(errors[slot] for slot in held_slots.tolist())
    np.testing.assert_allclose(drawn.chances, [errors[slot] / total for slot in drawn.slots.tolist()])
    np.testing.assert_array_equal(drawn.returns, uniform._gather(drawn.slots, drawn.chances, 3, 0.9).returns)
    restored = history.memory(PrioritizedReplayMemory)
    restored.set_state(memory.get_state(), [memory.get_steps()])
    again = [each.sample(20, 2, 0.9, np.random.default_rng(seed)) for each in (memory, restored)]
    assert_batches_equal(*again)
