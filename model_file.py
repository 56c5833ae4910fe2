"""`.model` files: a Keras archive with two members more, and `.npz` files of tables, read so that no stranger's file
can do harm.

`agent.json` says how and where the model plays, `weights.safetensors` holds the weights once more, in a format that is
safe to read; Keras's own members are for other programs. Nothing is compressed, so no file is larger than it looks, and
the archive's comment, the file's last 64 bytes, is the SHA-256 of all before it.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import platform
import shlex
import stat
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium as gym
import numpy as np
import psutil
import safetensors.numpy
from safetensors import SafetensorError

from config import Config
from environments import foreign_parts, make_env, published_symmetries
from spaces import QValues, rows_of, table_shape
from startup import InputError, one_line
from symmetry import mean_over_views

if TYPE_CHECKING:
    import keras  # which only loading a network needs: what is wrong with a file should show sooner

MEMBER = "agent.json"
WEIGHTS = "weights.safetensors"
KERAS_MEMBERS = {"metadata.json", "config.json", "model.weights.h5"}
TABLE = "table.npy"
LARGEST_JSON = 1_000_000  # bytes
PIECE = 2**24  # bytes
DIGEST_SIZE = 64  # hexadecimal digits of SHA-256


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
    with written_whole(path, ".keras") as temporary:  # Keras insists on its own suffix
        model.save(temporary)
        weights = {f"{i:04}": weight.numpy() for i, weight in enumerate(model.weights)}
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(WEIGHTS, safetensors.numpy.save(weights))
            _finish(archive, saved)
        seal(temporary)


def save_table(path: Path, table: np.ndarray, saved: SavedAgent) -> None:
    """Write a table of Q-values (states, n_actions) as an `.npz` file, in which `numpy.load` finds it as "table";
    otherwise as `save_model`."""
    with written_whole(path, ".npz") as temporary:
        np.savez(temporary, table=table)
        with zipfile.ZipFile(temporary, "a") as archive:
            _finish(archive, saved)
        seal(temporary)


def suffix(config: Config) -> str:
    """The ending of the files in which agents with these settings are saved."""
    return ".model" if config.method == "dqn" else ".npz"


def _finish(archive: zipfile.ZipFile, saved: SavedAgent) -> None:
    """Add what stands beside the network or table, and room for the digest."""
    archive.writestr(MEMBER, json.dumps(asdict(saved), indent=1))
    archive.comment = bytes(DIGEST_SIZE)


def seal(path: Path) -> None:
    """Write the digest of an archive into its comment, which must be `DIGEST_SIZE` long already."""
    digest, left = hashlib.sha256(), path.stat().st_size - DIGEST_SIZE
    with path.open("rb+") as file:  # in pieces: a table may fill half of the memory
        while left:
            digest.update(piece := file.read(min(left, PIECE)))
            left -= len(piece)
        file.seek(-DIGEST_SIZE, os.SEEK_END)
        file.write(digest.hexdigest().encode())


@contextlib.contextmanager
def written_whole(path: Path, suffix: str = ".part") -> Iterator[Path]:
    """A file is written whole or not at all: gives a temporary path beside it, which takes its place once the block
    ends and the disk has it.

    Raises:
        OSError: it cannot be written; what was at `path` is still there.
    """
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=suffix, delete=False) as file:
        temporary = Path(file.name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())  # a temporary file is born readable by its owner alone
        os.replace(temporary, path)  # atomic within a folder
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Let the disk have the folder's entries too, or a power cut may undo the renaming."""
    if os.name == "posix":  # Windows opens no folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def read_saved_agent(path: Path, repeated: Mapping[str, Any] | None = None, only_weights: bool = False) -> SavedAgent:
    """Read what stands beside the network; needs no TensorFlow.

    Args:
        path: the file.
        repeated: settings that the user gave on the command line. What of the file's settings would run code or open
            files that are not this project's is refused unless it is among them.
        only_weights: whether none of that will be used.

    Raises:
        InputError: there is no such file, it is damaged or not one of ours, or it names what the user did not repeat.
    """
    if not path.is_file():
        raise InputError(f"there is no model file {path}")
    if (size := path.stat().st_size) > psutil.virtual_memory().available:
        raise InputError(f"{path} has {size:,} bytes, more than this machine's free memory")
    try:
        content = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _check_members(path, archive, len(content))
            if hashlib.sha256(memoryview(content)[:-DIGEST_SIZE]).hexdigest().encode() != content[-DIGEST_SIZE:]:
                raise InputError(f"{path} is damaged: train again or use another")
            values: dict[str, Any] = json.loads(archive.read(MEMBER))
    except InputError:
        raise
    except Exception as error:  # zipfile raises all kinds for what is wrong inside
        raise InputError(f"{path} is not a whole .model file ({error}): train again or use another") from error
    try:
        saved = SavedAgent(**{**values, "config": Config(**values["config"])})
        texts = {**saved.versions, "observation": saved.observation_space, "action": saved.action_space}
        if not all(isinstance(text, str) for text in texts.values()):
            raise TypeError("versions and spaces must be texts")
    except (TypeError, KeyError, InputError) as error:
        raise InputError(f"{path} was not made by this version ({error})") from error
    if not only_weights:
        check_trusted(path, saved.config, repeated or {})
    return saved


