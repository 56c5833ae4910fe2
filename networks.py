"""Q-networks: which Keras model fits which observation. All are made of stock layers, so that any Keras loads them."""

from __future__ import annotations

import functools
import inspect
import runpy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium as gym
import keras
import numpy as np
import optree
import tensorflow as tf
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Tuple
from keras import layers, ops

from blocks.board import FILTERS, see_board
from blocks.dense import dense, linear, one_hot
from blocks.heads import head
from config import Config
from console.errors import InputError
from console.nearest import did_you_mean
from console.tensorflow_import import check_keras
from environments.spaces import LARGEST_BOARD, QValues, batch_of_one, check_size, example_observation, part_name
from environments.symmetry import Symmetry, parts

NAME = "q_network"  # of all models made here, but not of a user's own
LARGEST_PIXEL = 2.0**16  # a wider bound says nothing of the pixels


class _Screen(NamedTuple):
    """How to see a screen: convolutions (filters, kernel, stride), units of the layer behind, and the least side."""

    convolutions: tuple[tuple[int, int, int], ...]
    units: int
    least: int


# Mnih et al. 2015, "Human-level control through deep reinforcement learning", and 2013, "Playing Atari with deep
# reinforcement learning".
NATURE = _Screen(((32, 8, 4), (64, 4, 2), (64, 3, 1)), 512, 36)
SMALL = _Screen(((16, 8, 4), (32, 4, 2)), 256, 20)
TINY = _Screen(((16, 4, 2), (32, 4, 2)), 256, 10)  # the same for half the side


class _Style(NamedTuple):
    """How all parts of a network are made: `network`, `stack` and `noisy` of `build_q_network`."""

    network: str
    stack: int
    noisy: bool


def build_q_network(
    observation_space: gym.Space,
    n_actions: int,
    network: str = Config.network,
    dueling: bool = Config.dueling,
    stack: int = Config.frame_stack,
    loss: str = Config.loss,
    noisy: bool = Config.noisy,
    v_max: float = Config.v_max,
) -> keras.Model:
    """Build the model that maps a batch of observations to Q-values.

    Args:
        observation_space: Box of shape (features,), (height, width) or (height, width, channels), Discrete,
            MultiDiscrete, MultiBinary, or a Dict or Tuple of those, each of which gets its own branch.
        n_actions: number of discrete actions.
        network: "auto" picks by the observation; "dense" treats small images as vectors; "small" and "tutorial" are
            fewer convolutions for screens, and the Blob tutorial's (images only); "FILE.py:FUNCTION" is a user's own.
        dueling: whether to estimate the observation's value and the actions' advantages apart (Wang et al. 2016).
        stack: frames stacked along the first axis of every array; 1 for none.
        loss: what the network is to learn, which decides how it ends (`blocks.heads`).
        noisy: whether its dense layers explore by noise (`blocks.dense.linear`).
        v_max: C51's returns lie between -v_max and v_max.

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
    inputs, branches = _branches(observation_space, _Style(network, stack, noisy))
    features = branches[0] if len(branches) == 1 else _joined(branches, noisy)
    return keras.Model(inputs, head(features, n_actions, loss, dueling, noisy, v_max), name=NAME)


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


def _branches(space: gym.Space, style: _Style, name: str = "") -> tuple[Any, list[keras.KerasTensor]]:
    """Make the inputs for observations of a space, in its structure, and the features (batch, n) of each array."""
    if isinstance(space, Dict | Tuple):
        named = dict(space.items() if isinstance(space, Dict) else enumerate(space))
        # Keras wants inputs of a dict to have the names of their keys.
        names = {key: part_name(name, key) for key in named}
        parts = {key: _branches(part, style, names[key]) for key, part in named.items()}
        inputs = {key: part[0] for key, part in parts.items()}
        structure = inputs if isinstance(space, Dict) else tuple(inputs.values())
        return structure, [branch for part in parts.values() for branch in part[1]]
    example = example_observation(space)
    array = keras.Input(example.shape, dtype=example.dtype.name, name=name or "observation")
    return array, [_features(array, space, style, name)]


def _joined(branches: list[keras.KerasTensor], noisy: bool) -> keras.KerasTensor:
    """Join the features of several branches, brought to one scale: else an unbounded number would dominate an image."""
    scaled = [layers.LayerNormalization()(branch) for branch in branches]
    return dense(layers.Concatenate()(scaled), 256, n_layers=1, noisy=noisy)


def _features(inputs: keras.KerasTensor, space: gym.Space, style: _Style, name: str) -> keras.KerasTensor:
    """Make the features (batch, n) of one array: vectors go through dense layers, images by their size."""
    network, stack, noisy = style
    dimensions = len(inputs.shape) - 1 - (stack > 1)
    if dimensions > 3:
        raise InputError(f"there is no network for observations of {space}: arrays may have 3 dimensions at most")
    is_image = dimensions == 3 or (dimensions == 2 and inputs.dtype == "uint8")
    if network in ("small", "tutorial") and not is_image:
        raise InputError(f"--network {network} needs images, the observations are {space}")
    if isinstance(space, Discrete | MultiDiscrete):
        return dense(one_hot(inputs, space), 256, noisy=noisy)
    numbers = ops.cast(inputs, "float32")
    if isinstance(space, Box):
        are_pixels = is_image or inputs.dtype == "uint8"
        numbers = layers.Rescaling(_pixel_scale(space) if are_pixels else _vector_scale(space))(inputs)
    if not is_image:
        return dense(layers.Flatten()(numbers), 256, normalized=True, noisy=noisy)
    pixels = _channels_last(numbers, stack)
    if network == "tutorial":
        return _tutorial(pixels, noisy)
    is_screen = max(pixels.shape[1:3]) > LARGEST_BOARD
    if network == "small":
        return _see_screen(pixels, SMALL if is_screen else TINY, noisy)
    if is_screen:
        return _see_screen(pixels, NATURE, noisy)
    board = layers.Flatten()(pixels) if network == "dense" else see_board(pixels, name)
    return dense(board, 256, n_layers=3, normalized=True, noisy=noisy)


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
    board's small one, nor fast random numbers. Large boards, which are pooled, gain nothing for the 170 MB that
    compiling takes. A user's own model may hold layers that it cannot compile.
    """
    return model.name == NAME and not _is_slow_in_xla(model) and _xla_compiles()


