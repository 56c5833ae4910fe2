"""Checkpoints: files from which a run goes on exactly. None can be torn, and a damaged one is told from a whole one.

A checkpoint is a manifest, `checkpoint-STEPS.json`, and the files that it names with their SHA-256: one with all arrays
of the state, and the segments of the replay memory. A segment holds what was appended between two checkpoints, so no
transition is written anew, however large the memory; as every later checkpoint needs it, it is written twice, in case
one copy is damaged. A manifest is written last, so what it names is there.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import safetensors.numpy
from safetensors import SafetensorError

from console.errors import InputError
from console.messages import one_line
from replay_memory import ReplayMemory
from storage.atomic import atomic_write

KEPT = 2  # manifests: if the newest is damaged, there is the one before


LARGEST_MANIFEST = 8_000_000  # bytes


_MANIFEST = re.compile(r"checkpoint-(\d{12,18})\.json")


_FILE = re.compile(r"(state|steps)-[0-9-]+\.safetensors")


_COPY = "copy-of-"


_OURS = re.compile(rf"{_MANIFEST.pattern}|({_COPY})?{_FILE.pattern}|\..*\.part")  # what may be deleted


class DamagedError(Exception):
    """A checkpoint is not as it was written; the message says what is wrong."""


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: where they lie; made when the first is written.
        memory: the run's replay memory, whose new steps go with every checkpoint.
    """

    def __init__(self, folder: Path, memory: ReplayMemory) -> None:
        self.folder = folder
        self._memory = memory
        self._segments: list[dict[str, Any]] = []
        self._saved_steps = 0  # steps of the memory that are in segments
        self._newest: int | None = None

    def write(self, number: int, state: Any) -> None:
        """Write a checkpoint and delete what only older ones need.

        Args:
            number: of the steps so far; higher in every next checkpoint.
            state: dicts and lists of arrays, numbers and texts.

        Raises:
            OSError: it cannot be written; the older ones are still there, and nothing of it.
        """
        if number == self._newest:
            return
        try:
            self._write(number, state)
        finally:
            with contextlib.suppress(OSError):
                self._delete_old()

    def _write(self, number: int, state: Any) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        memory = self._memory
        if memory is None:
            class M: steps=0; oldest=0
            memory = M()
        segments = [segment for segment in self._segments if segment["end"] > memory.oldest]
        if not all((self.folder / segment["file"]).is_file() for segment in segments):
            segments, self._saved_steps = [], 0  # somebody deleted them, but the memory still has it all
        first = max(self._saved_steps, memory.oldest)
        if memory is not None and memory.steps > first:
            name = f"steps-{first:012}-{memory.steps:012}"
            file = self._write_arrays(name, memory.get_steps(first), copies=["", _COPY])
            segments.append({"end": memory.steps, **file})
        arrays: dict[str, np.ndarray] = {}
        rest = _split_arrays(state, "state", arrays)
        manifest = {"state": rest, "arrays": self._write_arrays(f"state-{number:012}", arrays), "segments": segments}
        text = json.dumps(manifest)
        with atomic_write(_manifest_path(self.folder, number)) as path:
            path.write_bytes(f"{_digest(text.encode())}\n{text}".encode())  # not as text: Windows has other line ends
        self._segments, self._saved_steps, self._newest = segments, memory.steps, number

    def read_newest(self):
        number, state = newest_intact(self)
        class C: pass
        c=C(); c.number, c.state = number, state
        c.take_segments = lambda: self.segments(number)
        return c

    def rewrite_newest_step(self) -> None:
        """Let the next checkpoint hold the memory's newest step once more: it was changed since."""
        self._saved_steps -= 1

    def _write_arrays(self, name: str, arrays: dict[str, np.ndarray], copies: Sequence[str] = ("",)) -> dict[str, str]:
        data = safetensors.numpy.save({key: np.asarray(array, order="C") for key, array in arrays.items()})
        for copy in copies:
            with atomic_write(self.folder / f"{copy}{name}.safetensors") as path:
                path.write_bytes(data)
        return {"file": f"{name}.safetensors", "sha256": _digest(data)}

    def _delete_old(self) -> None:
        needed: set[str] = set()
        for number in checkpoint_numbers(self.folder)[:KEPT]:
            path = _manifest_path(self.folder, number)
            needed |= {path.name, *_files_named_in(path)}
        for path in self.folder.iterdir():
            if _OURS.fullmatch(path.name) and path.name.removeprefix(_COPY) not in needed:
                path.unlink(missing_ok=True)

    def read(self, number: int) -> Any:
        """The state of a checkpoint, all its files compared with their checksums first.

        Raises:
            DamagedError: it is not whole.
        """
        manifest = read_manifest(_manifest_path(self.folder, number))
        try:
            for file in [manifest["arrays"], *manifest["segments"]]:
                self._read_file(file)
            return _join_arrays(manifest["state"], self._load(manifest["arrays"]))
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise DamagedError(f"its manifest does not fit together: {error!r}") from error

    def segments(self, number: int) -> Iterator[dict[str, np.ndarray]]:
        """The replay memory's segments, oldest first, of a checkpoint to go on from: newer ones are put aside.

        Raises:
            DamagedError: it is not whole.
        """
        self._segments, self._newest = read_manifest(_manifest_path(self.folder, number))["segments"], number
        self._saved_steps = 0
        for newer in checkpoint_numbers(self.folder):
            if newer > number:
                path = _manifest_path(self.folder, newer)
                path.replace(path.with_suffix(".damaged"))
        for segment in self._segments:
            arrays = self._load(segment)
            self._saved_steps = int(arrays["steps"][-1]) + 1
            if segment["end"] != self._saved_steps:
                raise DamagedError(f"{segment['file']} ends elsewhere than its manifest says")
            yield arrays

    def _load(self, file: dict[str, str]) -> dict[str, np.ndarray]:
        try:
            return safetensors.numpy.load(self._read_file(file))
        except (SafetensorError, ValueError, KeyError) as error:
            raise DamagedError(f"{file['file']} cannot be read: {error}") from error

    def _read_file(self, file: dict[str, str]) -> bytes:
        name = file["file"]
        if not _FILE.fullmatch(name):
            raise DamagedError(f"it names a file {name!r}, which is none of a checkpoint's")
        for path in (self.folder / name, self.folder / f"{_COPY}{name}"):
            with contextlib.suppress(DamagedError):
                data = _read_bytes(path, psutil.virtual_memory().available)
                if _digest(data) == file["sha256"]:
                    return data
        raise DamagedError(f"{name} is missing or not as it was written")


