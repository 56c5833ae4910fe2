"""Symmetries as data, the mean of Q-values over all views, and which environments have symmetries."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import environments.symmetry as symmetry
from agent import DQNAgent
from blob_env import OBSERVATIONS, BlobRules
from config import Config
from environments.known import MIRRORS, symmetries_of
from environments.lanes import make_lanes
from environments.make import make_env
from environments.symmetry import Symmetry, mean_over_symmetries
from networks import build_q_network, compile_q_values

SAME = Symmetry(np.array([0, 1]), np.ones(2, np.int8), np.array([0, 1]))
SWAP = Symmetry(np.array([1, 0]), np.ones(2, np.int8), np.array([1, 0]))


def test_transformation_by_hand() -> None:
    """Number i becomes `signs[i]` times number `places[i]`; or number v becomes `values[v]`."""
    ones, swapped = np.ones(4, np.int8), np.array([1, 0])
    turn = Symmetry(np.array([2, 0, 1]), np.array([1, -1, 1], np.int8), swapped)
    transposition = Symmetry(np.array([0, 2, 1, 3]), ones, swapped)
    cells = Symmetry(np.arange(2), ones[:2], swapped, np.array([7, 8, 9]))
    for one, given, expected, dtype in (
        (turn, [[1, 2, 3], [4, 5, 6]], [[3, -1, 2], [6, -4, 5]], np.float32),
        (transposition, [[[0, 1], [2, 3]]], [[[0, 2], [1, 3]]], np.uint8),
        (cells, [[2, 0]], [[9, 7]], np.int32),
    ):
        found = one.observations(np.array(given, dtype))
        np.testing.assert_array_equal(found, np.array(expected, dtype), strict=True)


def test_mean_by_hand() -> None:
    # Q(s) = (s_0, 10): (1, 10) at (1, 2). Seen swapped, (2, 1) has the values (2, 10) of the actions 1 and 0, so
    # (10, 2) of 0 and 1: the mean is (5.5, 6).
    q_values = mean_over_symmetries(lambda seen: np.stack([seen[:, 0], np.full(len(seen), 10.0)], axis=1), [SAME, SWAP])
    np.testing.assert_array_equal(q_values(np.array([[1.0, 2.0]])), [[5.5, 6.0]])


def test_without_symmetries_nothing_changes() -> None:
    def q_values(observations: np.ndarray) -> np.ndarray:
        return observations

    assert mean_over_symmetries(q_values, []) is q_values


@pytest.mark.parametrize(("bound", "most_of_it"), [("AT_A_TIME", 4), ("NUMBERS", 4 * 2)])
@pytest.mark.parametrize("n", [1, 4, 5, 9])
def test_parts_of_a_batch_are_put_together(
    n: int, bound: str, most_of_it: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(symmetry, bound, most_of_it)
    most = []

    def q_values(observations: np.ndarray) -> np.ndarray:
        most.append(len(observations))
        return observations

    observations = np.arange(2.0 * n).reshape(n, 2)
    np.testing.assert_array_equal(mean_over_symmetries(q_values, [SAME, SWAP])(observations), observations)
    assert max(most) <= 4 * 2


@pytest.mark.parametrize("observation", OBSERVATIONS)
def test_the_compiled_mean_is_the_one_in_numpy(observation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symmetry, "AT_A_TIME", 16)
    rules = BlobRules(size=4, observation=observation)
    views = [Symmetry(*one) for one in rules.symmetries()]
    model = build_q_network(rules.observation_space(), 9, "dense")
    starts = np.random.default_rng(0).integers(rules.n_starts, size=40)
    boards = rules.observe(rules.start_positions(starts))
    one_view = compile_q_values(model, rules.observation_space())
    found = compile_q_values(model, rules.observation_space(), views)(boards)
    np.testing.assert_allclose(found, mean_over_symmetries(one_view, views)(boards), rtol=1e-5, atol=1e-6)
    assert found.dtype == np.float32 and np.abs(found - one_view(boards)).max() > 1e-3


def test_the_agent_plays_alike_in_all_views() -> None:
    """An untrained network's own values differ from view to view; those that the agent acts by do not."""
    rules = BlobRules(size=5)
    views = [Symmetry(*one) for one in rules.symmetries()]
    agent = DQNAgent(rules.observation_space(), gym.spaces.Discrete(9), Config(seed=1, memory_size=2000), views)
    boards = rules.observe(rules.start_positions(np.random.default_rng(0).integers(rules.n_starts, size=50)))
    values = agent.q_values(boards)
    for view in views:
        np.testing.assert_allclose(agent.q_values(view.observations(boards))[:, view.actions], values, atol=1e-6)
    turned = agent.online(views[3].observations(boards)).numpy()[:, views[3].actions]
    assert np.abs(turned - agent.online(boards).numpy()).max() > 1e-3


