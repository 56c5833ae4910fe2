"""Q-networks: which Keras model fits which observation. All are made of stock layers, so that any Keras loads them."""

from __future__ import annotations

import inspect
import runpy
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import keras
import numpy as np
import optree
import tensorflow as tf
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Tuple
from keras import layers, ops

from console.errors import InputError
from console.nearest import did_you_mean
from console.tensorflow_import import check_keras
from environments.spaces import QValues, batch_of_one, check_size, example_observation, part_name
from environments.symmetry import Symmetry, parts

NAME = "q_network"  # of all models made here, but not of a user's own
LARGEST_GRID = 64  # an image with a longer side is a screen, not a board
LARGEST_PIXEL = 2.0**16  # a wider bound says nothing of the pixels
FINE = 16  # a board with a longer side is pooled, and seen on a few scales
FIRST_VALUES = 1e-4  # scale of the variance of an untrained network's values
FILTERS = 16  # of the convolution on a board
AROUND = 2  # cells on each side of the attended one that a head sees on a large board
SCALES = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48])  # distances on a large board, in cells
SHARPNESS = 10.0  # factor on the attention's scores, which lets a head settle on one line from the start


def build_q_network(
    observation_space: gym.Space, n_actions: int, network: str = "auto", dueling: bool = False, stack: int = 1
) -> keras.Model:
    """Build the model that maps a batch of observations to Q-values.

    Args:
        observation_space: Box of shape (features,), (height, width) or (height, width, channels), Discrete,
            MultiDiscrete, MultiBinary, or a Dict or Tuple of those, each of which gets its own branch.
        n_actions: number of discrete actions.
        network: "auto" picks by the observation; "dense" treats small images as vectors; "tutorial" is the Blob
            tutorial's convolutions (images only); "FILE.py:FUNCTION" is a user's own.
        dueling: whether to estimate the observation's value and the actions' advantages apart (Wang et al. 2016).
        stack: frames stacked along the first axis of every array; 1 for none.

    Returns:
        A model from (batch, *observation shape), in the structure and dtypes of `example_observation`, to float32
        (batch, n_actions).

    Raises:
        InputError: no network fits the observations, a user's own does not, or Keras's settings do not suit.
    """
    check_keras()
    if ":" in network:
        return _from_file(network, observation_space, n_actions)
    check_size(observation_space, n_actions)
    inputs, branches = _branches(observation_space, network, stack)
    features = branches[0] if len(branches) == 1 else _joined(branches)
    q_values = _head(n_actions, "advantages" if dueling else "q_values")(features)
    if dueling:
        value = _head(1, "value")(features)
        q_values = value + q_values - ops.mean(q_values, axis=1, keepdims=True)  # Wang et al. 2016, eq. 9
    return keras.Model(inputs, q_values, name=NAME)


def _head(units: int, name: str) -> layers.Dense:
    """The last layer. Its values start near 0: of random ones targets would take the greatest, and where rewards are
    rare, those fall slowly."""
    return layers.Dense(units, kernel_initializer=keras.initializers.VarianceScaling(FIRST_VALUES), name=name)


def _from_file(network: str, observation_space: gym.Space, n_actions: int) -> keras.Model:
    """Call a user's `function(observation_space, n_actions)`, and check the model that it returns."""
    path, _, function = network.rpartition(":")
    if not Path(path).is_file():
        raise InputError(f"--network {network}: there is no file {path} in {Path.cwd()}")
    try:
        module = runpy.run_path(path)
        if function not in module:
            functions = [name for name, value in module.items() if inspect.isfunction(value)]
            raise InputError(
                f"--network: {path} has no function {function}"
                f"{did_you_mean(function, functions) or '; it has ' + (', '.join(functions) or 'none')}"
            )
        model = module[function](observation_space, n_actions)
    except InputError:
        raise
    except (Exception, SystemExit) as error:  # user code may raise anything
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"--network {network} failed: {reason}") from error
    if not isinstance(model, keras.Model):
        raise InputError(f"--network {network} must return a keras.Model, got {type(model).__name__}")
    try:
        keras.saving.serialize_keras_object(model)
    except Exception as error:
        raise InputError(
            f"--network {network} makes a {type(model).__name__} that Keras cannot save: build it from layers with "
            f"keras.Model(inputs, outputs), or give it a get_config ({error})"
        ) from error
    batch = batch_of_one(example_observation(observation_space))
    try:
        q_values = np.asarray(model(batch))
    except Exception as error:
        needed = optree.tree_map(lambda array: f"{array.dtype} {(None, *array.shape[1:])}", batch)
        raise InputError(f"--network {network} does not take observations of {needed}: {error}") from error
    if q_values.shape != (1, n_actions) or q_values.dtype != np.float32:
        raise InputError(
            f"--network {network} must map to float32 (batch, {n_actions}), one value for each action; it maps a batch "
            f"of 1 to {q_values.dtype} {q_values.shape}"
        )
    return model


