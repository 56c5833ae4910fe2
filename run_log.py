"""Reading a run's log folder: its settings, and the curves in its event files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from config import Config
from startup import InputError

# Of every tag the values, oldest first, float64 (points,), and of every window its last episode as "episodes".
Curves = Mapping[str, np.ndarray]


def read_run(run_dir: Path) -> tuple[Config, dict[str, np.ndarray]]:
    """The settings and curves in a run's log folder.

    Raises:
        InputError: it is no run's.
    """
    try:
        config = Config(**json.loads((run_dir / "run.json").read_text())["config"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{run_dir} is not the log folder of a run, it has no run.json that says how ({error})"
        ) from error
    curves: dict[str, list[float]] = {}
    for tag, step, number in read_points(run_dir):
        curves.setdefault(tag, []).append(number)
        if tag == "reward/avg":
            curves.setdefault("episodes", []).append(step)
    return config, {tag: np.array(values) for tag, values in curves.items()}


def read_points(run_dir: Path) -> Iterator[tuple[str, int, float]]:
    """Every (tag, step, value) of the scalars in a run's event files, in the order in which they were written."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util.tensor_util import make_ndarray

    for path in sorted(run_dir.glob("events.out.tfevents.*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name in ("", "scalars"):
                    yield value.tag, event.step, float(make_ndarray(value.tensor))
