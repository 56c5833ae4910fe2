"""A job: many runs, by their seeds or by a search. It is recorded beside its results, so that it can go on."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cluster.search_space import parse_search
from config import Config
from console.arguments import LATEST
from console.commands import script
from console.errors import InputError
from console.settings import flag_of
from storage.atomic import atomic_write

RECORD = "job.json"


class Job(NamedTuple):
    """What is to be trained.

    Attributes:
        settings: of all runs, as `Config.from_preset` takes them.
        seeds: one run for each; empty for a search.
        search: what a search changes, as it was typed.
        trials: of a search.
        cpus: of each run.
    """

    settings: dict[str, Any]
    seeds: list[int]
    search: list[str]
    trials: int
    cpus: int

    @property
    def config(self) -> Config:
        """The settings of a run, but for what sets it apart."""
        return Config.from_preset(**self.settings)

    @property
    def varied(self) -> list[str]:
        """The settings that set runs apart."""
        return list(parse_search(self.search)) or ["seed"]


def new_folder(job: Job) -> Path:
    """Make the folder of a job, in that of the logs, and record the job there."""
    env = job.config.env.rpartition(":")[2].replace("/", "-")
    folder = Path(job.config.logs_dir) / f"tune-{env}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder.mkdir(parents=True)
    with atomic_write(folder / RECORD) as path:
        path.write_text(json.dumps(job._asdict(), indent=1))
    return folder


def find_job(name: str) -> tuple[Path, Job]:
    """Find the folder of a job to go on with, by its path, or "latest" in the usual folder of logs.

    Raises:
        InputError: there is none, or it is damaged.
    """
    records = sorted(Path(Config.logs_dir).glob(f"tune-*/{RECORD}"), key=lambda path: path.stat().st_mtime)
    path = (records[-1] if records else None) if name == LATEST else Path(name) / RECORD
    if not path or not path.is_file():
        raise InputError(f"--resume {name}: there is no such job; it is a folder logs/tune-...")
    try:
        job = Job(**json.loads(path.read_text()))
        parse_search(job.search)
        Config.from_preset(**job.settings)
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is damaged ({error}): start the job again") from error
    return path.parent, job


def command_of(job: Job, found: Mapping[str, Any]) -> str:
    """Return the command that trains with a job's settings and what its search found."""
    words: list[str] = []
    for name, value in {**job.settings, **{name: found[name] for name in job.varied}}.items():
        flag = flag_of(name)
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        elif isinstance(value, dict):
            words += [flag, *(f"{key}={json.dumps(of)}" for key, of in value.items())]
        else:
            words += [flag, str(value)]
    return script("train.py", *words)