@functools.cache
def _xla_compiles() -> bool:
    """Whether XLA compiles for this device: for a GPU it needs CUDA's libdevice, which not every installation finds."""
    if not tf.config.list_logical_devices("GPU"):
        return True
    try:
        tf.function(tf.exp, jit_compile=True)(tf.zeros([1]))  # libdevice holds the exponential
    except tf.errors.OpError:
        return False
    return True


def _is_slow_in_xla(layer: keras.Layer) -> bool:
    if isinstance(layer, keras.Model):
        return any(_is_slow_in_xla(part) for part in layer.layers)
    if isinstance(layer, layers.AveragePooling2D | layers.GaussianNoise):
        return True
    return isinstance(layer, layers.Conv2D) and layer.filters > FILTERS


def batch_signature(observation_space: gym.Space) -> Any:
    """The TensorSpecs of observations in batches of any size, in the structure of `example_observation`."""
    example = example_observation(observation_space)
    return optree.tree_map(lambda array: tf.TensorSpec((None, *array.shape), array.dtype), example)


def mean_q_values(model: Callable[[Any], tf.Tensor], observations: Any, symmetries: Sequence[Symmetry]) -> tf.Tensor:
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
    model: keras.Model,
    observation_space: gym.Space,
    symmetries: Sequence[Symmetry] = (),
    in_bulk: bool = False,
    is_noisy: bool = False,
) -> QValues:
    """Compile `mean_q_values` for batches of any size, from arrays to float32 (batch, n_actions).

    Args:
        model: the network.
        observation_space: of one observation.
        symmetries: to average over.
        in_bulk: whether there are many batches of one size. XLA pays then, which compiles for each size anew.
        is_noisy: whether noisy layers have noise.
    """
    function = tf.function(
        lambda observations: mean_q_values(functools.partial(model, training=is_noisy), observations, symmetries),
        input_signature=[batch_signature(observation_space)],
        jit_compile=in_bulk and suits_xla(model),
    ).get_concrete_function()  # its calls are checked less
    if not symmetries:
        return lambda observations: function(observations).numpy()
    return lambda observations: np.concatenate([function(part).numpy() for part in parts(observations)])


def _tutorial(pixels: keras.KerasTensor, noisy: bool) -> keras.KerasTensor:
    """The tutorial's two 256-filter convolutions; 614,281 parameters with nine actions on 10x10 images."""
    if min(pixels.shape[1:3]) < 10:
        raise InputError(f"--network tutorial needs images of at least 10x10, these are {pixels.shape[1:3]}")
    features = pixels
    for _ in range(2):
        features = layers.Conv2D(256, 3, activation="relu")(features)
        features = layers.MaxPooling2D(2)(features)
        features = layers.Dropout(0.2)(features)
    return linear(layers.Flatten()(features), 64, noisy)


def _see_screen(pixels: keras.KerasTensor, screen: _Screen, noisy: bool) -> keras.KerasTensor:
    """See a screen by strided convolutions and a dense layer."""
    if min(pixels.shape[1:3]) < screen.least:
        shape, least = pixels.shape[1:], screen.least
        raise InputError(f"images of {shape} are too small: (height, width, channels), {least}x{least} at least")
    features = pixels
    for filters, kernel, stride in screen.convolutions:
        features = layers.Conv2D(filters, kernel, stride, activation="relu")(features)
    return layers.Activation("relu")(linear(layers.Flatten()(features), screen.units, noisy))
