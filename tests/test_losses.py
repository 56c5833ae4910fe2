"""Targets and losses, worked out by hand and against NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from config import Config
from losses import ScalarQ
from replay_memory import Batch


def losses_of(loss: ScalarQ, targets: list[float], predictions: list[float]) -> np.ndarray:
    """The losses of these TD errors, the action taken being 1 of 2."""
    outputs = tf.constant([[9.0, prediction] for prediction in predictions])
    losses, td_errors = loss(outputs, tf.constant(targets), tf.ones(len(targets), tf.int32))
    assert td_errors.numpy() == pytest.approx(np.subtract(targets, predictions))
    return losses.numpy()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        # Errors 0.5, 1, -3. Squares 0.25, 1, 9. Huber with delta 1: 0.125, 0.5, 3 - 0.5 = 2.5; with delta 2: 0.125,
        # 0.5, 2 * (3 - 1) = 4.
        ({"loss": "mse"}, [0.25, 1, 9]),
        ({"loss": "huber", "huber_delta": 1.0}, [0.125, 0.5, 2.5]),
        ({"loss": "huber", "huber_delta": 2.0}, [0.125, 0.5, 4]),
    ],
)
def test_loss_by_hand(settings: dict, expected: list[float]) -> None:
    assert losses_of(ScalarQ(Config(**settings)), [1.5, 2.0, 0.0], [1.0, 1.0, 3.0]) == pytest.approx(expected)


@pytest.mark.parametrize("double", [False, True])
def test_targets_equal_a_numpy_reference(double: bool) -> None:
    generator = np.random.default_rng(1)
    online, target = keras.Sequential([keras.layers.Dense(3)]), keras.Sequential([keras.layers.Dense(3)])
    observations = generator.normal(size=(2, 16, 4)).astype(np.float32)
    online_values, target_values = online(observations[1]).numpy(), target(observations[1]).numpy()
    masks = generator.random((16, 3)) < 0.5
    masks[np.arange(16), generator.integers(3, size=16)] = True  # at least one action is legal
    returns, discounts = generator.normal(size=(2, 16)).astype(np.float32)
    batch = Batch(
        observations[0], masks, np.zeros(16, np.int32), returns, discounts, observations[1], masks, np.ones(16), returns
    )
    picked = np.where(masks, online_values if double else target_values, -np.inf).argmax(axis=1)
    expected = returns + discounts * target_values[np.arange(16), picked]
    targets = ScalarQ(Config(double=double)).targets(online, target, batch)
    np.testing.assert_allclose(targets.numpy(), expected, rtol=1e-6)


def test_the_outputs_are_the_q_values() -> None:
    outputs = tf.constant([[1.0, 2.0]])
    assert ScalarQ(Config()).q_values(outputs) is outputs
