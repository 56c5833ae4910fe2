"""Load a saved model: its environment and its Q-values."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import gymnasium as gym
import keras
import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from config import Config
from console.errors import InputError
from environments.known import symmetries_of
from environments.make import make_env
from environments.spaces import QValues
from environments.symmetry import mean_over_symmetries
from environments.table_rows import rows_of, table_shape
from storage.model_file import TABLE, WEIGHTS, SavedAgent, read_saved_agent
from storage.versions import versions, warn_of_versions


def make_saved_env(path: Path, saved: SavedAgent, render_mode: str | None = None) -> gym.Env:
    """Make the environment that the model in `path` was trained in.

    Raises:
        InputError: it cannot be made, or has other spaces now.
    """
    env = make_env(saved.config, render_mode)
    spaces = (str(env.observation_space), str(env.action_space))
    if spaces != (saved.observation_space, saved.action_space):
        raise InputError(
            f"{path} was made for observations {saved.observation_space} and actions "
            f"{saved.action_space}, but {saved.config.env} now has {spaces[0]} and {spaces[1]}"
        )
    of_no_matter = ("python", "platform", "numpy")  # in which it acts alike
    warn_of_versions(str(path), saved.versions, {k: v for k, v in versions().items() if k not in of_no_matter})
    return env


def load_network(path: Path, env: gym.Env, config: Config) -> keras.Model:
    """Build the network anew, as training did, and read its weights from the file, of which no code is run.

    Raises:
        InputError: the weights cannot be read, or are of another network.
    """
    import keras

    from networks import build_q_network

    n_actions = int(env.action_space.n)  # type: ignore[attr-defined]
    shape = env.observation_space, n_actions, config.network, config.dueling, config.frame_stack
    if ":" not in config.network:
        # First without memory for its weights: a file may name an environment whose network is far larger than itself.
        with keras.StatelessScope(initialize_variables=False):
            _read_weights(path, build_q_network(*shape))
        keras.utils.clear_session()
    model = build_q_network(*shape)
    set_saved_weights(path, model)
    return model


def set_saved_weights(path: Path, model: keras.Model) -> None:
    """Give a network the weights in a `.model` file.

    Raises:
        InputError: they cannot be read, or are of another network.
    """
    read_saved_agent(path, only_weights=True)
    for weight, array in zip(model.weights, _read_weights(path, model), strict=True):
        weight.assign(array)


def _read_weights(path: Path, model: keras.Model) -> list[np.ndarray]:
    """The weights in the file, compared with what the model needs."""
    try:
        with zipfile.ZipFile(path) as archive:
            named = safetensors.numpy.load(archive.read(WEIGHTS))
    except (SafetensorError, zipfile.BadZipFile, OSError, ValueError, KeyError) as error:
        raise InputError(f"{path} holds no weights that can be read ({error})") from error
    arrays = [named[name] for name in sorted(named)]
    found = [(array.dtype.name, array.shape) for array in arrays]
    needed = [(weight.dtype, tuple(weight.shape)) for weight in model.weights]
    if found != needed:
        raise InputError(f"{path} holds no weights for the network that the settings make: theirs have other shapes")
    return arrays


def load_q_values(path: Path, env: gym.Env, saved: SavedAgent) -> QValues:
    """The Q-values by which the saved agent acts: see `DQNAgent.q_values`.

    Raises:
        InputError: as `load_one_view`.
    """
    symmetries = symmetries_of(env) if saved.config.symmetries else ()
    return mean_over_symmetries(load_one_view(path, env, saved.config), symmetries)


def load_one_view(path: Path, env: gym.Env, config: Config) -> QValues:
    """What the saved network, compiled, or table says of observations as they are, not in the mean over all views.

    Raises:
        InputError: weights or table cannot be read, or are of another network or table.
    """
    if config.method == "dqn":
        from networks import compile_q_values

        return compile_q_values(load_network(path, env, config), env.observation_space)
    space: Any = env.observation_space
    table = _read_table(path, table_shape(space, env.action_space))
    return lambda observations: table[rows_of(observations, space)]


def _read_table(path: Path, shape: tuple[int, int]) -> np.ndarray:
    """The table in the file, float64 of this shape."""
    try:
        with zipfile.ZipFile(path) as archive, archive.open(TABLE) as file:
            np.lib.format.read_magic(file)
            found = np.lib.format.read_array_header_1_0(file)  # before room is made for what it says
            if found != (shape, False, np.dtype(float)):
                raise InputError(f"{path} holds no table for this environment: it is {found}, not float64 {shape}")
            return np.frombuffer(file.read(), float).reshape(shape)
    except (zipfile.BadZipFile, OSError, ValueError, KeyError, SyntaxError, EOFError) as error:
        raise InputError(f"{path} holds no table that can be read ({error})") from error
