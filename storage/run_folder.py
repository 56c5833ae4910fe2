"""A run's log folder: claimed by one process, found again to resume the run, and `run.json`, the run's settings."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import filelock

from config import Config, fields_with
from console.errors import InputError
from console.settings import flag_of
from storage.atomic import atomic_write
from storage.trust import check_trusted
from storage.versions import versions, warn_of_versions

FORMAT = 4  # of run.json: other versions of this project write others
LONGEST_ENV = 100  # characters of an environment in a name
MAY_CHANGE = fields_with("may_change")  # to extend a run
MAY_REPEAT = fields_with("may_repeat")


def claim_folder(config: Config) -> Path:
    """Make a log folder with a name that no other run has, and the folder of that name for the run's models."""
    env = re.sub(r"[^\w.-]+", "-", config.env.rpartition(":")[2]).strip(".-")[:LONGEST_ENV]
    stem = f"{env}-seed{config.seed}-{time.strftime('%Y%m%d-%H%M%S')}"
    for count in itertools.count(1):
        name = stem if count == 1 else f"{stem}-{count}"
        with contextlib.suppress(FileExistsError):
            log_dir = Path(config.logs_dir) / name
            log_dir.mkdir(parents=True)
            _claim_models(models_folder(config, log_dir), log_dir)
            return log_dir
    raise AssertionError("unreachable")


def models_folder(config: Config, log_dir: Path) -> Path:
    """The folder of the models of the run with this log folder."""
    return Path(config.models_dir) / log_dir.resolve().name


def _claim_models(models: Path, log_dir: Path) -> None:
    """Make the folder for a run's models, too: a run with other logs may have taken it. It may be the log folder.

    Raises:
        FileExistsError: it is taken, and the log folder is gone again.
    """
    if models.resolve() == log_dir.resolve():
        return
    try:
        models.mkdir(parents=True)
    except FileExistsError:
        log_dir.rmdir()
        raise
    except OSError:
        pass  # saving a model will say so


def lock_run(log_dir: Path) -> filelock.BaseFileLock:
    """Claim a run's folder for this process, until it ends in whatever way.

    Raises:
        InputError: another process has claimed it.
    """
    lock = filelock.FileLock(log_dir / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise InputError(f"the run {log_dir} is in use by another process: end that one first") from error
    return lock


def record_start(log_dir: Path, config: Config) -> None:
    """Write `run.json`: the settings and, for every start, the time, the command, the versions and this commit.

    Warns if versions differ from those of the last start. The run counts as under way again, neither ended nor stopped.

    Raises:
        OSError: it cannot be written.
    """
    start: dict[str, Any] = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S"),
        "command": shlex.join(sys.orig_argv),
        "versions": {**versions(), "this project": _commit()},
    }
    earlier: list[dict[str, Any]] = []
    with contextlib.suppress(InputError):  # a new run has no record yet
        earlier = read_record(log_dir)["starts"]
    if earlier:
        warn_of_versions(f"the run {log_dir}", earlier[-1]["versions"], start["versions"])
    _write_record(log_dir, {"format": FORMAT, "config": dataclasses.asdict(config), "starts": [*earlier, start]})


def _commit() -> str:
    git = ["git", "-C", str(Path(__file__).parent.parent), "rev-parse", "HEAD"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # git is missing, or this is not a clone
        return "none"


def add_to_record(log_dir: Path, **entries: Any) -> None:
    """Note in `run.json` how a run ended: see `read_record`. If that fails, the run counts as unfinished."""
    with contextlib.suppress(InputError, OSError):  # a record that was deleted or damaged stays so
        _write_record(log_dir, {**read_record(log_dir), **entries})


def _write_record(log_dir: Path, record: dict[str, Any]) -> None:
    with atomic_write(log_dir / "run.json") as path:
        path.write_text(json.dumps(record, indent=1))


def read_record(log_dir: Path) -> dict[str, Any]:
    """Read `run.json`.

    Returns:
        A dict of "format", "config" (the settings), "starts" (with "time", "command" and "versions" each) and, if the
        run has ended or stopped itself since its last start, "ended" (with "episodes", "steps" and "seconds") or
        "stopped" (the reason).

    Raises:
        InputError: it is missing or damaged, or another version wrote it.
    """
    path = log_dir / "run.json"
    try:
        record = json.loads(path.read_text())
        _check_record(path, record)
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{log_dir} is not the log folder of a run: it has no run.json") from error
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(f"{path} is damaged ({reason}): restore it or start the run again") from error
    return record


def _check_record(path: Path, record: Any) -> None:
    """Raise an error, of a kind that `read_record` catches, unless a record is as this version writes it."""
    if record.get("format") != FORMAT:
        raise InputError(f"{path} was written by another version of this project: start the run again")
    kinds: list[tuple[Any, Any]] = [(record["config"], dict), (record["starts"], list)]
    kinds += [(start[name], kind) for start in record["starts"] for name, kind in (("versions", dict), ("time", str))]
    kinds += [(record["ended"][count], int) for count in ("episodes", "steps") if "ended" in record]
    kinds += [(record["ended"].get("seconds", 0.0), (int, float))] if "ended" in record else []
    if not all(isinstance(value, kind) for value, kind in kinds):
        raise TypeError("it holds other kinds of values than it should")


def settings_of(log_dir: Path, record: Mapping[str, Any]) -> Config:
    """Return the settings in a run's record.

    Raises:
        InputError: they are not of this version.
    """
    try:
        return Config(**record["config"])
    except (TypeError, ValueError) as error:
        raise InputError(f"{log_dir / 'run.json'} does not hold settings of this version ({error})") from error


def settings_to_resume(run_dir: Path, given: Mapping[str, Any]) -> Config:
    """Return the settings with which a run goes on: those in its `run.json`, extended by those given.

    Args:
        run_dir: its log folder.
        given: the settings on the command line. `episodes` and `steps` extend a run; code and paths that `run.json`
            names must be repeated.

    Raises:
        InputError: `run.json` cannot be used, the run has ended, or settings were given that cannot change.
    """
    if others := sorted(given.keys() - MAY_CHANGE - MAY_REPEAT):
        flags = ", ".join(flag_of(name) for name in others)
        raise InputError(f"--resume goes on with the run's own settings: leave out {flags}")
    record = read_record(run_dir)
    config = settings_of(run_dir, record)
    check_trusted(run_dir, config, given)
    if given.get("models_dir", Config.models_dir) != config.models_dir:
        raise InputError(f"{run_dir} keeps its models in another folder. Repeat it: --models-dir {config.models_dir}")
    extended: dict[str, Any] = {name: given[name] for name in MAY_CHANGE & given.keys()}
    config = dataclasses.replace(config, logs_dir=str(run_dir.parent), **extended)
    if limit := limit_reached(record, config):
        raise InputError(f"the run {run_dir} is finished: --{limit}, above {record['ended'][limit]:,}, extends it")
    return config


def limit_reached(record: Mapping[str, Any], config: Config) -> Literal["steps", "episodes"] | None:
    """Return the limit at which a run ended: "steps" or "episodes"; None if it has something left to do.

    Args:
        record: as `read_record` returns it.
        config: the settings with which the run would go on.
    """
    if not (ended := record.get("ended")):
        return None
    if config.steps is not None and ended["steps"] >= config.steps:
        return "steps"
    return "episodes" if ended["episodes"] >= config.episodes else None
