"""Q-values as the mean over the views of an environment that has symmetries."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import environments.symmetry as symmetry
from agent import DQNAgent
from blob_env import BlobRules
from config import Config
from environments.known import MIRRORS, symmetries_of
from environments.lanes import make_vector_env
from environments.make import make_env
from environments.symmetry import Symmetry, mean_over_symmetries

SAME = Symmetry(np.array([0, 1]), np.ones(2, np.int8), np.array([0, 1]))
SWAP = Symmetry(np.array([1, 0]), np.ones(2, np.int8), np.array([1, 0]))


def test_mean_by_hand() -> None:
    # Q(s) = (s_0, 10): (1, 10) at (1, 2). Seen swapped, (2, 1) has the values (2, 10) of the actions 1 and 0, so
    # (10, 2) of 0 and 1: the mean is (5.5, 6).
    q_values = mean_over_symmetries(lambda seen: np.stack([seen[:, 0], np.full(len(seen), 10.0)], axis=1), [SAME, SWAP])
    np.testing.assert_array_equal(q_values(np.array([[1.0, 2.0]])), [[5.5, 6.0]])


def test_without_symmetries_nothing_changes() -> None:
    def q_values(observations: np.ndarray) -> np.ndarray:
        return observations

    assert mean_over_symmetries(q_values, []) is q_values


@pytest.mark.parametrize("n", [1, 4, 5, 9])
def test_parts_of_a_batch_are_put_together(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symmetry, "AT_A_TIME", 4)
    most = []

    def q_values(observations: np.ndarray) -> np.ndarray:
        most.append(len(observations))
        return observations

    observations = np.arange(2.0 * n).reshape(n, 2)
    np.testing.assert_array_equal(mean_over_symmetries(q_values, [SAME, SWAP])(observations), observations)
    assert max(most) <= 4 * 2


def test_the_agent_plays_alike_in_all_views() -> None:
    """An untrained network's own values differ from view to view; those that the agent acts by do not."""
    rules = BlobRules(size=5)
    views = [Symmetry(*one) for one in rules.symmetries()]
    agent = DQNAgent(rules.observation_space(), gym.spaces.Discrete(9), Config(seed=1, memory_size=2000), views)
    boards = rules.observe(rules.start_positions(np.random.default_rng(0).integers(rules.n_starts, size=50)))
    values = agent.q_values(boards)
    for view in views:
        np.testing.assert_allclose(agent.q_values(view.observations(boards))[:, view.actions], values, atol=1e-4)
    turned = agent.online(views[3].observations(boards)).numpy()[:, views[3].actions]
    assert np.abs(turned - agent.online(boards).numpy()).max() > 0.01


def mirrored_pair(env_id: str) -> tuple[gym.Env, gym.Env, np.ndarray, Symmetry]:
    """Two of an environment, after resets that mirror each other; the observation of the first and the mirror."""
    one, other = gym.make(env_id), gym.make(env_id)
    mirror = MIRRORS[env_id][1]
    if env_id == "LunarLander-v3":  # it draws forces along x and the dispersions of its engines
        for env, side in ((one, 1), (other, -1)):
            env.reset(seed=0)
            env.unwrapped.np_random = Sideways(np.random.default_rng(3), side)  # type: ignore[assignment]
        observation, _ = one.reset()
        other.reset()
        return one, other, observation, mirror
    observation, _ = one.reset(seed=3)
    other.reset(seed=3)
    state: Any = other.unwrapped
    state.state = -np.asarray(state.state)  # positions, angles and speeds
    return one, other, observation, mirror


class Sideways:
    """A generator whose draws along x are mirrored: the first of two forces, the second of two dispersions. It draws a
    flat ground, which the lander sees nothing of."""

    def __init__(self, generator: np.random.Generator, side: int) -> None:
        self._generator, self._side, self._count = generator, side, 0

    def uniform(self, low: float, high: float, size: Any = None) -> Any:
        if size is not None:  # the ground's heights
            return np.full(size, high / 2)
        number = self._generator.uniform(low, high)
        is_force = high > 100
        self._count += 1
        is_x = self._count % 2 == (1 if is_force else 0)
        return self._side * number if is_x else number


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Acrobot-v1", "LunarLander-v3"])
def test_known_mirrors(env_id: str) -> None:
    """The mirrored actions, from a mirrored start, lead to mirrored observations and the same rewards; in LunarLander
    to within what Box2D loses by solving for one leg before the other."""
    if env_id == "LunarLander-v3":
        pytest.importorskip("Box2D")
    one, other, observation, mirror = mirrored_pair(env_id)
    if env_id == "LunarLander-v3":  # in the air it does not show that the legs change places
        numbers = np.arange(1.0, 9.0, dtype=np.float32)[None]
        np.testing.assert_array_equal(mirror.observations(numbers), [[-1, 2, -3, 4, -5, -6, 8, 7]])
    generator = np.random.default_rng(1)
    atol = 0.03 if env_id == "LunarLander-v3" else 1e-5
    for step in range(30):
        action = int(generator.integers(len(mirror.actions)))
        observation, reward, ended, _, _ = one.step(action)
        seen, mirrored_reward, mirrored_ended, _, _ = other.step(int(mirror.actions[action]))
        np.testing.assert_allclose(mirror.observations(seen[None])[0], observation, atol=atol, err_msg=str(step))
        assert mirrored_reward == pytest.approx(reward, abs=50 * atol) and mirrored_ended == ended
        if ended:
            break
    assert step > 8 and np.abs(observation).max() > 0.05


def test_known_mirrors_are_used_where_observations_are_the_environments_own() -> None:
    for env_id in MIRRORS:
        if env_id == "LunarLander-v3":
            pytest.importorskip("Box2D")
        config = Config.from_preset(env=env_id)
        assert config.symmetries
        assert symmetries_of(make_env(config)) == symmetries_of(make_vector_env(config, 2))
        assert symmetries_of(make_env(config)) is MIRRORS[env_id]
    assert not symmetries_of(make_env(Config(env="CartPole-v1", frame_stack=2)))
    assert not symmetries_of(make_env(Config(env="MountainCar-v0")))
