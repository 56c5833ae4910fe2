"""How a network ends: in Q-values, or in distributions of the return whose means are the Q-values.

A network always maps to Q-values, so that acting, saving and exporting are the same for all. The layers before the mean
have names, by which the losses find what they learn.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import layers, ops

from blocks.dense import dense, linear

ATOMS = 51  # C51's: returns to which it gives a probability (Bellemare et al. 2017)
QUANTILES = 51  # QR-DQN's; Dabney et al. 2018 have 200
SAMPLES = 16  # quantiles that IQN draws for each observation; Dabney et al. 2018b have 8 to 64
COSINES = 64  # features of a quantile's fraction (Dabney et al. 2018b, eq. 4)
FIRST_VALUES = 1e-4  # scale of the variance of an untrained network's values

LOGITS, VALUES, FRACTIONS = "logits", "quantiles", "fractions"  # the layers that losses ask for


def head(
    features: keras.KerasTensor, n_actions: int, loss: str, dueling: bool, noisy: bool, v_max: float
) -> keras.KerasTensor:
    """End a network in Q-values.

    Args:
        features: (batch, n).
        n_actions: number of actions.
        loss: of `Config`: what the network learns.
        dueling: whether to estimate the observation's value and the actions' advantages apart.
        noisy: whether its layers are noisy.
        v_max: C51's atoms lie between -v_max and v_max.

    Returns:
        (batch, n_actions).
    """
    if loss == "c51":
        logits = layers.Identity(name=LOGITS)(_values(features, n_actions, dueling, noisy, ATOMS))
        return ops.sum(layers.Softmax(axis=1)(logits) * atoms(v_max)[:, None], axis=1)
    if loss == "qr":
        return ops.mean(layers.Identity(name=VALUES)(_values(features, n_actions, dueling, noisy, QUANTILES)), axis=1)
    if loss == "iqn":
        fractions = layers.Identity(name=FRACTIONS)(_fractions(features))
        features = dense(_at(fractions, features), features.shape[1], n_layers=1, noisy=noisy)
        return ops.mean(layers.Identity(name=VALUES)(_values(features, n_actions, dueling, noisy)), axis=1)
    return _values(features, n_actions, dueling, noisy)


def atoms(v_max: float) -> np.ndarray:
    """C51's returns, float32 (atoms,)."""
    return np.linspace(-v_max, v_max, ATOMS, dtype=np.float32)


def midpoints(count: int) -> np.ndarray:
    """The middles of so many equal parts of the fractions from 0 to 1, float32 (count,): those of QR-DQN's quantiles
    (Dabney et al. 2018, lemma 2)."""
    return ((np.arange(count) + 0.5) / count).astype(np.float32)


def _values(
    features: keras.KerasTensor, n_actions: int, dueling: bool, noisy: bool, size: int | None = None
) -> keras.KerasTensor:
    """A value for each action, or `size` of them: from (batch, ..., n) to (batch, ..., n_actions) or (batch, size,
    n_actions). They start near 0: of random ones targets would take the greatest, and where rewards are rare, those
    fall slowly."""
    small = keras.initializers.VarianceScaling(FIRST_VALUES)

    def outputs(units: int, name: str) -> keras.KerasTensor:
        made = linear(features, units * (size or 1), noisy, kernel_initializer=small, name=name)
        return layers.Reshape((size, units))(made) if size else made

    if not dueling:
        return outputs(n_actions, "q_values")
    value, advantages = outputs(1, "value"), outputs(n_actions, "advantages")
    return value + advantages - ops.mean(advantages, axis=-1, keepdims=True)  # Wang et al. 2016, eq. 9


def _fractions(features: keras.KerasTensor) -> keras.KerasTensor:
    """Draw fractions, one from each of `SAMPLES` equal parts of 0 to 1; the midpoints but in training: (batch, k).

    Each is uniform in its part, so that one picked at random is uniform, as those of Dabney et al. 2018b.
    """
    zeros = ops.repeat(ops.zeros_like(features[:, :1]), 3 * SAMPLES, axis=1)
    points = layers.GaussianNoise(1.0)(layers.Reshape((3, SAMPLES))(zeros))
    # Each axis of a random point on a sphere is uniform (Archimedes), and every format of export knows a square root.
    axis = points[:, 0] / ops.sqrt(ops.sum(ops.square(points), axis=1) + 1e-30)
    return (0.5 + 0.5 * axis + np.arange(SAMPLES, dtype=np.float32)) / SAMPLES


def _at(fractions: keras.KerasTensor, features: keras.KerasTensor) -> keras.KerasTensor:
    """Features (batch, n) at fractions (batch, k): their product (batch, k, n) with an embedding of the fraction
    (Dabney et al. 2018b, eq. 4)."""
    cosines = ops.cos(ops.expand_dims(fractions, 2) * (np.pi * np.arange(COSINES)).astype(np.float32))
    return ops.expand_dims(features, 1) * dense(cosines, features.shape[1], n_layers=1)
