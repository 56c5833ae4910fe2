"""A run's log folder: made by one process alone, and found again to resume the run."""

from __future__ import annotations

import dataclasses
import glob
import itertools
import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import filelock

from checkpoint import newest_manifest
from config import Config
from model_file import check_trusted, versions
from startup import InputError

MAY_CHANGE = {"episodes", "steps"}  # to extend a run
MAY_REPEAT = {"env", "env_args", "network", "logs_dir", "models_dir"}


def claim_folder(config: Config) -> Path:
    """Make the log folder. A run that starts in the same second takes another name."""
    names = dict.fromkeys([re.sub(r"[^\w.-]+", "-", config.env), config.preset])
    stem = name = f"{'-'.join(names)}-seed{config.seed}-{time.strftime('%Y%m%d-%H%M%S')}"
    for attempt in itertools.count(2):
        try:
            (Path(config.logs_dir) / name).mkdir(parents=True)
            break
        except FileExistsError:
            name = f"{stem}-{attempt}"
    return Path(config.logs_dir) / name


def record_start(log_dir: Path, config: Config) -> None:
    """Write into `run.json` what the run is made with: its settings and, for every time that it was started, the
    command, this project's commit and the versions."""
    path = log_dir / "run.json"
    git = ["git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"]
    try:
        commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # no git, or no clone
        commit = None
    try:
        starts = json.loads(path.read_text())["starts"]
    except (OSError, ValueError, KeyError, TypeError):  # the first start, or somebody spoilt the file
        starts = []
    starts.append({"command": shlex.join(sys.orig_argv), "commit": commit, "versions": versions()})
    path.write_text(json.dumps({"config": dataclasses.asdict(config), "starts": starts}, indent=1))


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
        written = {path.stat().st_mtime: path for path in Path(logs_dir).glob("*/checkpoints/checkpoint-*.json")}
        if not written:
            raise InputError(f"--resume latest: no run in --logs-dir {logs_dir} has a checkpoint")
        return written[max(written)].parent.parent
    for folder in (Path(logs_dir) / name, Path(name)):
        if (folder / "checkpoints").is_dir():
            return folder
    raise InputError(
        f"--resume {name}: there is no such run with checkpoints, neither in --logs-dir {logs_dir} nor here"
    )


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
    state = newest_manifest(run_dir / "checkpoints")["state"]
    try:
        config = Config(**_plain(state["dict"]["config"]))
        made_with: dict[str, str] = _plain(state["dict"]["versions"])
        episodes, steps, _ = _plain(state["dict"]["agent"])["counters"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"the checkpoint in {run_dir} was not made by this version ({error})") from error
    check_trusted(run_dir, config, given)
    if given.get("env", config.env) != config.env:
        raise InputError(f"--resume: the run plays {config.env}, not --env {given['env']}")
    if config.models_dir not in (Config.models_dir, given.get("models_dir")):
        raise InputError(f"{run_dir} keeps its models in another folder. Repeat it: --models-dir {config.models_dir}")
    folders = {"logs_dir": str(run_dir.parent), "models_dir": given.get("models_dir", Config.models_dir)}
    config = dataclasses.replace(config, **folders, **{k: given[k] for k in MAY_CHANGE & given.keys()})
    over = episodes >= config.episodes or (config.steps and steps >= config.steps)
    if over and list(Path(config.models_dir).glob(f"{glob.escape(run_dir.name)}__last__*.model")):
        flag = f"--steps, above {steps:,}," if config.steps else f"--episodes, above {episodes:,},"
        raise InputError(f"the run {run_dir} is finished: {flag} extends it")
    for package, now in versions().items():
        if (then := made_with.get(package)) != now:
            print(
                f"warning: the run was made with {package} {then}, this is {now}: numbers may differ", file=sys.stderr
            )
    return config


def _plain(value: Any) -> Any:
    """A part of a manifest's state without its arrays."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value["dict"].items()} if "dict" in value else None
    return [_plain(part) for part in value] if isinstance(value, list) else value
