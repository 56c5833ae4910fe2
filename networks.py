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
FINE = 16  # a side above it is looked at coarsely
SCALES = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48])  # cells; of a look at a large board
SHARPNESS = 10.0  # of the grid network's attention


def observation_dtype(space: gym.Space) -> np.dtype:
    """The dtype in which observations are stored and enter the network: uint8 stays, other numbers take 32 bits."""
    if space.dtype == np.uint8:
        return np.dtype(np.uint8)
    return np.dtype(np.float32 if np.issubdtype(space.dtype, np.floating) else np.int32)


def build_q_network(
    observation_space: gym.Space, n_actions: int, network: str = "auto", dueling: bool = False
) -> keras.Model:
    """Build the model that maps a batch of observations to Q-values.

    Args:
        observation_space: Box of shape (features,) or (height, width, channels), Discrete or MultiDiscrete.
        n_actions: number of discrete actions.
        network: "auto", "dense" to look at small images without attention, or "tutorial" for the Blob tutorial's
            convolutions (images only).
        dueling: whether the value of the observation and the advantages of the actions are told apart (Wang et al.
            2016).

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
        board = layers.Flatten()(pixels) if network == "dense" else _grid(pixels)
        features = _dense(board, 256, n_layers=3)
    q_values = layers.Dense(n_actions, name="advantages" if dueling else "q_values")(features)
    if dueling:
        value = layers.Dense(1, name="value")(features)
        q_values = value + q_values - ops.mean(q_values, axis=1, keepdims=True)  # Wang et al. 2016, eq. 9
    return keras.Model(inputs, q_values, name="q_network")


def suits_xla(model: keras.Model) -> bool:
    """Whether XLA pays for a model: it fuses the many small operations around matrix products, but has no fast
    convolutions on a CPU, and large boards, which are pooled, gain nothing for the 170 MB that compiling takes."""
    return not any(isinstance(layer, layers.Conv2D | layers.AveragePooling2D) for layer in model.layers)


def compile_q_values(model: keras.Model) -> Callable[[np.ndarray], np.ndarray]:
    """A Q-network as one compiled function for batches of any size, from arrays to float32 (batch, n_actions)."""
    signature = [tf.TensorSpec(model.input_shape, model.inputs[0].dtype)]
    function = tf.function(lambda observations: model(observations), input_signature=signature)
    return lambda observations: function(observations).numpy()


def _dense(features: keras.KerasTensor, units: int, n_layers: int = 2) -> keras.KerasTensor:
    for _ in range(n_layers):
        features = layers.Dense(units, activation="relu", kernel_initializer="he_uniform")(features)
    return features


def _one_hot(inputs: keras.KerasTensor, space: Discrete | MultiDiscrete) -> keras.KerasTensor:
    if isinstance(space, Discrete):
        return ops.one_hot(inputs - int(space.start), int(space.n))
    sizes, starts = space.nvec.tolist(), space.start.tolist()
    return ops.concatenate([ops.one_hot(inputs[:, i] - starts[i], sizes[i]) for i in range(len(sizes))], axis=1)


def _grid(pixels: keras.KerasTensor) -> keras.KerasTensor:
    """A board, as it is and as it looks from the rows and columns that matter.

    What to do depends on where things lie relative to the player, and a dense layer on pixels would have to learn that
    anew for every cell. So each of `channels` heads scores every row by what lies in it, and a softmax turns the scores
    into attention. A head starts on the row where its own channel is brightest and learns where to look from there.
    What it sees is the board's row sums, each at its offset from the attended row. Columns alike. On a large board,
    where offsets and pixels are too many to learn from one by one, it sees offsets on a few scales and coarse means of
    pixels.

    From (batch, h, w, c) to (batch, features).
    """
    channels = pixels.shape[3]
    coarseness = -(-max(pixels.shape[1:3]) // FINE)
    features = [layers.AveragePooling2D(coarseness, padding="same")(pixels) if coarseness > 1 else pixels]
    for name, other_axis in (("rows", 2), ("columns", 1)):
        lines = ops.sum(pixels, axis=other_axis)  # (batch, n, c)
        # The factor lets a head settle on one line from the start.
        scores = layers.Dense(channels, kernel_initializer="identity", name=f"{name}_scores")(lines) * SHARPNESS
        attention = layers.Softmax(name=f"{name}_attention")(layers.Permute((2, 1))(scores))  # (batch, heads, n)
        views = _views(lines) if coarseness == 1 else _scaled_views(lines, name)
        features += [lines, attention, ops.matmul(attention, views)]
    return layers.Concatenate()([layers.Flatten()(feature) for feature in features])


def _views(lines: keras.KerasTensor) -> keras.KerasTensor:
    """How all lines look from each: from (batch, n, c) to (batch, n, (2n-1) * c).

    Element [:, i, d * c : (d + 1) * c] is the line at offset d - (n-1) from line i, and 0 beyond the board's edge.
    """
    n, channels = lines.shape[1:]
    padded = ops.pad(lines, ((0, 0), (n - 1, n - 1), (0, 0)))
    seen_from = np.arange(n)[:, None] + np.arange(2 * n - 1)
    return ops.reshape(ops.take(padded, seen_from.ravel(), axis=1), (-1, n, (2 * n - 1) * channels))


def _scaled_views(lines: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """How all lines look from each on a large board: from (batch, n, c) to (batch, n, k * c).

    Instead of every offset apart, two numbers on each of `SCALES`: on which side a line is (-1 to 1), and how near (0
    to 1). So what is learned of one offset holds for its neighbours too.
    """
    n, channels = lines.shape[1:]
    offsets = np.arange(n)[:, None] - np.arange(n)  # [j, i] of line j from line i
    side = np.clip(offsets[:, :, None] / SCALES[n > SCALES], -1, 1)
    looks = np.concatenate([side, 1 - np.abs(side)], axis=2)  # (n, n, k)
    # A layer that never learns, so that the file holds these numbers as weights instead of text.
    look = layers.Dense(looks[0].size, use_bias=False, trainable=False, name=f"{name}_looks")
    views = ops.reshape(look(layers.Permute((2, 1))(lines)), (-1, channels, *looks.shape[1:]))
    look.set_weights([looks.reshape(n, -1)])
    return ops.reshape(ops.transpose(views, (0, 2, 3, 1)), (-1, n, looks.shape[2] * channels))


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