def _branches(space: gym.Space, network: str, stack: int, name: str = "") -> tuple[Any, list[keras.KerasTensor]]:
    """Make the inputs for observations of a space, in its structure, and the features (batch, n) of each array."""
    if isinstance(space, Dict | Tuple):
        named = dict(space.items() if isinstance(space, Dict) else enumerate(space))
        # Keras wants inputs of a dict to have the names of their keys.
        names = {key: part_name(name, key) for key in named}
        parts = {key: _branches(part, network, stack, names[key]) for key, part in named.items()}
        inputs = {key: part[0] for key, part in parts.items()}
        structure = inputs if isinstance(space, Dict) else tuple(inputs.values())
        return structure, [branch for part in parts.values() for branch in part[1]]
    example = example_observation(space)
    array = keras.Input(example.shape, dtype=example.dtype.name, name=name or "observation")
    return array, [_features(array, space, network, stack, name)]


def _joined(branches: list[keras.KerasTensor]) -> keras.KerasTensor:
    """Join the features of several branches, brought to one scale: else an unbounded number would dominate an image."""
    scaled = [layers.LayerNormalization()(branch) for branch in branches]
    return _dense(layers.Concatenate()(scaled), 256, n_layers=1)


def _features(inputs: keras.KerasTensor, space: gym.Space, network: str, stack: int, name: str) -> keras.KerasTensor:
    """Make the features (batch, n) of one array: vectors go through dense layers, images by their size."""
    dimensions = len(inputs.shape) - 1 - (stack > 1)
    if dimensions > 3:
        raise InputError(f"there is no network for observations of {space}: arrays may have 3 dimensions at most")
    is_image = dimensions == 3 or (dimensions == 2 and inputs.dtype == "uint8")
    if network == "tutorial" and not is_image:
        raise InputError(f"--network tutorial needs images, the observations are {space}")
    if isinstance(space, Discrete | MultiDiscrete):
        return _dense(_one_hot(inputs, space), 256)
    numbers = ops.cast(inputs, "float32")
    if isinstance(space, Box):
        are_pixels = is_image or inputs.dtype == "uint8"
        numbers = layers.Rescaling(_pixel_scale(space) if are_pixels else _vector_scale(space))(inputs)
    if not is_image:
        return _dense(layers.Flatten()(numbers), 256, normalized=True)
    pixels = _channels_last(numbers, stack)
    if network == "tutorial":
        return _tutorial(pixels)
    if max(pixels.shape[1:3]) > LARGEST_GRID:
        return _nature(pixels)
    board = layers.Flatten()(pixels) if network == "dense" else _grid(pixels, name)
    return _dense(board, 256, n_layers=3, normalized=True)


def _pixel_scale(space: Box) -> float:
    """The factor that brings pixels of any dtype to at most 1 in size, if the space bounds them."""
    largest = max(abs(float(space.low.min())), abs(float(space.high.max())))
    return 1 / largest if 0 < largest <= LARGEST_PIXEL else 1.0


def _vector_scale(space: Box) -> list[float]:
    """The factors that bring numbers of at most 1 in size to exactly 1, and leave larger ones.

    Small numbers would be lost beside larger ones (MountainCar's velocity is at most 0.07).
    """
    largest = np.maximum(np.abs(space.low.astype(float)), np.abs(space.high.astype(float)))
    return (1 / np.where((largest > 0) & (largest < 1), largest, 1)).tolist()