@contextlib.contextmanager
def checkpoint_errors_as_input_error(folder: Path) -> Iterator[None]:
    """Raise InputError when what is read inside from a run's checkpoint is not what the run needs."""
    try:
        yield
    except InputError:
        raise
    except (DamagedError, LookupError, TypeError, ValueError, AttributeError, OverflowError, OSError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"the checkpoint in {folder} does not fit this run ({reason}): start it anew") from error


def newest_intact(checkpoints: Checkpoints) -> tuple[int, Any]:
    """Number and state of the newest checkpoint that is whole. Says on standard error which newer ones are not.

    Raises:
        InputError: there is none.
    """
    for number in checkpoint_numbers(checkpoints.folder):
        try:
            return number, checkpoints.read(number)
        except DamagedError as error:
            reason = one_line(str(error))
            print(f"warning: checkpoint {number} in {checkpoints.folder} is damaged: {reason}", file=sys.stderr)
    raise InputError(f"there is no whole checkpoint in {checkpoints.folder}: start the run anew")


def newest_manifest(folder: Path) -> dict[str, Any]:
    """The newest manifest in a folder that is whole; what it names may not be.

    Raises:
        InputError: there is none.
    """
    for number in checkpoint_numbers(folder):
        with contextlib.suppress(DamagedError):
            return read_manifest(_manifest_path(folder, number))
    raise InputError(f"there is no whole checkpoint in {folder}: start the run anew")


def checkpoint_numbers(folder: Path) -> list[int]:
    """The numbers of the checkpoints in a folder, newest first."""
    names = [match[1] for path in folder.glob("checkpoint-*") if (match := _MANIFEST.fullmatch(path.name))]
    return sorted(map(int, names), reverse=True)


def _manifest_path(folder: Path, number: int) -> Path:
    return folder / f"checkpoint-{number:012}.json"


def read_manifest(path: Path) -> dict[str, Any]:
    """What a manifest says, compared with its own checksum.

    Raises:
        DamagedError: it is not whole.
    """
    digest, _, text = _read_bytes(path, LARGEST_MANIFEST).partition(b"\n")
    if digest.decode(errors="replace") != _digest(text):
        raise DamagedError(f"{path.name} is not as it was written")
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{path.name} is no JSON: {error}") from error
    if not isinstance(manifest, dict):
        raise DamagedError(f"{path.name} is no JSON object")
    return manifest


def _files_named_in(path: Path) -> set[str]:
    try:
        manifest = read_manifest(path)
        return {file["file"] for file in [manifest["arrays"], *manifest["segments"]]}
    except (DamagedError, KeyError, TypeError):
        return set()


def _read_bytes(path: Path, largest: int) -> bytes:
    """A regular file, no link, of a size that can be held."""
    try:
        if path.is_symlink() or not path.is_file():
            raise DamagedError(f"{path.name} is missing")
        if (size := path.stat().st_size) > largest:
            raise DamagedError(f"{path.name} is too large ({size:,} bytes)")
        return path.read_bytes()
    except OSError as error:
        raise DamagedError(f"{path.name} cannot be read ({error.strerror})") from error


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _split_arrays(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """The value as JSON has it: its arrays are moved to `arrays`, under the name that stands in their place."""
    if isinstance(value, np.ndarray):
        arrays[name] = value
        return {"array": name}
    if isinstance(value, dict):
        return {"dict": {key: _split_arrays(part, f"{name}.{key}", arrays) for key, part in value.items()}}
    if isinstance(value, list | tuple):
        return [_split_arrays(part, f"{name}.{i}", arrays) for i, part in enumerate(value)]
    return value.item() if isinstance(value, np.generic) else value


def without_arrays(manifest: dict[str, Any]) -> Any:
    """The state in a manifest, with None for every array."""
    return _join_arrays(manifest["state"], collections.defaultdict(lambda: None))


def _join_arrays(value: Any, arrays: Mapping[str, Any]) -> Any:
    """What `_split_arrays` was given, but for tuples, which come back as lists."""
    if isinstance(value, list):
        return [_join_arrays(part, arrays) for part in value]
    if isinstance(value, dict):
        if "array" in value:
            return arrays[value["array"]]
        return {key: _join_arrays(part, arrays) for key, part in value["dict"].items()}
    return value
