"""`.model` and `.npz` files: written whole, read once, and checked so that a stranger's file can do no harm.

A `.model` file is a Keras archive with two more members: `agent.json` says how and where the model plays, and
`weights.safetensors` holds the weights again, in a format that is safe to read. Keras's own members are for other
programs. An `.npz` file holds a table and `agent.json`. No member is compressed, so a file cannot grow when it is read.
The archive's comment, the last 64 bytes of the file, is the SHA-256 of everything before it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import safetensors.numpy

from config import Config
from console.errors import InputError
from storage.atomic import atomic_write
from storage.trust import check_trusted

if TYPE_CHECKING:
    import keras  # takes seconds to import, and a mistake in a file should show before that

SHIPPED_MODEL = Path(__file__).parent.parent / "models" / "blob.model"  # comes with the project
KINDS = ("best", "last")  # of a run's models: the names of their files
OTHERS = (".keras", ".h5", ".hdf5", ".onnx", ".tflite")  # endings of other programs' models
MEMBER = "agent.json"
WEIGHTS = "weights.safetensors"
KERAS_MEMBERS = {"metadata.json", "config.json", "model.weights.h5"}
TABLE = "table.npy"
LARGEST_JSON = 1_000_000  # bytes
LARGEST_TABLE_HEADER = 10 + 2**16  # bytes, in NumPy's format 1.0
PIECE = 2**24  # bytes
LOCAL_HEADER = 30  # bytes that stand before a member's name and data in a ZIP archive
DIGEST_SIZE = 64  # hexadecimal digits of SHA-256


@dataclass(frozen=True)
class ModelInfo:
    """How and where a saved model plays: the member `agent.json`.

    Attributes:
        config: the settings of the run.
        observation_space, action_space: the spaces as text, to compare with those of the environment today.
        episode: episodes played when the model was saved.
        scores: "avg", "min" and "max" return: of greedy play for a best model, of the last window for a last one.
        versions: of the packages it was made with.
    """

    config: Config
    observation_space: str
    action_space: str
    episode: int
    scores: dict[str, float]
    versions: dict[str, str]


@dataclass(frozen=True, eq=False)
class SavedModel:
    """The verified content of a model file, read once. Everything that loads a model takes this, never the path.

    Attributes:
        path: the file, for messages.
        info: how and where the model plays.
        arrays: the network's weights in order, or only the table (states, n_actions). They are read-only.
    """

    path: Path
    info: ModelInfo
    arrays: tuple[np.ndarray, ...]

    @property
    def run(self) -> str:
        """The name of the run whose best or last model it is; "" for a file elsewhere."""
        path = self.path.resolve()
        return path.parent.name if path.stem in KINDS else ""


def save_model(path: Path, model: keras.Model, info: ModelInfo) -> None:
    """Write a `.model` file, whole or not at all.

    Raises:
        OSError: the file cannot be written; the old one at `path` is still there.
    """
    with atomic_write(path, ".keras") as temporary:  # Keras insists on its own suffix
        _without_optimizer(model).save(temporary)
        weights = {f"{i:04}": weight.numpy() for i, weight in enumerate(model.weights)}
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(WEIGHTS, safetensors.numpy.save(weights))
            _finish(archive, info)
        seal(temporary)


def _without_optimizer(model: keras.Model) -> keras.Model:
    """Return a model of the same layers that was never compiled: Adam's state would triple the file's size."""
    import keras

    try:
        return keras.Model(model.input, model.output, name=model.name)
    except AttributeError:  # a user's own class may have no inputs and outputs as such
        return model


def save_table(path: Path, table: np.ndarray, info: ModelInfo) -> None:
    """Write a table of Q-values (states, n_actions) as an `.npz` file, whole or not at all.

    `numpy.load` finds it there as "table".

    Raises:
        OSError: as `save_model`.
    """
    with atomic_write(path, ".npz") as temporary:
        np.savez(temporary, table=table)
        with zipfile.ZipFile(temporary, "a") as archive:
            _finish(archive, info)
        seal(temporary)


def suffix(config: Config) -> str:
    """Return the ending of model files with these settings."""
    return ".model" if config.method == "dqn" else ".npz"


def _finish(archive: zipfile.ZipFile, info: ModelInfo) -> None:
    """Add `agent.json`, and room for the digest."""
    archive.writestr(MEMBER, json.dumps(asdict(info), indent=1))
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


def read_model(path: Path, trusted: Mapping[str, Any] | None = None, only_weights: bool = False) -> SavedModel:
    """Read and verify a model file. Does not need TensorFlow.

    Args:
        path: the file.
        trusted: the settings that the user gave on the command line, as `check_trusted` takes them.
        only_weights: whether only the arrays will be used, so that the settings need no trust.

    Raises:
        InputError: there is no such file, it is damaged or not one of ours, or it names code or paths that the user
            does not trust.
    """
    if not path.is_file():
        raise InputError(f"there is no model file {path}")
    if path.suffix in OTHERS:
        raise InputError(f"{path} is no .model file: it holds a model, but not how and where it plays")
    if (size := path.stat().st_size) > psutil.virtual_memory().available:
        raise InputError(f"{path} has {size:,} bytes, more than this machine's free memory")
    try:
        members = _read_members(path)
        values = json.loads(bytes(members[MEMBER]))
    except InputError:
        raise
    except Exception as error:  # zipfile raises exceptions of all kinds for a malformed archive
        raise InputError(f"{path} is not a whole .model file ({error}): train again or use another") from error
    info = _info_from(path, values)
    if not only_weights:
        check_trusted(path, info.config, trusted or {})
    return SavedModel(path, info, _decode_arrays(path, members))


def _read_members(path: Path) -> dict[str, memoryview]:
    """Read a file and verify it as a whole. Returns the members that we read, as views of its bytes."""
    content = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        _check_members(path, archive, len(content))
        if hashlib.sha256(memoryview(content)[:-DIGEST_SIZE]).hexdigest().encode() != content[-DIGEST_SIZE:]:
            raise InputError(f"{path} is damaged: train again or use another")
        ours = [member for member in archive.infolist() if member.filename in (MEMBER, WEIGHTS, TABLE)]
        return {member.filename: _view_member(content, archive, member) for member in ours}


def _check_members(path: Path, archive: zipfile.ZipFile, size: int) -> None:
    """Check that an archive of `size` bytes holds the right members, each once, plain and as large as they say.

    Raises:
        InputError: it does not.
    """
    members = archive.infolist()
    names = [member.filename for member in members]
    needed = {MEMBER, TABLE} if TABLE in names else {MEMBER, WEIGHTS, *KERAS_MEMBERS}
    if set(names) != needed or len(set(names)) < len(names):
        missing, others = needed - set(names), set(names) - needed
        wrong = [f"it has no {name}" for name in sorted(missing)] + [f"it has {name!r}" for name in sorted(others)]
        reason = wrong[0] if wrong else "a name occurs twice"
        raise InputError(f"{path} is not a .model file of this version ({reason})")
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


def _view_member(content: bytes, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> memoryview:
    """Return the bytes of a stored member without copying them: a table may fill half of the memory."""
    archive.open(member).close()  # compares the member's own header with the archive's directory
    name_size, extra_size = struct.unpack_from("<HH", content, member.header_offset + 26)
    start = member.header_offset + LOCAL_HEADER + name_size + extra_size
    data = memoryview(content)[start : start + member.file_size]
    if zlib.crc32(data) != member.CRC:
        raise zipfile.BadZipFile(f"{member.filename} has another checksum")
    return data


def _info_from(path: Path, values: Any) -> ModelInfo:
    """Check and convert the JSON of `agent.json`.

    Raises:
        InputError: it does not hold the settings of this version.
    """
    try:
        info = ModelInfo(**{**values, "config": Config(**values["config"])})
        texts = {**info.versions, "observation": info.observation_space, "action": info.action_space}
        if not all(isinstance(text, str) for text in texts.values()):
            raise TypeError("versions and spaces must be texts")
    except (TypeError, KeyError, InputError) as error:
        raise InputError(f"{path} was not made by this version ({error})") from error
    return info


def _decode_arrays(path: Path, members: Mapping[str, memoryview]) -> tuple[np.ndarray, ...]:
    """Decode the table, as a view, or the weights, in order.

    Raises:
        InputError: they cannot be decoded.
    """
    kind = "table" if TABLE in members else "weights"
    try:
        if TABLE in members:
            return (_decode_table(members[TABLE]),)
        weights = safetensors.numpy.load(bytes(members[WEIGHTS]))
        return tuple(weights[name] for name in sorted(weights))
    except Exception as error:  # NumPy's parser raises exceptions of all kinds for a malformed header
        raise InputError(f"{path} holds no {kind} that can be read ({error})") from error


def _decode_table(data: memoryview) -> np.ndarray:
    """View an array in NumPy's format. Shape and dtype are checked against the size of the data, never trusted."""
    file = io.BytesIO(data[:LARGEST_TABLE_HEADER])
    np.lib.format.read_magic(file)
    shape, fortran_order, dtype = np.lib.format.read_array_header_1_0(file)
    return np.frombuffer(data[file.tell() :], dtype).reshape(shape, order="F" if fortran_order else "C")
