"""Make a saved model play again: its environment, its network, its Q-values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np

from console.errors import InputError
from console.tensorflow_import import import_tensorflow
from environments.known import symmetries_of
from environments.make import make_env
from environments.spaces import QValues
from environments.symmetry import mean_over_symmetries
from environments.table_rows import count_states, rows_of
from storage.model_file import SavedModel
from storage.versions import versions, warn_of_versions

if TYPE_CHECKING:
    import keras  # takes seconds to import, and what is wrong with an environment should show before that

HARMLESS = ("python", "platform", "numpy")  # versions that do not change how a model acts


def make_saved_env(saved: SavedModel, render_mode: str | None = None) -> gym.Env:
    """Make the environment that a model was trained in. Warns of packages whose version differs.

    Raises:
        InputError: it cannot be made, or its spaces have changed.
    """
    info = saved.info
    env = make_env(info.config, render_mode)
    try:
        check_spaces(saved, env, f"{info.config.env} now")
    except InputError:
        env.close()
        raise
    now = {package: version for package, version in versions().items() if package not in HARMLESS}
    warn_of_versions(str(saved.path), info.versions, now)
    return env


def check_spaces(saved: SavedModel, env: gym.Env, name: str) -> None:
    """Check that a model was made for an environment's observations and actions.

    Args:
        saved: the model.
        env: the environment.
        name: of the environment, for the message.

    Raises:
        InputError: it was made for others.
    """
    info, spaces = saved.info, (str(env.observation_space), str(env.action_space))
    if spaces != (info.observation_space, info.action_space):
        raise InputError(
            f"{saved.path} was made for observations {info.observation_space} and actions {info.action_space}, but "
            f"{name} has {spaces[0]} and {spaces[1]}"
        )


def load_network(saved: SavedModel, env: gym.Env) -> keras.Model:
    """Build a network as training did and set the saved weights. Runs no code from the file.

    Args:
        saved: the model.
        env: its environment, from `make_saved_env`.

    Raises:
        InputError: the weights are of another network.
    """
    import keras

    from networks import build_q_network

    config, n_actions = saved.info.config, int(env.action_space.n)  # type: ignore[attr-defined]
    space, settings = env.observation_space, config.network_settings()
    if ":" not in config.network:
        # First without memory for its weights: a file may name an environment whose network is far larger than itself.
        with keras.StatelessScope(initialize_variables=False):
            _check_weights(saved, build_q_network(space, n_actions, **settings))
        keras.utils.clear_session()
    model = build_q_network(space, n_actions, **settings)
    set_weights(saved, model)
    return model


def set_weights(saved: SavedModel, model: keras.Model) -> None:
    """Give a network the saved weights.

    Raises:
        InputError: they are of another network.
    """
    _check_weights(saved, model)
    for weight, array in zip(model.weights, saved.arrays, strict=True):
        weight.assign(array)


def _check_weights(saved: SavedModel, model: keras.Model) -> None:
    found = [(array.dtype.name, array.shape) for array in saved.arrays]
    if found != [(weight.dtype, tuple(weight.shape)) for weight in model.weights]:
        raise InputError(f"{saved.path} holds no weights for the network that the settings make: the shapes differ")


def load_q_values(saved: SavedModel, env: gym.Env, averaged: bool = True, in_bulk: bool = False) -> QValues:
    """Return the Q-values by which a saved agent acts: the mean over all symmetries, if it was trained with them.

    Args:
        saved: the model.
        env: its environment.
        averaged: False for the Q-values of observations as they are.
        in_bulk: whether there are many batches of one size.

    Raises:
        InputError: the weights are of another network, or the table is of another environment.
    """
    symmetries = symmetries_of(env) if averaged and saved.info.config.symmetries else ()
    if saved.info.config.method == "dqn":
        import_tensorflow()  # only now, so that a mistake shows first
        from networks import compile_q_values

        return compile_q_values(load_network(saved, env), env.observation_space, symmetries, in_bulk)
    space: Any = env.observation_space
    table = _table(saved, (count_states(space), int(env.action_space.n)))  # type: ignore[attr-defined]
    # The views of a table may differ: where lanes meet in one pair, the last one counts.
    return mean_over_symmetries(lambda observations: table[rows_of(observations, space)], symmetries)


def _table(saved: SavedModel, shape: tuple[int, int]) -> np.ndarray:
    """Return the table, float64 of this shape."""
    found = [(array.dtype, array.shape) for array in saved.arrays]
    if found != [(np.dtype(float), shape)] or not saved.arrays[0].flags.c_contiguous:
        raise InputError(f"{saved.path} holds no table for this environment, which needs float64 {shape}")
    return saved.arrays[0]
