"""Noisy layers against NumPy, and how an agent explores with them."""

import dataclasses

import gymnasium as gym
import keras
import numpy as np
import pytest
from test_agent import ACTIONS, FEATURES, SMALL
from test_distributional_losses import step

from agent import DQNAgent
from blocks.dense import linear
from networks import build_q_network


def f(epsilon: np.ndarray) -> np.ndarray:
    return np.sign(epsilon) * np.sqrt(np.abs(epsilon))


@pytest.mark.parametrize("parts", [None, 4])
def test_a_noisy_layer_equals_a_numpy_reference(parts: int | None) -> None:
    """The kernel is mu + sigma * f(e_in) f(e_out), the bias mu + sigma * f(e_out); parts of a row share their noise."""
    generator = np.random.default_rng(1)
    inputs = keras.Input((parts, 3) if parts else (3,))
    noises = []
    outputs = linear(inputs, 2, noisy=True)
    model = keras.Model(inputs, outputs)
    noises = [layer.output for layer in model.layers if isinstance(layer, keras.layers.GaussianNoise)]
    mu, sigma = (layer for layer in model.layers if isinstance(layer, keras.layers.Dense))
    np.testing.assert_allclose(sigma.get_weights()[0], np.full((3, 2), 0.5 / np.sqrt(3)), rtol=1e-6)
    for layer in (mu, sigma):
        layer.set_weights([generator.normal(size=(3, 2)), generator.normal(size=2)])
    (mu_w, mu_b), (sigma_w, sigma_b) = mu.get_weights(), sigma.get_weights()
    x = generator.normal(size=(5, *inputs.shape[1:])).astype(np.float32)
    y, *drawn = (np.asarray(one) for one in keras.Model(inputs, [outputs, *noises])(x, training=True))
    of_inputs, of_units = (next(f(one) for one in drawn if one.shape[-1] == n) for n in (3, 2))
    for row in range(5):
        e_in, e_out = of_inputs[row].reshape(3), of_units[row].reshape(2)
        kernel = mu_w + sigma_w * np.outer(e_in, e_out)
        np.testing.assert_allclose(y[row], x[row] @ kernel + mu_b + sigma_b * e_out, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(model(x), x @ mu_w + mu_b, rtol=1e-5, atol=1e-6)


def test_the_noise_has_its_spread() -> None:
    """f(e_in) f(e_out) has mean 0 and variance E|e|^2 = 2/pi; over 20,000 rows with an input of 1, sigma 0.5 and both
    weight and bias noisy, y = 0.5 f(e_out) (f(e_in) + 1) has variance 0.25 * E|e| (E|e| + 1) = 0.3586."""
    inputs = keras.Input((1,))
    model = keras.Model(inputs, linear(inputs, 1, noisy=True, kernel_initializer="zeros"))
    y = model(np.ones((20_000, 1), np.float32), training=True).numpy()
    assert abs(y.mean()) < 0.02 and y.var() == pytest.approx(0.3586, rel=0.08)


def test_every_dense_layer_is_noisy() -> None:
    space = gym.spaces.Box(0, 255, (6, 6, 2), np.uint8)
    names = [layer.name for layer in build_q_network(space, 3, dueling=True, noisy=True).layers]
    assert sum(name.endswith("_sigma") for name in names) == 3 + 2  # behind the board, and the two heads
    assert not any(name.endswith("_sigma") for name in (layer.name for layer in build_q_network(space, 3).layers))


def test_an_agent_explores_by_noise_and_plays_without() -> None:
    config = dataclasses.replace(SMALL, noisy=True, epsilon_min=0.0, epsilon_schedule="steps", epsilon_steps=1)
    agent = DQNAgent(FEATURES, ACTIONS, config)
    one = np.ones((1, 2), np.float32)
    for _ in range(3):
        agent.remember(one, [0], step(1.0, True, one))
    assert agent.epsilon == 0
    assert {int(agent.act(one)[0]) for _ in range(50)} == {0, 1}
    assert len({int(agent.act(one, epsilon=0.0)[0]) for _ in range(50)}) == 1
    assert (agent.q_values(one) == agent.q_values(one)).all()


def test_state_round_trip_continues_identically() -> None:
    """The state of the generators of noise and fractions is part of the agent's."""
    config = dataclasses.replace(SMALL, noisy=True, loss="iqn", dueling=True, n_step=2)
    generator = np.random.default_rng(0)
    agents = [DQNAgent(FEATURES, ACTIONS, dataclasses.replace(config, seed=seed)) for seed in (0, 1)]
    here, there = agents
    for _ in range(30):
        now, after = generator.normal(size=(2, 1, 2)).astype(np.float32)
        led_to = step(generator.normal(), generator.random() < 0.2, after)
        here.remember(now, [int(generator.integers(2))], led_to)
    here.update()
    there.set_state(here.get_state(), [here.memory.get_steps(0)])
    for _ in range(3):
        assert here.update() == there.update()
    for a, b in zip(here.get_weights(), there.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    for _ in range(20):
        assert here.act(now) == there.act(now)