def _channels_last(images: keras.KerasTensor, stack: int) -> keras.KerasTensor:
    """From (batch, stack, h, w), (batch, stack, h, w, c), (batch, h, w) or (batch, h, w, c) to (batch, h, w, channels).

    Every stacked frame has channels of its own.
    """
    if stack > 1:
        images = ops.moveaxis(images, 1, 3)
    height, width = images.shape[1:3]
    return layers.Reshape((height, width, -1))(images)


def suits_xla(model: keras.Model) -> bool:
    """Whether XLA pays for a model.

    It fuses the many small operations around matrix products, but has no fast convolutions on a CPU, other than a
    board's small one. Large boards, which are pooled, gain nothing for the 170 MB that compiling takes. A user's own
    model may hold layers that it cannot compile.
    """
    return model.name == NAME and not _is_slow_in_xla(model)


def _is_slow_in_xla(layer: keras.Layer) -> bool:
    if isinstance(layer, keras.Model):
        return any(_is_slow_in_xla(part) for part in layer.layers)
    return isinstance(layer, layers.AveragePooling2D) or (isinstance(layer, layers.Conv2D) and layer.filters > FILTERS)


def batch_signature(observation_space: gym.Space) -> Any:
    """The TensorSpecs of observations in batches of any size, in the structure of `example_observation`."""
    example = example_observation(observation_space)
    return optree.tree_map(lambda array: tf.TensorSpec((None, *array.shape), array.dtype), example)


def mean_q_values(model: keras.Model, observations: Any, symmetries: Sequence[Symmetry]) -> tf.Tensor:
    """Average a network's Q-values, float32 (batch, n_actions), over all symmetric views of the observations.

    This is the function by which an agent acts; `environments.symmetry.mean_over_symmetries` says why, and is the same
    in NumPy.
    """
    if not symmetries:
        return model(observations)
    n_views, shape = len(symmetries), observations.shape[1:]
    views = [_view(tf.reshape(observations, (-1, shape.num_elements())), symmetry) for symmetry in symmetries]
    values = model(tf.reshape(tf.stack(views), (-1, *shape)))
    values = tf.unstack(tf.reshape(values, (n_views, -1, values.shape[1])))
    turned_back = [tf.gather(of_view, one.actions, axis=1) for of_view, one in zip(values, symmetries, strict=True)]
    return tf.reduce_mean(tf.stack(turned_back), axis=0)


def _view(numbers: tf.Tensor, symmetry: Symmetry) -> tf.Tensor:
    """`Symmetry.observations` of flattened observations (batch, numbers), in TensorFlow."""
    numbers = tf.gather(numbers, symmetry.places, axis=1)
    if symmetry.values is not None:
        numbers = tf.gather(tf.constant(symmetry.values, numbers.dtype), numbers)
    return numbers * tf.constant(symmetry.signs, numbers.dtype) if (symmetry.signs < 0).any() else numbers


def compile_q_values(
    model: keras.Model, observation_space: gym.Space, symmetries: Sequence[Symmetry] = (), in_bulk: bool = False
) -> QValues:
    """Compile `mean_q_values` for batches of any size, from arrays to float32 (batch, n_actions).

    Args:
        model: the network.
        observation_space: of one observation.
        symmetries: to average over.
        in_bulk: whether there are many batches of one size. XLA pays then, which compiles for each size anew.
    """
    function = tf.function(
        lambda observations: mean_q_values(model, observations, symmetries),
        input_signature=[batch_signature(observation_space)],
        jit_compile=in_bulk and suits_xla(model),
    ).get_concrete_function()  # its calls are checked less
    if not symmetries:
        return lambda observations: function(observations).numpy()
    return lambda observations: np.concatenate([function(part).numpy() for part in parts(observations)])


def _dense(features: keras.KerasTensor, units: int, n_layers: int = 2, normalized: bool = False) -> keras.KerasTensor:
    """Add dense layers with ReLUs.

    Normalized ones (Ba et al. 2016, "Layer normalization") ignore the scale of their input, and keep Q-values from
    running away (Gallici et al. 2025, "Simplifying deep temporal difference learning").
    """
    for _ in range(n_layers):
        features = layers.Dense(units, kernel_initializer="he_uniform")(features)
        features = layers.LayerNormalization()(features) if normalized else features
        features = layers.Activation("relu")(features)
    return features


