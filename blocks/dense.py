"""Dense layers: plain, normalized or noisy; and numbers as one-hot vectors."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from gymnasium.spaces import Discrete, MultiDiscrete
from keras import layers, ops

FIRST_NOISE = 0.5  # scale of an untrained layer's noise, sigma_0 of Fortunato et al. 2018


def dense(
    features: keras.KerasTensor, units: int, n_layers: int = 2, normalized: bool = False, noisy: bool = False
) -> keras.KerasTensor:
    """Add dense layers with ReLUs.

    Normalized ones (Ba et al. 2016, "Layer normalization") ignore the scale of their input, and keep Q-values from
    running away (Gallici et al. 2025, "Simplifying deep temporal difference learning").

    Args:
        features: (batch, ..., n).
        units: of each layer.
        n_layers: how many.
        normalized: whether each is normalized.
        noisy: whether each is noisy, see `linear`.

    Returns:
        (batch, ..., units).
    """
    for _ in range(n_layers):
        features = linear(features, units, noisy, kernel_initializer="he_uniform")
        features = layers.LayerNormalization()(features) if normalized else features
        features = layers.Activation("relu")(features)
    return features


def linear(features: keras.KerasTensor, units: int, noisy: bool = False, **settings: Any) -> keras.KerasTensor:
    """Add a dense layer without activation.

    A noisy one explores by random weights instead of random actions, and learns how much: w = mu + sigma * epsilon, and
    alike for the biases, where epsilon = f(epsilon_in) f(epsilon_out) is factorised Gaussian noise with f(x) =
    sgn(x) sqrt(|x|) (Fortunato et al. 2018, "Noisy networks for exploration", eq. 9 to 11). Every row of a batch has
    noise of its own. There is noise in training alone: else a noisy layer is a plain one with the weights mu.

    Args:
        features: (batch, n) or (batch, k, n), whose k parts then share their noise.
        units: of the layer.
        noisy: whether it is noisy.
        settings: of the `keras.layers.Dense` that holds mu.

    Returns:
        (batch, units) or (batch, k, units).
    """
    mean = layers.Dense(units, **settings)
    outputs = mean(features)
    if not noisy:
        return outputs
    # Made of stock layers: (sigma * f(e_in) f(e_out)) x = f(e_out) * (sigma (f(e_in) * x)), with * by element.
    scale = keras.initializers.Constant(FIRST_NOISE / np.sqrt(features.shape[-1]))
    sigma = layers.Dense(units, kernel_initializer=scale, bias_initializer=scale, name=f"{mean.name}_sigma")
    return outputs + _noise(outputs) * sigma(_noise(features) * features)


def _noise(like: keras.KerasTensor) -> keras.KerasTensor:
    """f(epsilon), in the shape (batch, n) or (batch, 1, n): 0 but in training."""
    normal = layers.GaussianNoise(1.0)(ops.zeros_like(like if len(like.shape) == 2 else like[:, :1]))
    return ops.sign(normal) * ops.sqrt(ops.abs(normal))


def one_hot(inputs: keras.KerasTensor, space: Discrete | MultiDiscrete) -> keras.KerasTensor:
    """Turn numbers of a space (batch,) or (batch, ...) into one-hot vectors, side by side: (batch, n)."""
    if isinstance(space, Discrete):
        return ops.one_hot(inputs - int(space.start), int(space.n))
    numbers, sizes, starts = layers.Flatten()(inputs), space.nvec.ravel().tolist(), space.start.ravel().tolist()
    return ops.concatenate([ops.one_hot(numbers[:, i] - starts[i], sizes[i]) for i in range(len(sizes))], axis=1)
