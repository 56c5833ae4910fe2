"""Q-networks: which Keras model fits which observation. Only what stock Keras has, so that any Keras loads them."""

from __future__ import annotations

from collections.abc import Callable

import gymnasium as gym
import keras
import numpy as np
import tensorflow as tf
from gymnasium.spaces import Box, Discrete, MultiDiscrete
from keras import layers, ops

from startup import InputError

LARGEST_GRID = 64  # a side above it is a screen, not a board
SHARPNESS = 10.0  # of the grid network's attention


def observation_dtype(space: gym.Space) -> np.dtype:
    """The dtype in which observations are stored and enter the network: uint8 stays, other numbers take 32 bits."""
    if space.dtype == np.uint8:
        return np.dtype(np.uint8)
    return np.dtype(np.float32 if np.issubdtype(space.dtype, np.floating) else np.int32)


def build_q_network(observation_space: gym.Space, n_actions: int, network: str = "auto") -> keras.Model:
    """Build the model that maps a batch of observations to Q-values.

    Args:
        observation_space: Box of shape (features,) or (height, width, channels), Discrete or MultiDiscrete.
        n_actions: number of discrete actions.
        network: "auto", or "tutorial" for the Blob tutorial's convolutions (images only).

    Returns:
        A model from (batch, *observation shape) in `observation_dtype` to float32 (batch, n_actions).

    Raises:
        InputError: no network fits the observations.
    """
    inputs = keras.Input(observation_space.shape, dtype=observation_dtype(observation_space).name, name="observation")
    is_image = isinstance(observation_space, Box) and len(observation_space.shape or ()) == 3
    pixels = layers.Rescaling(1 / 255)(inputs) if observation_space.dtype == np.uint8 else inputs
    if network == "tutorial" and not is_image:
        raise InputError(f"--network tutorial needs images, the observations are {observation_space}")
    if isinstance(observation_space, Discrete | MultiDiscrete):
        features = _dense(_one_hot(inputs, observation_space), 128)
    elif not is_image:
        features = _dense(pixels, 128)
    elif network == "tutorial":
        features = _tutorial(pixels)
    elif max(pixels.shape[1:3]) > LARGEST_GRID:
        features = _nature(pixels)
    else:
        features = _dense(_grid(pixels), 256)
    q_values = layers.Dense(n_actions, name="q_values")(features)
    return keras.Model(inputs, q_values, name="q_network")


def compile_q_values(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """A Q-network as one compiled function for batches of any size, from arrays to float32 (batch, n_actions)."""
    signature = [tf.TensorSpec(model.input_shape, model.inputs[0].dtype)]
    function = tf.function(lambda observations: model(observations), input_signature=signature)
    return lambda observations: function(observations).numpy()


def _dense(features: keras.KerasTensor, units: int) -> keras.KerasTensor:
    for _ in range(2):
        features = layers.Dense(units, activation="relu", kernel_initializer="he_uniform")(features)
    return features


def _one_hot(inputs: keras.KerasTensor, space: Discrete | MultiDiscrete) -> keras.KerasTensor:
    if isinstance(space, Discrete):
        return ops.one_hot(inputs - int(space.start), int(space.n))
    sizes, starts = space.nvec.tolist(), space.start.tolist()
    return ops.concatenate([ops.one_hot(inputs[:, i] - starts[i], sizes[i]) for i in range(len(sizes))], axis=1)


def _grid(pixels: keras.KerasTensor) -> keras.KerasTensor:
    """A board, as it is and as it looks from the cells that matter.

    What to do depends on where things lie relative to the player, and a dense layer on pixels would have to learn that
    anew for every cell. So each of `channels` heads scores every cell by a 1x1 convolution, and a softmax over the
    board turns the scores into attention. A head starts on the cell where its own channel is brightest and learns where
    to look from there. Row sums and column sums of the board are shifted so that the attended row and column lie in the
    middle: everything appears at its offset from the attended cell.

    From (batch, h, w, c) to (batch, features).
    """
    height, width, channels = pixels.shape[1:]
    # A dense layer on the channels is a 1x1 convolution. The factor lets a head settle on one cell from the start.
    scores = layers.Dense(channels, kernel_initializer="identity", name="scores")(pixels)
    attention = layers.Softmax(axis=(1, 2), name="attention")(scores * SHARPNESS)
    features = [layers.Flatten()(pixels)]
    for n, other_axis in ((height, 2), (width, 1)):
        attended, lines = ops.sum(attention, axis=other_axis), ops.sum(pixels, axis=other_axis)
        shifted = ops.einsum("bik,idn,bnc->bkdc", attended, _shifts(n), lines)
        features += [layers.Flatten()(attended), layers.Flatten()(shifted)]
    return layers.Concatenate()(features)


def _shifts(n: int) -> np.ndarray:
    """float32 (n, 2n-1, n): element [i, d, k] is 1 where cell k lies at offset d - (n-1) from cell i, else 0."""
    i, d, k = np.ogrid[:n, : 2 * n - 1, :n]
    return (k - i == d - (n - 1)).astype(np.float32)


def _tutorial(pixels: keras.KerasTensor) -> keras.KerasTensor:
    """The tutorial's two 256-filter convolutions; 614,281 parameters with nine actions on 10x10 images."""
    if min(pixels.shape[1:3]) < 8:
        raise InputError(f"--network tutorial needs images of at least 8x8, these are {pixels.shape[1:3]}")
    features = pixels
    for _ in range(2):
        features = layers.Conv2D(256, 3, activation="relu")(features)
        features = layers.MaxPooling2D(2)(features)
        features = layers.Dropout(0.2)(features)
    return layers.Dense(64)(layers.Flatten()(features))


def _nature(pixels: keras.KerasTensor) -> keras.KerasTensor:
    """The convolutions of Mnih et al. 2015, "Human-level control through deep reinforcement learning"."""
    if min(pixels.shape[1:3]) < 36:
        raise InputError(f"images of {pixels.shape[1:]} are too narrow: (height, width, channels), 36x36 at least")
    features = pixels
    for filters, kernel, stride in ((32, 8, 4), (64, 4, 2), (64, 3, 1)):
        features = layers.Conv2D(filters, kernel, stride, activation="relu")(features)
    return layers.Dense(512, activation="relu")(layers.Flatten()(features))
