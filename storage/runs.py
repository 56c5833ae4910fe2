"""Runs and their models on disk: found by what a user may call them, listed, cleared of what they no longer need."""

from __future__ import annotations

import contextlib
import difflib
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from config import Config
from console.arguments import LATEST, check_writable
from console.errors import InputError
from console.messages import one_line
from storage.checkpoint import DamagedError, checkpoint_numbers, manifest_path, read_manifest
from storage.model_file import KINDS, SHIPPED_MODEL, read_model, suffix
from storage.run_folder import limit_reached, lock_run, models_folder, read_record, settings_of

SUFFIXES = (".model", ".npz")
SUGGESTED = 3  # names in a message


def find_model(name: str, models_dir: str = Config.models_dir) -> Path:
    """Find a model file.

    Args:
        name: its path; a run's name or folder, for its best model, or the last if it has no other; RUN/last for the
            last; "latest" or "best" for the best model that was written last, which is the one that comes with the
            project if there is no other; or "last" for the last model that was written last.
        models_dir: the folder of the models.

    Raises:
        InputError: there is no such model; the message names similar ones, or the newest.
    """
    if name in (LATEST, "best"):
        return _newest(_models(Path(models_dir))) or SHIPPED_MODEL
    if name == "last" and (newest := _newest(_models(Path(models_dir), "last"))):
        return newest
    path = Path(name)
    for place in (path, Path(models_dir) / path, *_models_of_log_folder(path)):
        files = [place, *(place / f"{kind}{suffix}" for kind in KINDS for suffix in SUFFIXES)]
        files += [place.with_name(place.name + suffix) for suffix in SUFFIXES if place.name]
        if model := next(filter(Path.is_file, files), None) or _newest(_models(place)):
            return model
    runs = [model.parent.name for model in sorted(_models(Path(models_dir)), key=_changed)]
    raise InputError(f"there is no model file {name}, and no run of that name in {models_dir}{_near(name, runs)}")


def _models(models_dir: Path, kind: str = "best") -> list[Path]:
    return [path for suffix in SUFFIXES for path in models_dir.glob(f"*/{kind}{suffix}")]


def _models_of_log_folder(path: Path) -> Iterator[Path]:
    """The folder of the models of the run with this log folder, if it is one."""
    with contextlib.suppress(InputError):
        yield models_folder(settings_of(path, read_record(path)), path)


def best_model(log_dir: Path, config: Config) -> Path | None:
    """The best model of the run with this log folder and these settings; None if it is not there."""
    path = models_folder(config, log_dir) / f"best{suffix(config)}"
    return path if path.is_file() else None


def find_log_folder(name: str, logs_dir: str = Config.logs_dir) -> Path:
    """Find the log folder of a run.

    Args:
        name: its path; the run's name, or the folder of its models or one of those; or "latest" for the run that was
            started last.
        logs_dir: the folder of the runs.

    Raises:
        InputError: there is no such run; the message names similar ones, or the newest.
    """
    runs = log_folders(logs_dir)
    if name == LATEST:
        if not runs:
            raise InputError(f"there is no run in {logs_dir}: train.py makes one")
        return runs[-1]
    path = Path(name)
    if name and (path / "run.json").is_file():
        return path
    known = {run.name: run for run in runs}  # the newest last
    for called in (path.name, path.parent.name):
        if called in known:
            return known[called]
    if name and path.is_dir():
        raise InputError(f"{name} is not the log folder of a run: it has no run.json{_near(name, list(known))}")
    raise InputError(f"there is no run {name}, neither in {logs_dir} nor here{_near(name, list(known))}")


def find_run_to_resume(name: str, logs_dir: str) -> Path:
    """Find the log folder of a run to resume.

    Args:
        name: as `find_log_folder`, but "latest" is the run that wrote a checkpoint last.
        logs_dir: the folder of the runs.

    Raises:
        InputError: there is no such run with checkpoints, or its folder is not safe to write to.
    """
    if name == LATEST:
        newest = _newest(Path(logs_dir).glob("*/checkpoints/checkpoint-*.json"))
        if not newest:
            raise InputError(f"--resume latest: no run in --logs-dir {logs_dir} has a checkpoint")
        return _checked(newest.parent.parent)
    try:
        folder = find_log_folder(name, logs_dir)
    except InputError as error:
        if Path(name).is_file():
            raise InputError(
                f"--resume {name}: that is no run. --init-from starts one from a model's weights"
            ) from error
        raise InputError(f"--resume: {error}") from error
    if not (folder / "checkpoints").is_dir():
        raise InputError(f"--resume {name}: the run has no checkpoints to continue from: start it again")
    return _checked(folder)


