"""Checkpoints: the state of a run, from which it goes on exactly. None can be torn, and damage is always noticed.

A checkpoint is a manifest, `checkpoint-STEPS.json`, and the files that it names with their SHA-256: one with all arrays
of the state, and the segments of the replay memory. A segment holds what was appended between two checkpoints, so no
transition is written again, however large the memory. Every later checkpoint needs it, so there are two copies of each
in case one is damaged. The manifest is written last: what it names is there.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import safetensors.numpy
from safetensors import SafetensorError

from console.errors import InputError
from console.messages import one_line, say
from replay_memory import ReplayMemory
from storage.atomic import atomic_write

FORMAT = 2  # of manifests: other versions of this project write others
SEGMENT = 32_000_000  # bytes of steps in a file, about: writing one takes several times its size in memory
KEPT = 2  # checkpoints: if the newest is damaged, there is the one before
LARGEST_MANIFEST = 8_000_000  # bytes

_MANIFEST = re.compile(r"checkpoint-(\d{12,18})\.json")
_FILE = re.compile(r"(state|steps)-[0-9-]+\.safetensors")
_COPY = "copy-of-"
_OURS = re.compile(rf"{_MANIFEST.pattern}|({_COPY})?{_FILE.pattern}|\..*\.part")  # may be deleted

Arrays = dict[str, np.ndarray]


class DamagedError(Exception):
    """A checkpoint is not as it was written; the message says why."""


class Checkpoint(NamedTuple):
    """A checkpoint that was read and verified.

    Attributes:
        number: environment steps when it was written.
        state: as it was given to `Checkpoints.write`, but with lists for tuples.
        segments: of the replay memory, oldest first. Iterate only once: each is freed when the next one is taken.
    """

    number: int
    state: Any
    segments: Iterator[Arrays]


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: their folder; made when the first is written.
        memory: the run's replay memory, whose new steps are saved with every checkpoint. None for agents without one.
    """

    def __init__(self, folder: Path, memory: ReplayMemory | None) -> None:
        self.folder = folder
        self._memory = memory
        self._segments: list[dict[str, Any]] = []
        self._saved_steps = 0  # steps of the memory that are in segments
        self._newest: int | None = None

    def write(self, number: int, state: Any) -> None:
        """Write a checkpoint and delete files that only older ones need.

        Args:
            number: environment steps so far; higher for every new checkpoint.
            state: dicts and lists of arrays, numbers and texts.

        Raises:
            OSError: it cannot be written; the older ones are still there, and nothing of this one.
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
        segments = [] if self._memory is None else self._write_segments(self._memory)
        arrays: Arrays = {}
        rest = _split_arrays(state, "state", arrays)
        file = self._write_arrays(f"state-{number:012}", arrays)
        text = json.dumps({"format": FORMAT, "state": rest, "arrays": file, "segments": segments})
        with atomic_write(manifest_path(self.folder, number)) as path:
            path.write_bytes(f"{_digest(text.encode())}\n{text}".encode())  # not as text: Windows has other line ends
        self._go_on_from(number, segments)

    def _write_segments(self, memory: ReplayMemory) -> list[dict[str, Any]]:
        """Write the steps that are in no segment yet. Returns all segments that hold steps of the memory."""
        segments = [segment for segment in self._segments if segment["end"] > memory.oldest]
        first = max(self._saved_steps, memory.oldest)
        if not all((self.folder / segment["file"]).is_file() for segment in segments):
            segments, first = [], memory.oldest  # files were deleted, but the memory still holds all of it
        length = max(1, int(SEGMENT * memory.maxlen / (memory.nbytes * memory.lanes)))
        for start in range(first, memory.steps, length):
            end = min(start + length, memory.steps)
            name = f"steps-{start:012}-{end:012}"
            file = self._write_arrays(name, memory.get_steps(start, end), copies=["", _COPY])
            segments.append({"end": end, **file})
        return segments

    def _write_arrays(self, name: str, arrays: Arrays, copies: Sequence[str] = ("",)) -> dict[str, str]:
        data = safetensors.numpy.save({key: np.asarray(array, order="C") for key, array in arrays.items()})
        for copy in copies:
            with atomic_write(self.folder / f"{copy}{name}.safetensors") as path:
                path.write_bytes(data)
        return {"file": f"{name}.safetensors", "sha256": _digest(data)}

    def _go_on_from(self, number: int, segments: list[dict[str, Any]]) -> None:
        self._newest, self._segments = number, segments
        self._saved_steps = segments[-1]["end"] if segments else 0

    def rewrite_newest_step(self) -> None:
        """Write the memory's newest step again with the next checkpoint: truncating a lane has changed it."""
        self._saved_steps -= 1

    def _delete_old(self) -> None:
        needed: set[str] = set()
        for number in checkpoint_numbers(self.folder)[:KEPT]:
            path = manifest_path(self.folder, number)
            needed |= {path.name, *_files_named_in(path)}
        for path in self.folder.iterdir():
            if _OURS.fullmatch(path.name) and path.name.removeprefix(_COPY) not in needed:
                path.unlink(missing_ok=True)

    def read_newest(self) -> Checkpoint:
        """Read the newest intact checkpoint, and go on from it: newer ones, which are damaged, are put aside.

        Every file is read once, and verified before anything is returned. Warns on standard error of damage.

        Raises:
            InputError: none is intact, or another version wrote them.
        """
        numbers = checkpoint_numbers(self.folder)
        for i, number in enumerate(numbers):
            try:
                checkpoint, segments = self._read(number)
            except DamagedError as error:
                say(f"warning: checkpoint {number} in {self.folder} is damaged: {one_line(str(error))}")
                continue
            for path in [manifest_path(self.folder, newer) for newer in numbers[:i]]:
                path.replace(path.with_suffix(".damaged"))
            self._go_on_from(number, segments)
            return checkpoint
        raise InputError(f"there is no intact checkpoint in {self.folder}: start the run again")

    def _read(self, number: int) -> tuple[Checkpoint, list[dict[str, Any]]]:
        """Read and verify a checkpoint. Returns its manifest's list of segments too."""
        manifest = read_manifest(manifest_path(self.folder, number))
        try:
            state = _join_arrays(manifest["state"], self._load(manifest["arrays"]))
            segments = collections.deque(self._load_segment(segment) for segment in manifest["segments"])
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
            raise DamagedError(f"its manifest does not fit together: {error!r}") from error
        return Checkpoint(number, state, _drain(segments)), manifest["segments"]

    def _load_segment(self, segment: dict[str, Any]) -> Arrays:
        arrays = self._load(segment)
        end = int(arrays["steps"][-1]) + 1
        if type(segment["end"]) is not int or segment["end"] != end:
            raise DamagedError(f"{segment['file']} does not end where its manifest says")
        return arrays

    def _load(self, file: dict[str, str]) -> Arrays:
        try:
            return safetensors.numpy.load(self._read_file(file))
        except (SafetensorError, ValueError, KeyError) as error:
            raise DamagedError(f"{file['file']} cannot be read: {error}") from error

    def _read_file(self, file: dict[str, str]) -> bytes:
        name = file["file"]
        if not _FILE.fullmatch(name):
            raise DamagedError(f"it names a file {name!r}, which no checkpoint has")
        for path in (self.folder / name, self.folder / f"{_COPY}{name}"):
            with contextlib.suppress(DamagedError):
                data = _read_bytes(path, psutil.virtual_memory().available)
                if _digest(data) == file["sha256"]:
                    return data
        raise DamagedError(f"{name} is missing or not as it was written")


