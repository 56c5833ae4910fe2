"""A run's log folder: made by one process alone, found again to resume the run, and read: its settings and curves."""

from __future__ import annotations

import contextlib
import dataclasses
import glob
import json
import re
import secrets
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import filelock

from config import Config, fields_with
from console.arguments import check_writable
from console.errors import InputError
from storage.atomic import atomic_write
from storage.checkpoint import newest_manifest, without_arrays
from storage.model_file import suffix
from storage.trust import check_trusted
from storage.versions import versions, warn_of_versions

MAY_CHANGE = fields_with("may_change")  # to extend a run


MAY_REPEAT = fields_with("may_repeat")


def claim_folder(config: Config) -> Path:
    """Make the log folder, under a name that no other run has: models are told apart by it too."""
    names = dict.fromkeys([re.sub(r"[^\w.-]+", "-", config.env), config.preset])
    stem = f"{'-'.join(names)}-seed{config.seed}-{time.strftime('%Y%m%d-%H%M%S')}"
    while True:
        folder = Path(config.logs_dir) / f"{stem}-{secrets.token_hex(2)}"
        with contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True)
            return folder


def record_start(log_dir: Path, config: Config) -> None:
    """Write into `run.json` what the run is made with: its settings and, for every time that it was started, the
    command, this project's commit and the versions. Says in what a resumed run's differ from the last time."""
    git = ["git", "-C", str(Path(__file__).parent.parent), "rev-parse", "HEAD"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # no git, or no clone
        commit = "none"
    start: dict[str, Any] = {"command": shlex.join(sys.orig_argv), "versions": {**versions(), "this project": commit}}
    starts = read_record(log_dir).get("starts", [])
    if starts:
        warn_of_versions(f"the run {log_dir}", starts[-1]["versions"], start["versions"])
    write_record(log_dir, {"config": dataclasses.asdict(config), "starts": [*starts, start]})


def write_record(log_dir: Path, record: dict[str, Any]) -> None:
    """Write `run.json`, whole or not at all."""
    with atomic_write(log_dir / "run.json") as path:
        path.write_text(json.dumps(record, indent=1))


def lock_run(log_dir: Path) -> filelock.BaseFileLock:
    """Claim a run's folder for this process, until it ends, however it does.

    Raises:
        InputError: another process has it.
    """
    lock = filelock.FileLock(log_dir / ".lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise InputError(f"the run {log_dir} is in use by another process: end that one first") from error
    return lock


def find_run(name: str, logs_dir: str) -> Path:
    """The log folder of a run: of this name in `logs_dir`, or at this path, or the latest one with a checkpoint.

    Raises:
        InputError: there is none.
    """
    if name == "latest":
        written: dict[float, Path] = {}
        for path in Path(logs_dir).glob("*/checkpoints/checkpoint-*.json"):
            with contextlib.suppress(FileNotFoundError):  # a run that goes on deletes its older ones
                written[path.stat().st_mtime] = path
        if not written:
            raise InputError(f"--resume latest: no run in --logs-dir {logs_dir} has a checkpoint")
        return _checked(written[max(written)].parent.parent)
    for folder in (Path(logs_dir) / name, Path(name)):
        if name and (folder / "checkpoints").is_dir():
            return _checked(folder.resolve())
    raise InputError(
        f"--resume {name}: there is no such run with checkpoints, neither in --logs-dir {logs_dir} nor here"
    )


def _checked(run_dir: Path) -> Path:
    """The folder, if it can be written and what is written there stays there."""
    check_writable("--resume", str(run_dir))
    for path in [run_dir / "checkpoints", *run_dir.iterdir()]:
        if path.is_symlink():
            raise InputError(f"--resume {run_dir}: {path} is a link, which this project does not make")
    return run_dir


def settings_to_resume(run_dir: Path, given: Mapping[str, Any]) -> Config:
    """The settings of a run to go on with. Says which package has another version than it had.

    Args:
        run_dir: its log folder.
        given: the settings on the command line. `episodes` and `steps` extend a run; code and paths that its checkpoint
            names must be repeated.

    Raises:
        InputError: its checkpoints are damaged, it is finished, or settings were given that cannot change.
    """
    if others := sorted(set(given) - MAY_CHANGE - MAY_REPEAT):
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in others)
        raise InputError(f"--resume goes on with the run's own settings: leave out {flags}")
    try:
        state = without_arrays(newest_manifest(run_dir / "checkpoints"))
        config = Config(**state["config"])
        episodes, steps, _ = map(int, state["agent"]["counters"])
    except InputError:
        raise
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"the checkpoint in {run_dir} was not made by this version ({error})") from error
    check_trusted(run_dir, config, given)
    if given.get("models_dir", Config.models_dir) != config.models_dir:
        raise InputError(f"{run_dir} keeps its models in another folder. Repeat it: --models-dir {config.models_dir}")
    extended: dict[str, Any] = {k: given[k] for k in MAY_CHANGE & given.keys()}
    config = dataclasses.replace(config, logs_dir=str(run_dir.parent), **extended)
    over = episodes >= config.episodes or (config.steps and steps >= config.steps)
    if over and list(Path(config.models_dir).glob(f"{glob.escape(run_dir.name)}__last__*{suffix(config)}")):
        by_steps = config.steps and steps >= config.steps
        flag = f"--steps, above {steps:,}," if by_steps else f"--episodes, above {episodes:,},"
        raise InputError(f"the run {run_dir} is finished: {flag} extends it")
    return config


def read_record(log_dir: Path) -> dict[str, Any]:
    """What is in `run.json`: {} if it is not there or not as it was written."""
    path = log_dir / "run.json"
    try:
        record = json.loads(path.read_text())
        kinds = {"config": dict, "starts": list}
        whole = all(isinstance(record[key], kind) for key, kind in kinds.items())
        return record if whole and all(isinstance(start["versions"], dict) for start in record["starts"]) else {}
    except (OSError, ValueError, LookupError, TypeError, RecursionError):  # somebody spoilt the file
        return {}