def _one_hot(inputs: keras.KerasTensor, space: Discrete | MultiDiscrete) -> keras.KerasTensor:
    if isinstance(space, Discrete):
        return ops.one_hot(inputs - int(space.start), int(space.n))
    numbers, sizes, starts = layers.Flatten()(inputs), space.nvec.ravel().tolist(), space.start.ravel().tolist()
    return ops.concatenate([ops.one_hot(numbers[:, i] - starts[i], sizes[i]) for i in range(len(sizes))], axis=1)


def _grid(pixels: keras.KerasTensor, branch: str = "") -> keras.KerasTensor:
    """See a board piece by piece, and as it looks from the rows and columns that matter.

    On a large board, with too many pixels and offsets to learn each by itself, pieces are made of means of pixels,
    offsets are seen on a few scales, and only what is near as it is. From (batch, h, w, c) to (batch, features). Layers
    are named after the branch, if there are several.
    """
    coarseness = -(-max(pixels.shape[1:3]) // FINE)
    if coarseness == 1:
        return _joined_flat(_pieces(pixels), *_looks_along(1, pixels, branch), *_looks_along(2, pixels, branch))
    rows, columns = (_looks_along(axis, pixels, branch, is_large=True) for axis in (1, 2))
    pooled = layers.AveragePooling2D(coarseness, padding="same")(pixels)
    return _joined_flat(_pieces(pooled), *rows, *columns, _looks_around(pixels, rows.attention, columns.attention))


def _joined_flat(*features: keras.KerasTensor) -> keras.KerasTensor:
    return layers.Concatenate()([layers.Flatten()(feature) for feature in features])


def _pieces(pixels: keras.KerasTensor) -> keras.KerasTensor:
    """See pieces of 3x3 cells, around every second cell: from (batch, h, w, c) to (batch, h/2, w/2, filters)."""
    return layers.Conv2D(FILTERS, 3, 2, padding="same", activation="relu", kernel_initializer="he_uniform")(pixels)


class Looks(NamedTuple):
    """What the heads see along an axis: the sums (batch, n, c) of all lines, the attention (batch, heads, n) on them,
    and the lines at their offsets from the attended one (batch, heads, k * c)."""

    sums: keras.KerasTensor
    attention: keras.KerasTensor
    offsets: keras.KerasTensor


def _looks_along(axis: int, pixels: keras.KerasTensor, branch: str, is_large: bool = False) -> Looks:
    """See a board from the rows (axis 1) or columns (axis 2) that matter.

    The best action depends on where things lie relative to the player, and a dense layer on pixels would have to learn
    that for every cell separately. So each of `channels` heads scores every row by its sum over the columns, and a
    softmax turns the scores into attention. A head starts on the row where its own channel is brightest and learns
    where to look from there. It sees the sums of all rows, each at its offset from the attended one.
    """
    name = f"{branch}.{('rows', 'columns')[axis - 1]}".lstrip(".")
    channels = pixels.shape[3]
    lines = ops.sum(pixels, axis=3 - axis)
    scores = layers.Dense(channels, kernel_initializer="identity", name=f"{name}_scores")(lines) * SHARPNESS
    attention = layers.Softmax(name=f"{name}_attention")(layers.Permute((2, 1))(scores))
    offsets = _scaled_offsets(lines, name) if is_large else _offsets(lines)
    return Looks(lines, attention, ops.matmul(attention, offsets))


def _looks_around(pixels: keras.KerasTensor, rows: keras.KerasTensor, columns: keras.KerasTensor) -> keras.KerasTensor:
    """See the cells around the one that each head attends to, in its place.

    On a large board, the network would have to learn from scales what lies on the very next cell, and rarely sees it.

    Args:
        pixels: (batch, h, w, c).
        rows, columns: attention (batch, heads, h) and (batch, heads, w).

    Returns:
        (batch, heads, 5, 5 * c), the columns around it and in each the rows, 0 beyond the board's edge.
    """
    heads, side, (height, width, channels) = rows.shape[1], 2 * AROUND + 1, pixels.shape[1:]
    shifted = ops.reshape(_shifted(rows), (-1, heads * side, height))
    strips = ops.matmul(shifted, ops.reshape(pixels, (-1, height, width * channels)))  # the rows around it, whole
    strips = ops.transpose(ops.reshape(strips, (-1, heads, side, width, channels)), (0, 1, 3, 2, 4))
    return ops.matmul(_shifted(columns), ops.reshape(strips, (-1, heads, width, side * channels)))


def _shifted(attention: keras.KerasTensor) -> keras.KerasTensor:
    """Shift attention (batch, heads, n) by -2 to 2 lines: (batch, heads, 5, n)."""
    n = attention.shape[2]
    padded = ops.pad(attention, ((0, 0), (0, 0), (AROUND, AROUND)))
    return ops.stack([padded[:, :, 2 * AROUND - i : 2 * AROUND - i + n] for i in range(2 * AROUND + 1)], axis=2)


def _offsets(lines: keras.KerasTensor) -> keras.KerasTensor:
    """See all lines from each of them: from (batch, n, c) to (batch, n, (2n-1) * c).

    Element [:, i, d * c : (d + 1) * c] is the line at offset d - (n-1) from line i, and 0 beyond the board's edge.
    """
    n, channels = lines.shape[1:]
    padded = ops.pad(lines, ((0, 0), (n - 1, n - 1), (0, 0)))
    seen_from = np.arange(n)[:, None] + np.arange(2 * n - 1)
    return ops.reshape(ops.take(padded, seen_from.ravel(), axis=1), (-1, n, (2 * n - 1) * channels))


def _scaled_offsets(lines: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """See all lines from each of them on a large board: from (batch, n, c) to (batch, n, k * c).

    Instead of every offset, there are two numbers on each of `SCALES`: on which side a line is (-1 to 1), and how near
    (0 to 1). So anything learned about one offset holds for its neighbours too.
    """
    n, channels = lines.shape[1:]
    offsets = np.arange(n)[:, None] - np.arange(n)  # [j, i] of line j from line i
    side = np.clip(offsets[:, :, None] / SCALES[n > SCALES], -1, 1)
    looks = np.concatenate([side, 1 - np.abs(side)], axis=2)  # (n, n, k)
    # A layer that never learns: as weights, these numbers are not written out in the model's configuration.
    look = layers.Dense(looks[0].size, use_bias=False, trainable=False, name=f"{name}_looks")
    views = ops.reshape(look(layers.Permute((2, 1))(lines)), (-1, channels, *looks.shape[1:]))
    look.set_weights([looks.reshape(n, -1)])
    return ops.reshape(ops.transpose(views, (0, 2, 3, 1)), (-1, n, looks.shape[2] * channels))


def _tutorial(pixels: keras.KerasTensor) -> keras.KerasTensor:
    """The tutorial's two 256-filter convolutions; 614,281 parameters with nine actions on 10x10 images."""
    if min(pixels.shape[1:3]) < 10:
        raise InputError(f"--network tutorial needs images of at least 10x10, these are {pixels.shape[1:3]}")
    features = pixels
    for _ in range(2):
        features = layers.Conv2D(256, 3, activation="relu")(features)
        features = layers.MaxPooling2D(2)(features)
        features = layers.Dropout(0.2)(features)
    return layers.Dense(64)(layers.Flatten()(features))


def _nature(pixels: keras.KerasTensor) -> keras.KerasTensor:
    """The convolutions of Mnih et al. 2015, "Human-level control through deep reinforcement learning"."""
    if min(pixels.shape[1:3]) < 36:
        raise InputError(f"images of {pixels.shape[1:]} are too small: (height, width, channels), 36x36 at least")
    features = pixels
    for filters, kernel, stride in ((32, 8, 4), (64, 4, 2), (64, 3, 1)):
        features = layers.Conv2D(filters, kernel, stride, activation="relu")(features)
    return layers.Dense(512, activation="relu")(layers.Flatten()(features))
