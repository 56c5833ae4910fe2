"""One run of a search, in a process of Ray's."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from config import Config
from console.errors import InputError
from storage.checkpoint import checkpoint_numbers
from storage.run_folder import limit_reached, read_record, settings_of
from storage.runs import is_running, log_folders

SCORE = "greedy_avg"  # what a search maximises: the mean return of an evaluation, and at last of the model that is kept


def clock_of(config: Config) -> tuple[str, int]:
    """Return what limits a run, "steps" or "episode", and how many."""
    return ("steps", config.steps) if config.steps else ("episode", config.episodes)


def unfinished_run(config: Config) -> Path | None:
    """Return the log folder of a run with these very settings that was cut off; None if there is none.

    To go on with it gives what a new run would give, as runs are resumed bit for bit.
    """
    for folder in reversed(log_folders(config.logs_dir)):
        with contextlib.suppress(InputError):
            record = read_record(folder)
            is_alike = settings_of(folder, record) == config and not limit_reached(record, config)
            if is_alike and checkpoint_numbers(folder / "checkpoints") and not is_running(folder):
                return folder
    return None


def run_trial(settings: dict[str, Any], train: Callable[..., Any]) -> None:
    """Train once, and tell Tune the score of every evaluation. A run that was cut off goes on.

    Args:
        settings: of `Config.from_preset`.
        train: `train.train`.
    """
    from ray import tune

    from training.callbacks import RunCallback

    class Report(RunCallback):
        """Tells Tune of every evaluation."""

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            if logs and SCORE in logs:
                counts = {name: int(logs[name]) for name in ("steps", "episode")}
                tune.report({SCORE: logs[SCORE], **counts, "run": self.log_dir.name})

    config = Config.from_preset(**settings)
    clock, limit = clock_of(config)
    try:
        result = train(config, [Report()], unfinished_run(config), quiet=True)
    except InputError as error:  # it diverged, and would again
        tune.report({SCORE: -math.inf, clock: limit, "run": "", "failure": str(error)})
        return
    score = result.best.scores["avg"] if result.best else -math.inf
    counts = {"steps": result.steps, "episode": result.episodes, "seconds": round(result.seconds, 1)}
    tune.report({SCORE: score, **counts, "run": result.name, "failure": result.failure})