@contextlib.contextmanager
def checkpoint_errors_as_input_error(folder: Path) -> Iterator[None]:
    """Raise InputError if the block finds that a run's checkpoint does not hold what the run needs."""
    try:
        yield
    except InputError:
        raise
    except (DamagedError, LookupError, TypeError, ValueError, AttributeError, OverflowError, OSError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"the checkpoint in {folder} does not fit this run ({reason}): start the run again") from error


def checkpoint_numbers(folder: Path) -> list[int]:
    """Return the numbers of the checkpoints in a folder, newest first."""
    names = [match[1] for path in folder.glob("checkpoint-*") if (match := _MANIFEST.fullmatch(path.name))]
    return sorted(map(int, names), reverse=True)


def read_manifest(path: Path) -> dict[str, Any]:
    """Read a manifest and verify it by its own checksum.

    Raises:
        DamagedError: it is not as it was written.
        InputError: another version of this project wrote it.
    """
    digest, _, text = _read_bytes(path, LARGEST_MANIFEST).partition(b"\n")
    if digest.decode(errors="replace") != _digest(text):
        raise DamagedError(f"{path.name} is not as it was written")
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{path.name} is not JSON: {error}") from error
    if not isinstance(manifest, dict):
        raise DamagedError(f"{path.name} is not a JSON object")
    if manifest.get("format") != FORMAT:
        raise InputError(f"{path} was written by another version of this project: start the run again")
    return manifest


def manifest_path(folder: Path, number: int) -> Path:
    """The path of a checkpoint's manifest."""
    return folder / f"checkpoint-{number:012}.json"


def _files_named_in(path: Path) -> set[str]:
    try:
        manifest = read_manifest(path)
        return {file["file"] for file in [manifest["arrays"], *manifest["segments"]]}
    except (DamagedError, InputError, KeyError, TypeError):
        return set()


def _read_bytes(path: Path, largest: int) -> bytes:
    """Read a regular file, not a link, of at most `largest` bytes."""
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


def _drain(segments: collections.deque[Arrays]) -> Iterator[Arrays]:
    while segments:
        yield segments.popleft()  # nothing here refers to it any more


def _split_arrays(value: Any, name: str, arrays: Arrays) -> Any:
    """Return a value as JSON, with its arrays moved to `arrays` and their names in their places."""
    if isinstance(value, np.ndarray):
        arrays[name] = value
        return {"array": name}
    if isinstance(value, dict):
        return {"dict": {key: _split_arrays(part, f"{name}.{key}", arrays) for key, part in value.items()}}
    if isinstance(value, list | tuple):
        return [_split_arrays(part, f"{name}.{i}", arrays) for i, part in enumerate(value)]
    return value.item() if isinstance(value, np.generic) else value


def _join_arrays(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """Undo `_split_arrays`, but with lists for tuples."""
    if isinstance(value, list):
        return [_join_arrays(part, arrays) for part in value]
    if isinstance(value, dict):
        if "array" in value:
            return arrays[value["array"]]
        return {key: _join_arrays(part, arrays) for key, part in value["dict"].items()}
    return value
