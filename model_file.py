"""`.model` files: a Keras archive with one member more, `agent.json`, which says how and where the model plays."""

from __future__ import annotations

import json
import os
import tempfile
import warnings
import zipfile
import zlib
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym

from config import Config
from environments import make_env, published_symmetries
from startup import InputError
from symmetry import QValues, mean_over_views

if TYPE_CHECKING:
    import keras  # which only loading a network needs: what is wrong with a file should show sooner

MEMBER = "agent.json"
WEIGHTS = "model.weights.h5"  # where Keras keeps them in its archives


@dataclass(frozen=True)
class SavedAgent:
    """What stands beside the network in a `.model` file.

    Attributes:
        config: the settings of the run.
        observation_space, action_space: the spaces' text, to be compared with those of the environment made again.
        episode: episodes played when it was saved.
        scores: "avg", "min" and "max" return: of greedy play for a best model, of the last window for a last one.
        versions: of the packages it was made with.
    """

    config: Config
    observation_space: str
    action_space: str
    episode: int
    scores: dict[str, float]
    versions: dict[str, str]


def save_model(path: Path, model: keras.Model, saved: SavedAgent) -> None:
    """Write a `.model` file, whole or not at all: a reader never sees half of one.

    Raises:
        OSError: it cannot be written; what was at `path` is still there.
    """
    # Keras insists on its own suffix; renaming within one folder is atomic.
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".keras", delete=False) as file:
        temporary = Path(file.name)
    try:
        model.save(temporary)
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(MEMBER, json.dumps(asdict(saved), indent=1))
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())  # a temporary file is born readable by its owner alone
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def read_saved_agent(path: Path) -> SavedAgent:
    """Read what stands beside the network; needs no TensorFlow.

    Raises:
        InputError: there is no such file, or it is damaged or not one of ours.
    """
    if not path.is_file():
        raise InputError(f"there is no model file {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            values: dict[str, Any] = json.loads(archive.read(MEMBER))
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, KeyError, RuntimeError) as error:
        raise InputError(f"{path} is not a whole .model file ({error}): train again or use another") from error
    if damaged:
        raise InputError(f"{path} is damaged (its member {damaged}): train again or use another")
    try:
        return SavedAgent(**{**values, "config": Config(**values["config"])})
    except (TypeError, KeyError, InputError) as error:
        raise InputError(f"{path} was not made by this version ({error})") from error


def make_saved_env(path: Path, saved: SavedAgent, render_mode: str | None = None) -> gym.Env:
    """Make the environment that the model in `path` was trained in.

    Raises:
        InputError: it cannot be made, or has other spaces now.
    """
    env = make_env(saved.config, render_mode)
    spaces = (str(env.observation_space), str(env.action_space))
    if spaces != (saved.observation_space, saved.action_space):
        raise InputError(
            f"{path} was made for observations {saved.observation_space} and actions {saved.action_space}, "
            f"but {saved.config.env} now has {spaces[0]} and {spaces[1]}"
        )
    return env


def load_network(path: Path, env: gym.Env, config: Config) -> keras.Model:
    """Build the network anew, as training did, and read its weights from the file, of which no code is run.

    Raises:
        InputError: the weights cannot be read, or are of another network.
    """
    from networks import build_q_network

    n_actions = int(env.action_space.n)  # type: ignore[attr-defined]
    model = build_q_network(env.observation_space, n_actions, config.network, config.dueling, config.frame_stack)
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path) as archive, warnings.catch_warnings():
        warnings.simplefilter("error")  # Keras only warns of weights that are missing
        try:
            model.load_weights(archive.extract(WEIGHTS, folder))
        except Exception as error:  # Keras raises all kinds for what is wrong inside
            raise InputError(
                f"{path} holds no weights for the network that --network {config.network} makes: {error}"
            ) from error
    return model


def load_q_values(path: Path, env: gym.Env, saved: SavedAgent) -> QValues:
    """The Q-values by which the saved agent acts, compiled: see `DQNAgent.q_values`.

    Raises:
        InputError: as `load_network`.
    """
    from networks import compile_q_values

    symmetries = published_symmetries(env) if saved.config.symmetries else ()
    q_values = compile_q_values(load_network(path, env, saved.config), env.observation_space)
    return mean_over_views(q_values, symmetries)


def package_versions() -> dict[str, str]:
    """The versions of the packages that shape a model."""
    return {package: version(package) for package in ("tensorflow", "keras", "gymnasium", "numpy")}
