"""An environment may reuse its arrays in a user's own loop too."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from conftest import transitions
from gymnasium.spaces import Discrete, MultiDiscrete

from agent import DQNAgent
from config import Config
from environments.lanes import Step
from environments.reused import ActedOn
from q_table import QTableAgent


class Ring(gym.Env):
    """Five cells in a ring; an action goes on by one or by two cells, to cell 0 for a reward of 1. Cell 0 allows only
    one step. Observations and masks are one array each, written anew in every step, or fresh ones."""

    observation_space, action_space = MultiDiscrete([5]), Discrete(2)

    def __init__(self, reuses: bool) -> None:
        self._cell, self._mask, self._reuses = np.zeros(1, np.int64), np.ones(2, bool), reuses

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return self._move(0)

    def step(self, action: int) -> Any:
        cell = (self._cell[0] + 1 + action) % 5
        observation, info = self._move(cell)
        return observation, float(cell == 0), False, False, info

    def _move(self, cell: int) -> Any:
        self._cell[0], self._mask[1] = cell, cell > 0
        mask = self._mask if self._reuses else self._mask.copy()
        return self._cell if self._reuses else self._cell.copy(), {"action_mask": mask}


def after_a_loop(agent: Any, env: gym.Env) -> Any:
    """Let an agent act, remember and learn for 40 steps."""
    observation, info = env.reset()
    for _ in range(40):
        actions = agent.act(observation[None], info["action_mask"][None], epsilon=0.5)
        following, reward, terminated, truncated, next_info = env.step(actions[0])
        step = Step([reward], [terminated], [truncated], following[None], next_info["action_mask"][None])
        agent.remember(observation[None], actions, step)
        agent.learn()
        observation, info = following, next_info
    return agent


@pytest.mark.parametrize("method", ["q-learning", "sarsa"])
def test_a_table_learns_from_what_it_acted_on(method: str) -> None:
    config = Config(lanes=1, seed=3, method=method, learning_rate=0.5, symmetries=False)
    reused, fresh = (
        after_a_loop(QTableAgent(Ring.observation_space, Ring.action_space, config), Ring(reuses))
        for reuses in (True, False)
    )
    assert fresh.table.any()
    np.testing.assert_array_equal(reused.table, fresh.table)


def test_the_memory_holds_what_was_acted_on() -> None:
    config = Config(lanes=1, seed=3, memory_size=50, learn_start=50, symmetries=False)
    reused, fresh = (
        after_a_loop(DQNAgent(Ring.observation_space, Ring.action_space, config), Ring(reuses))
        for reuses in (True, False)
    )
    assert reused.episodes == 0  # nothing counts as a jump
    for one, other in zip(transitions(reused.memory), transitions(fresh.memory), strict=True):
        np.testing.assert_equal(tuple(one), tuple(other))


def test_other_arrays_are_taken_as_they_are() -> None:
    """Each part of an observation by itself: "a" was overwritten, "b" is a new array, and "c" of another shape."""
    arrays = {"a": np.array([[1]]), "b": np.array([[2]]), "c": np.array([[3]])}
    acted_on = ActedOn()
    acted_on.keep(arrays)
    arrays["a"][:], arrays["c"][:] = 7, 8
    now = {"a": arrays["a"], "b": np.array([[9]]), "c": arrays["c"][0]}
    restored = acted_on.restore(now)
    assert (restored["a"].tolist(), restored["b"].tolist(), restored["c"].tolist()) == ([[1]], [[9]], [8])
    assert acted_on.restore(now["a"]) is now["a"]  # another structure