def mirrored_pair(env_id: str) -> tuple[gym.Env, gym.Env, np.ndarray, Symmetry]:
    """Make an environment twice, reset as mirror images; with the first one's observation and the mirror."""
    one, other = gym.make(env_id), gym.make(env_id)
    mirror = MIRRORS[env_id][1]
    if env_id == "LunarLander-v3":  # it draws forces and dispersions along x
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
    """A generator whose draws along x are mirrored: the first of two forces, the second of two dispersions.

    The ground that it draws is flat; the lander does not see it.
    """

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
    """Mirrored actions from a mirrored start lead to mirrored observations and the same rewards.

    In LunarLander nearly so: Box2D solves for one leg before the other.
    """
    if env_id == "LunarLander-v3":
        pytest.importorskip("Box2D")
    one, other, observation, mirror = mirrored_pair(env_id)
    if env_id == "LunarLander-v3":  # in the air the legs do not show that they change places
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
        assert symmetries_of(make_env(config)) is make_lanes(config, 2).symmetries is MIRRORS[env_id]
    assert not symmetries_of(make_env(Config(env="CartPole-v1", frame_stack=2)))
    assert not symmetries_of(make_env(Config(env="MountainCar-v0")))


class Published(gym.Env):
    """Publishes the symmetries of its two numbers and two actions that it is given."""

    def __init__(self, symmetries: Any = None) -> None:
        self.symmetries = symmetries
        self.observation_space, self.action_space = gym.spaces.Box(-1, 1, (2,)), gym.spaces.Discrete(2)


def published(symmetries: Any) -> Sequence[Symmetry]:
    """Return the symmetries found in an environment that publishes these, the same for one and for lanes of it."""
    gym.registry.pop("Published-v0", None)
    gym.register("Published-v0", lambda **_: Published(symmetries))
    config = Config(env="Published-v0")
    found = symmetries_of(make_env(config))
    of_lanes = make_lanes(config, 2).symmetries
    assert [one[:3] for one in found] == [one[:3] for one in of_lanes]
    return found


def test_an_environment_publishes_its_symmetries_as_plain_tuples() -> None:
    plain = [tuple(SAME[:3]), tuple(SWAP)]
    found = published(plain)
    assert [type(one) for one in found] == [Symmetry, Symmetry]
    for one, expected in zip(found, (SAME, SWAP), strict=True):
        np.testing.assert_array_equal(
            one.observations(np.array([[5.0, 6.0]])), expected.observations(np.array([[5.0, 6.0]]))
        )
        np.testing.assert_array_equal(one.actions, expected.actions)
        assert one.values is None


TWO, ONES = np.arange(2), np.ones(2, np.int8)


@pytest.mark.parametrize(
    "symmetries",
    [
        None,
        4,
        "none",
        [],
        {"left": "right"},
        np.zeros((2, 3)),
        [1, 2],
        [(TWO, ONES)],
        [(TWO, ONES, TWO, None, None)],
        [[TWO, ONES, TWO]],
        [("places", "signs", "actions")],
        [(None, ONES, TWO)],
        [(TWO, ONES, [1, 0])],
        [(TWO, ONES, TWO, 5)],
        [(np.arange(3), ONES, TWO)],
        [(TWO, np.ones(1), TWO)],
        [(TWO, ONES, np.arange(3))],
        [(np.eye(2), ONES, TWO)],
        [tuple(SAME), (TWO, ONES)],
    ],
    ids=str,
)
def test_an_attribute_of_another_meaning_is_no_symmetry(symmetries: Any) -> None:
    assert len(published(symmetries)) == 0