def _checked(run_dir: Path) -> Path:
    """Return the folder after checking that it is writable and contains no symbolic links."""
    run_dir = run_dir.resolve()
    check_writable("--resume", str(run_dir))
    for path in [run_dir / "checkpoints", *run_dir.iterdir()]:
        if path.is_symlink():
            raise InputError(f"--resume {run_dir}: {path} is a link, which this project does not make")
    return run_dir


def log_folders(logs_dir: str) -> list[Path]:
    """The log folders of all runs, in the order in which they were started or resumed last."""
    return [path.parent for path in sorted(Path(logs_dir).glob("*/run.json"), key=_changed)]


def _newest(paths: Iterable[Path]) -> Path | None:
    return max(paths, key=_changed, default=None)


def _changed(path: Path) -> float:
    with contextlib.suppress(OSError):  # a running process replaces its files
        return path.stat().st_mtime
    return 0.0


def _near(name: str, runs: Sequence[str]) -> str:
    """What to add to a message about an unknown run: similar names of these, or the last."""
    if not runs:
        return ""
    near = difflib.get_close_matches(Path(name).name, runs, SUGGESTED)
    kind = "similar" if near else "the newest"
    return f" ({kind}: {', '.join(near or runs[: -SUGGESTED - 1 : -1])}; runs.py lists all)"


class RunEntry(NamedTuple):
    """A run in the list.

    Attributes:
        name: the run's.
        started: when it was first started, as in "2026-11-25 21:53".
        env: its environment.
        episodes: played so far, as far as is known.
        greedy: the mean return of its best model; None if there is none.
        size: bytes on disk, logs and models together.
        state: "running", "finished", "stopped itself", or "unfinished", which can be resumed if it has a checkpoint.
        settings: those in which it differs from its preset, as in "size=5, learning_rate=0.01".
    """

    name: str
    started: str
    env: str
    episodes: int
    greedy: float | None
    size: int
    state: str
    settings: str


def read_entry(log_dir: Path) -> RunEntry:
    """Read what the list shows of a run.

    Raises:
        InputError: it is not the log folder of a run of this version.
    """
    record = read_record(log_dir)
    config = settings_of(log_dir, record)
    episodes, greedy = record["ended"]["episodes"] if "ended" in record else _episodes_at_checkpoint(log_dir), None
    if path := best_model(log_dir, config):
        with contextlib.suppress(InputError):
            info = read_model(path, only_weights=True).info
            episodes, greedy = max(episodes, info.episode), info.scores["avg"]
    started = record["starts"][0]["time"].replace("T", " ")[:16] if record["starts"] else ""
    size, state = _size(log_dir) + _size(models_folder(config, log_dir)), _state(log_dir, record, config)
    differences = config.differences()
    differences = {**differences.pop("env_args", {}), **differences}
    settings = one_line(", ".join(f"{name}={value}" for name, value in differences.items()))
    return RunEntry(log_dir.name, started, config.env, episodes, greedy, size, state, settings)


def _state(log_dir: Path, record: Mapping[str, Any], config: Config) -> str:
    if is_running(log_dir):
        return "running"
    if "stopped" in record:
        return "stopped itself"
    return "finished" if limit_reached(record, config) else "unfinished"


def is_running(log_dir: Path) -> bool:
    """Whether a process has claimed a run."""
    if not (log_dir / ".lock").exists():
        return False
    try:
        lock_run(log_dir).release()
    except InputError:
        return True
    except OSError:  # a folder that cannot be written to
        pass
    return False


def _episodes_at_checkpoint(log_dir: Path) -> int:
    folder = log_dir / "checkpoints"
    for number in checkpoint_numbers(folder):
        with contextlib.suppress(DamagedError, InputError, LookupError, TypeError, ValueError):
            state = read_manifest(manifest_path(folder, number))["state"]
            return int(state["dict"]["agent"]["dict"]["counters"][0])
    return 0


def _size(folder: Path) -> int:
    """Bytes of all files below a folder; links count for themselves."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir() or path.is_symlink())


def clean(log_dir: Path) -> int:
    """Delete the checkpoints of a run that will not be resumed. Its curves and models stay.

    Returns:
        Bytes freed.

    Raises:
        InputError: a process has claimed the run, its folder of checkpoints is a link, or it cannot be deleted.
    """
    folder = log_dir / "checkpoints"
    if folder.is_symlink():
        raise InputError(f"{folder} is a link, which this project does not make")
    if not folder.exists():
        return 0
    try:
        lock = lock_run(log_dir)
        try:
            size = _size(folder)
            shutil.rmtree(folder)
        finally:
            lock.release()
    except OSError as error:
        raise InputError(f"{folder} cannot be deleted ({error.strerror})") from error
    return size
