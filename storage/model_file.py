"""`.model` files: a Keras archive with two members more, and `.npz` files of tables, read so that no stranger's file
can do harm.

`agent.json` says how and where the model plays, `weights.safetensors` holds the weights once more, in a format that is
safe to read; Keras's own members are for other programs. Nothing is compressed, so no file is larger than it looks, and
the archive's comment, the file's last 64 bytes, is the SHA-256 of all before it.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import psutil
import safetensors.numpy

from config import Config
from console.errors import InputError
from storage.atomic import atomic_write
from storage.trust import check_trusted

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


ModelInfo = SavedAgent


def save_model(path: Path, model: keras.Model, saved: SavedAgent) -> None:
    """Write a `.model` file, whole or not at all: a reader never sees half of one.

    Raises:
        OSError: it cannot be written; what was at `path` is still there.
    """
    with atomic_write(path, ".keras") as temporary:  # Keras insists on its own suffix
        model.save(temporary)
        weights = {f"{i:04}": weight.numpy() for i, weight in enumerate(model.weights)}
        with zipfile.ZipFile(temporary, "a") as archive:
            archive.writestr(WEIGHTS, safetensors.numpy.save(weights))
            _finish(archive, saved)
        seal(temporary)


def save_table(path: Path, table: np.ndarray, saved: SavedAgent) -> None:
    """Write a table of Q-values (states, n_actions) as an `.npz` file, in which `numpy.load` finds it as "table";
    otherwise as `save_model`."""
    with atomic_write(path, ".npz") as temporary:
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
