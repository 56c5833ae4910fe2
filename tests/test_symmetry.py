"""Q-values as the mean over the views of an environment that has symmetries."""

import gymnasium as gym
import numpy as np
import pytest

import symmetry
from agent import DQNAgent
from blob_env import BlobRules
from config import Config
from symmetry import Symmetry, mean_over_views

SAME = Symmetry(lambda observations: observations, np.array([0, 1]))
SWAP = Symmetry(lambda observations: observations[:, ::-1], np.array([1, 0]))


def test_mean_by_hand() -> None:
    # Q(s) = (s_0, 10): (1, 10) at (1, 2). Seen swapped, (2, 1) has the values (2, 10) of the actions 1 and 0, so
    # (10, 2) of 0 and 1: the mean is (5.5, 6).
    q_values = mean_over_views(lambda seen: np.stack([seen[:, 0], np.full(len(seen), 10.0)], axis=1), [SAME, SWAP])
    np.testing.assert_array_equal(q_values(np.array([[1.0, 2.0]])), [[5.5, 6.0]])


def test_without_symmetries_nothing_changes() -> None:
    def q_values(observations: np.ndarray) -> np.ndarray:
        return observations

    assert mean_over_views(q_values, []) is q_values


@pytest.mark.parametrize("n", [1, 4, 5, 9])
def test_parts_of_a_batch_are_put_together(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symmetry, "AT_A_TIME", 4)
    most = []

    def q_values(observations: np.ndarray) -> np.ndarray:
        most.append(len(observations))
        return observations

    observations = np.arange(2.0 * n).reshape(n, 2)
    np.testing.assert_array_equal(mean_over_views(q_values, [SAME, SWAP])(observations), observations)
    assert max(most) <= 4 * 2


def test_the_agent_plays_alike_in_all_views() -> None:
    """An untrained network's own values differ from view to view; those that the agent acts by do not."""
    rules = BlobRules(size=5)
    views = rules.symmetries()
    agent = DQNAgent(rules.observation_space(), gym.spaces.Discrete(9), Config(seed=1, memory_size=2000), views)
    boards = rules.observe(rules.start_positions(np.random.default_rng(0).integers(rules.n_starts, size=50)))
    values = agent.q_values(boards)
    for view in views:
        np.testing.assert_allclose(agent.q_values(view.observations(boards))[:, view.actions], values, atol=1e-4)
    turned = agent.online(views[3].observations(boards)).numpy()[:, views[3].actions]
    assert np.abs(turned - agent.online(boards).numpy()).max() > 0.01
