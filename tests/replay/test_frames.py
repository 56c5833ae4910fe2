"""Frames: n-step transitions by hand, each frame stored once, stacks and dicts of arrays."""

from typing import Any

import numpy as np
import optree
import pytest
from conftest import append, transitions
from histories import History, live

from config import Config
from environments.lanes import Step, make_lanes
from replay_memory import ReplayMemory


@pytest.mark.parametrize(
    ("end", "returns", "discounts", "next_observations"),
    [
        # From step 0: 1 + 0.5 * 2 + 0.25 * 4 = 3 and discount 0.5^3. Steps 1 and 2 are cut at the memory's newest end:
        # 2 + 0.5 * 4 = 4 with 0.5^2, and 4 with 0.5.
        ("-", [3, 4, 4], [0.125, 0.25, 0.5], [13, 13, 13]),
        # Step 1 ends the episode: 1 + 0.5 * 2 = 2 from step 0, 2 from step 1. If it terminated, nothing is earned
        # afterwards. If it was truncated, its last observation (12, not the reset's 22) keeps its value, two steps and
        # one step later.
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
        append(
            memory,
            np.array([observation]),
            np.array([step]),
            np.array([reward]),
            terminated,
            truncated,
            next_observation,
        )
    batch = memory.frames.n_step(np.arange(3), 3, 0.5)
    assert batch.returns.tolist() == returns
    assert batch.discounts.tolist() == discounts
    assert batch.next_observations.tolist() == next_observations
    assert batch.actions.tolist() == [0, 1, 2]


def test_a_truncated_lane_starts_a_new_episode() -> None:
    """Only lane 1 is truncated, after its second step. A second call changes nothing."""
    memory = ReplayMemory(10, 2, np.zeros((), np.int64), 3)
    no = np.zeros(2, bool)
    append(memory, [10, 20], [0, 0], [1, 1], no, no, [11, 21], [[True, False, True]] * 2)
    append(memory, [11, 21], [0, 0], [2, 2], no, no, [12, 22], [[False, True, True]] * 2)
    for _ in range(2):
        memory.truncate_lane(1)
    append(memory, [12, 70], [0, 0], [4, 4], no, no, [13, 71])
    batch = memory.frames.n_step(np.arange(2), 3, 0.5)
    assert batch.returns.tolist() == [1 + 0.5 * 2 + 0.25 * 4, 1 + 0.5 * 2]
    assert batch.discounts.tolist() == [0.125, 0.25]
    assert batch.next_observations.tolist() == [13, 22]
    assert batch.next_masks.tolist() == [[True, True, True], [False, True, True]]
    assert [one.truncated for one in transitions(memory)] == [False, False, False, True, False, False]
    assert transitions(memory)[5].mask.tolist() == [True, True, True]


@pytest.mark.parametrize(("stack", "shape"), [(1, (100, 3)), (4, (4, 100, 3))])
def test_every_frame_is_stored_once(stack: int, shape: tuple[int, ...]) -> None:
    memory = ReplayMemory(1000, 4, np.zeros(shape, np.uint8), 9, stack)
    arrays = memory.frames._arrays()
    # 300 bytes for a frame, and 4 + 4 + 1 + 1 + 9 for a transition's action, reward, two flags and mask of 9 actions.
    assert arrays["observations_0"].nbytes == (1000 // 4 + stack) * 4 * 300
    assert memory.nbytes == (1000 // 4 + stack) * 4 * (300 + 19)


def test_last_observations_do_not_pile_up() -> None:
    for _, (memory, twin) in zip(range(60), live(History(2, 6, [["T", "X"]] * 60, 0)), strict=True):
        assert len(memory.frames._last) == len(twin) <= 6


def test_dicts_and_tuples_are_held_leaf_by_leaf() -> None:
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
            append(held, part(observations), [0, 1], [2, 3], ends, [False, False], part(next_observations))
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


def test_stacked_frames_are_those_of_the_wrapper() -> None:
    config = Config.from_preset(
        env="Blob-v0", env_args={"size": 4, "food_moves": True}, frame_stack=3, max_episode_steps=9
    )
    lanes = 3
    envs = make_lanes(config, lanes)
    assert envs.symmetries == ()
    memory = ReplayMemory(90, lanes, np.zeros((3, 4, 4, 3), np.uint8), 9, 3)
    generator = np.random.default_rng(0)
    observations, _ = envs.reset(seed=0)
    expected: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(100):
        step = envs.step(actions := generator.integers(9, size=3))
        append(memory, observations, actions, step.rewards, step.terminated, step.truncated, step.successors)
        expected += [(observations[i].copy(), step.successors[i].copy()) for i in range(lanes)]
        observations = step.next_observations
    assert memory.frames._arrays()["observations_0"].shape[2:] == (4, 4, 3)  # one frame for each step
    assert len(memory) == 90
    for held, (observation, next_observation) in zip(transitions(memory), expected[-90:], strict=True):
        np.testing.assert_array_equal(held.observation, observation, strict=True)
        np.testing.assert_array_equal(held.next_observation, next_observation, strict=True)


def test_a_jump_counts_as_truncated() -> None:
    """Lane 1 goes on from 22, but a loop that resets it without saying so gives 30: its step led to 22, not to 30."""
    memory = ReplayMemory(10, 2, np.zeros((), np.int64), 1)
    no = np.zeros(2, bool)
    jumps = [
        memory.append(np.array(now), [0, 0], Step([1, 1], no, no, np.array(after)))
        for now, after in ([[10, 20], [11, 21]], [[11, 21], [12, 22]], [[12, 30], [13, 31]])
    ]
    assert jumps == [0, 0, 1]
    batch = memory.frames.n_step(np.arange(6), 2, 0.5)  # 2-step returns of rewards 1, of which lane 1's second is cut
    assert batch.next_observations.tolist() == [12, 22, 13, 22, 13, 31]
    assert batch.returns.tolist() == [1.5, 1.5, 1.5, 1, 1, 1]
    assert batch.discounts.tolist() == [0.25, 0.25, 0.25, 0.5, 0.5, 0.5]


def test_an_end_that_is_told_is_no_jump() -> None:
    memory = ReplayMemory(10, 1, np.zeros((), np.int64), 1)
    no, yes = np.zeros(1, bool), np.ones(1, bool)
    memory.append(np.array([10]), [0], Step([1], no, yes, np.array([11])))
    assert memory.append(np.array([20]), [0], Step([1], no, no, np.array([21]))) == 0
