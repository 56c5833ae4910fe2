"""Read a run's curves and pictures from its event files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from config import Config
from console.errors import InputError
from console.messages import one_line
from storage.run_folder import read_record

# Of every tag the values, oldest first, float64 (points,), and of every window its last episode as "episodes".
Curves = Mapping[str, np.ndarray]


# What is told of all windows; the loss, say, not before the first update.
EVERY_WINDOW = (
    "reward/avg", "reward/min", "reward/max", "run/epsilon", "run/steps", "run/updates", "run/episode_length",
)  # fmt: skip


class RunLog(NamedTuple):
    """What a run's log folder tells: its settings, its curves, why it stopped itself ("" if it did not), and of every
    curve's points the last episode of their windows."""

    config: Config
    curves: Curves
    stopped: str
    at: Curves


def read_run(run_dir: Path) -> RunLog:
    """Read a run's log folder. Windows of which some points are missing, as when the disk was full, are left out.

    Raises:
        InputError: it is no run's.
    """
    record = read_record(run_dir)
    try:
        config = Config(**record["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{run_dir} is not the log folder of a run: it has no run.json that says how") from error
    points: dict[str, dict[int, float]] = {}
    for tag, step, number in read_points(run_dir):
        points.setdefault(tag, {})[step] = number
    whole = set.intersection(*(set(points.get(tag, ())) for tag in EVERY_WINDOW))
    points = {tag: {step: of[step] for step in of if step in whole} for tag, of in points.items() if whole & set(of)}
    curves = {tag: np.array(list(of.values())) for tag, of in points.items()}
    at = {tag: np.array(list(of), float) for tag, of in points.items()}
    if "reward/avg" in at:
        curves["episodes"] = at["reward/avg"]
    return RunLog(config, curves, one_line(str(record.get("stopped", ""))), at)


def read_points(run_dir: Path) -> Iterator[tuple[str, int, float]]:
    """Every (tag, step, value) of the scalars in a run's event files, in the order in which they were written. What a
    stranger's file has instead of a number is left out."""
    from tensorboard.util.tensor_util import make_ndarray

    for step, value in read_values(run_dir):
        is_scalar = value.metadata.plugin_data.plugin_name in ("", "scalars") and value.HasField("tensor")
        if is_scalar and not value.tensor.tensor_shape.dim:  # with any, a small file may say that it is huge
            with contextlib.suppress(ValueError, TypeError, IndexError, KeyError):
                number = float(make_ndarray(value.tensor))
                yield value.tag, step, number


def read_images(run_dir: Path) -> Iterator[tuple[str, int, bytes]]:
    """Every (tag, step, encoded image) in a run's event files, in the order in which they were written."""
    for step, value in read_values(run_dir):
        if value.metadata.plugin_data.plugin_name == "images" and len(value.tensor.string_val) > 2:
            yield value.tag, step, value.tensor.string_val[2]  # after width and height


def read_values(run_dir: Path) -> Iterator[tuple[int, Any]]:
    """Every (step, `Summary.Value`) in a run's event files, in the order in which they were written."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    for path in filter(Path.is_file, sorted(run_dir.glob("events.out.tfevents.*"))):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                yield event.step, value