def _check_members(path: Path, archive: zipfile.ZipFile, size: int) -> None:
    """Raise InputError unless the archive, of `size` bytes, holds plain files of the right names, each once, that are
    as large as they say."""
    members = archive.infolist()
    names = [member.filename for member in members]
    needed = {MEMBER, TABLE} if TABLE in names else {MEMBER, WEIGHTS, *KERAS_MEMBERS}
    if set(names) != needed or len(set(names)) < len(names):
        missing, others = needed - set(names), set(names) - needed
        wrong = [f"it has no {name}" for name in sorted(missing)] + [f"it has {name!r}" for name in sorted(others)]
        raise InputError(f"{path} is not a .model file of this version ({wrong[0] if wrong else 'names twice'})")
    plain = all(
        member.compress_type == zipfile.ZIP_STORED
        and member.compress_size == member.file_size
        and not stat.S_ISLNK(member.external_attr >> 16)
        for member in members
    )
    if not plain or sum(member.file_size for member in members) > size:
        raise InputError(f"{path} is not a .model file of this version (its members are packed, linked or overlap)")
    if archive.getinfo(MEMBER).file_size > LARGEST_JSON:
        raise InputError(f"{path} is not a .model file of this version (its {MEMBER} is too large)")


def check_trusted(path: Path, config: Config, repeated: Mapping[str, Any]) -> None:
    """Refuse code and paths that a file names, unless the user has named them too, and others than the file's.

    Raises:
        InputError: the settings of the file at `path` name some that are not in `repeated`, or have others.
    """
    if any(repeated.get(setting) != value for setting, value in foreign_parts(config).items()):
        raise InputError(
            f"{path} names code or a path of its own. If you trust it, repeat it: {flags_to_repeat(config)}"
        )
    for setting, own in (("env", config.env), ("network", config.network)):
        if repeated.get(setting) not in (None, own):
            raise InputError(f"{path} was made with --{setting} {own}, which cannot change: leave it out")
    if any(item not in config.env_args.items() for item in repeated.get("env_args", {}).items()):
        raise InputError(f"{path} was made with --env-args {config.env_args}, which cannot change: leave them out")


def flags_to_repeat(config: Config) -> str:
    """The flags that a script needs beside a file with these settings; empty for none."""
    flags = []
    for setting, value in foreign_parts(config).items():
        texts = [f"{k}={v}" for k, v in value.items()] if isinstance(value, dict) else [value]
        flags += [f"--{setting.replace('_', '-')}", *map(shlex.quote, texts)]
    return " ".join(flags)


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
    symmetries = published_symmetries(env) if saved.config.symmetries else ()
    return mean_over_views(load_one_view(path, env, saved.config), symmetries)


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


def versions() -> dict[str, str]:
    """Of the packages that shape a model or make its environment, of Python, and the platform."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in ("tensorflow", "keras", "gymnasium", "numpy", "ale-py", "vizdoom", "box2d"):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def warn_of_versions(what: str, then: Mapping[str, Any], now: Mapping[str, str]) -> None:
    """Say on standard error which versions are not those that something was made with."""
    for package in now:
        if then.get(package, now[package]) != now[package]:
            text = f"{what} was made with {package} {then[package]}, this is {now[package]}: numbers may differ"
            print(f"warning: {one_line(text)}", file=sys.stderr)
