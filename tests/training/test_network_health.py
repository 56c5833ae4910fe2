"""Dead units, effective rank and spread of Q-values, by hand, and of the networks of runs."""

from types import SimpleNamespace
from typing import Any

import gymnasium as gym
import keras
import numpy as np
import pytest

from networks import build_q_network
from training.network_health import NetworkHealth, dead_share, effective_rank, q_spread


def test_effective_rank_by_hand() -> None:
    """Singular values 3, 1 and 0.04 add up to 4.04, of which 99% are 4.0: two hold 4. Of 3, 1 and 0.05 two do not
    hold 99% of 4.05, which is 4.0095."""
    assert effective_rank(np.diag([0.04, 3, 1])) == 2 and effective_rank(np.diag([0.05, 3, 1])) == 3
    assert effective_rank(np.eye(4, 7)) == 4 and effective_rank(np.ones((4, 7))) == 1
    assert effective_rank(np.zeros((4, 7))) == 0


def test_dead_units_by_hand() -> None:
    """Of three dense units one is dead; of two channels one is alive at a single place. That makes 1 of 5."""
    dense = np.array([[0.0, 1, 0], [0, 0, 2]])
    channels = np.zeros((2, 3, 3, 2))
    channels[:, :, :, 0] = 1
    channels[1, 2, 0, 1] = 0.5
    assert dead_share([dense, channels]) == pytest.approx(1 / 5)


def test_spread_by_hand() -> None:
    """1 and 3 are one from their mean, 5 and 5 are none: 0.5 on average."""
    assert q_spread(np.array([[1, 5], [3, 5]], np.float32)) == 0.5


def health_of(model: keras.Model, observations: Any, logs: dict[str, Any]) -> dict[str, Any]:
    """What is added to the logs for a model, which sees these observations."""
    agent = SimpleNamespace(
        sample_for_display=lambda count, generator: (observations, None),
        q_values=lambda batch: np.asarray(model(batch)),
    )
    health = NetworkHealth()
    health.set_model(model)
    health.set_params({"agent": agent, "evaluation": SimpleNamespace(count=1)})
    health.on_train_begin()
    health.on_epoch_end(0, logs)
    return logs


def test_a_dict_of_observations() -> None:
    space = gym.spaces.Dict(board=gym.spaces.Box(0, 255, (5, 5, 2), np.uint8), speed=gym.spaces.Box(-1, 1, (3,)))
    generator = np.random.default_rng(0)
    observations = {"board": generator.integers(0, 255, (64, 5, 5, 2), np.uint8), "speed": generator.random((64, 3))}
    logs = health_of(build_q_network(space, 3), observations, {"evaluation": 1})
    assert set(logs) == {"evaluation", *NetworkHealth.adds}
    assert 0 <= logs["dead_units"] < 0.5 and 0.3 < logs["effective_rank"] <= 1 and logs["q_spread"] > 0


def test_a_network_by_hand() -> None:
    """Inputs 1 and 2 give the units (1, 2) and -(1, 2), which is dead; and Q-values 3 times the input, 3 and 6."""
    inputs = keras.Input((1,))
    hidden, q_values = keras.layers.Dense(2, activation="relu"), keras.layers.Dense(1)
    model = keras.Model(inputs, q_values(hidden(inputs)))
    hidden.set_weights([np.array([[1.0, -1.0]]), np.zeros(2)])
    q_values.set_weights([np.array([[3.0], [1.0]]), np.zeros(1)])
    logs = health_of(model, np.array([[1.0], [2.0]], np.float32), {"evaluation": 1})
    assert logs == {"evaluation": 1, "dead_units": 0.5, "effective_rank": 0.5, "q_spread": 1.5}


class Doubling(keras.Model):
    """A network of the user's, in which Keras knows no layers."""

    def call(self, inputs: Any) -> Any:
        return inputs * 2


@pytest.mark.parametrize("model", [Doubling(), keras.Sequential([keras.layers.Input((1,)), keras.layers.Dense(2)])])
def test_a_network_without_relus(model: keras.Model) -> None:
    assert set(health_of(model, np.array([[1.0], [2.0]], np.float32), {"evaluation": 1})) == {"evaluation", "q_spread"}


@pytest.mark.parametrize(("observations", "logs"), [(np.ones((5, 1)), {"evaluation": 1}), (np.eye(5)[:, :1], {})])
def test_nothing_to_see(observations: np.ndarray, logs: dict[str, Any]) -> None:
    """All observations are the same, or there was no evaluation."""
    assert health_of(Doubling(), observations, dict(logs)) == logs
