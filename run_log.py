"""Reading a run's log folder: its settings, and the curves in its event files."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from config import Config
from startup import InputError, one_line

# Of every tag the values, oldest first, float64 (points,), and of every window its last episode as "episodes".
Curves = Mapping[str, np.ndarray]


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


class RunLog(NamedTuple):
    """What a run's log folder tells: its settings, its curves, why it stopped itself ("" if it did not), and of every
    curve's points the last episode of their windows."""

    config: Config
    curves: Curves
    stopped: str
    at: Curves


def read_run(run_dir: Path) -> RunLog:
    """Read a run's log folder.

    Raises:
        InputError: it is no run's.
    """
    record = read_record(run_dir)
    try:
        config = Config(**record["config"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{run_dir} is not the log folder of a run: it has no run.json that says how") from error
    points: dict[str, list[tuple[int, float]]] = {}
    for tag, step, number in read_points(run_dir):
        points.setdefault(tag, []).append((step, number))
    curves = {tag: np.array([number for _, number in pairs]) for tag, pairs in points.items()}
    at = {tag: np.array([step for step, _ in pairs], float) for tag, pairs in points.items()}
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

    for path in sorted(run_dir.glob("events.out.tfevents.*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                yield event.step, value
