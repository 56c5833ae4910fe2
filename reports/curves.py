"""Read the settings, curves and pictures of a run from its log folder, without TensorFlow."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
from tensorboard.data_compat import migrate_event
from tensorboard.util.tensor_util import make_ndarray

from config import Config
from console.messages import one_line
from storage.run_folder import limit_reached, read_record, settings_of
from training.tags import EPISODE_LENGTH, EPSILON, REWARD_AVG, REWARD_MAX, REWARD_MIN, STEPS, UPDATES

# The curves with a point for every window. The loss, for one, has none before the first update.
EVERY_WINDOW = (REWARD_AVG, REWARD_MIN, REWARD_MAX, EPSILON, STEPS, UPDATES, EPISODE_LENGTH)
EMPTY = np.zeros(0)


class RunLog(NamedTuple):
    """What the log folder of a run holds.

    Attributes:
        folder: the log folder, an absolute path.
        config: the run's settings.
        curves: the values of each tag, oldest first, float64 (points,).
        episodes: for each tag, the last episode of the window of each point, float64 (points,).
        stopped: why the run stopped itself, "" if it did not.
        finished: whether it did all that its settings ask for.
        start: of its first start, "time", "command" and "versions"; empty if it is not recorded.
        seconds: how long it took in all; None if it has not ended.
    """

    folder: Path
    config: Config
    curves: Mapping[str, np.ndarray]
    episodes: Mapping[str, np.ndarray]
    stopped: str
    finished: bool = False
    start: Mapping[str, Any] = {}
    seconds: float | None = None

    def curve(self, tag: str) -> np.ndarray:
        """Return the values of a tag, float64 (points,); none if the run has no such curve."""
        return self.curves.get(tag, EMPTY)


def read_run(folder: Path) -> RunLog:
    """Read the log folder of a run. Windows that lack a point, as after the disk was full, are left out.

    Raises:
        InputError: it is not the log folder of a run.
    """
    record = read_record(folder)
    config = settings_of(folder, record)
    points: dict[str, dict[int, float]] = {}
    for tag, step, number in read_points(folder):
        points.setdefault(tag, {})[step] = number
    complete = set.intersection(*(set(points.get(tag, ())) for tag in EVERY_WINDOW))
    points = {tag: {step: number for step, number in of.items() if step in complete} for tag, of in points.items()}
    points = {tag: of for tag, of in points.items() if of}
    curves = {tag: np.array(list(of.values())) for tag, of in points.items()}
    episodes = {tag: np.array(list(of), float) for tag, of in points.items()}
    stopped = one_line(str(record.get("stopped", "")))
    # The curves do not tell: the last episodes of a run may fill no window.
    finished = limit_reached(record, config) is not None
    start = record["starts"][0] if record["starts"] else {}
    seconds = record.get("ended", {}).get("seconds")
    return RunLog(folder.resolve(), config, curves, episodes, stopped, finished, start, seconds)


def read_points(folder: Path) -> Iterator[tuple[str, int, float]]:
    """Yield (tag, step, value) of every scalar in a run's event files, in the order in which they were written.

    A file from elsewhere may hold something else where a number belongs; that is left out.
    """
    for step, value in read_values(folder):
        is_scalar = value.metadata.plugin_data.plugin_name in ("", "scalars") and value.HasField("tensor")
        if is_scalar and not value.tensor.tensor_shape.dim:  # with dimensions, a small file may claim a huge array
            with contextlib.suppress(ValueError, TypeError, IndexError, KeyError):
                number = float(make_ndarray(value.tensor))
                yield value.tag, step, number


def read_images(folder: Path) -> Iterator[tuple[str, int, bytes]]:
    """Yield (tag, step, encoded image) of every image in a run's event files, in the order in which they were
    written."""
    for step, value in read_values(folder):
        if value.metadata.plugin_data.plugin_name == "images" and len(value.tensor.string_val) > 2:
            yield value.tag, step, value.tensor.string_val[2]  # after width and height


def read_values(folder: Path) -> Iterator[tuple[int, Any]]:
    """Yield (step, `Summary.Value`) of every value in a run's event files, in the order in which they were written."""
    for path in filter(Path.is_file, sorted(folder.glob("events.out.tfevents.*"))):
        for record in _read_records(path):
            event = migrate_event(Event.FromString(record))
            for value in event.summary.value:
                yield event.step, value


def _read_records(path: Path) -> Iterator[bytes]:
    """Yield the records of a TFRecord file up to the first that is damaged or cut short.

    TensorBoard's own loader does the same, but takes the seconds that importing TensorFlow takes.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        while len(header := file.read(12)) == 12:
            length, checksum = struct.unpack("<QI", header)
            if masked_crc32c(header[:8]) != checksum or length > size:
                return
            record = file.read(length)
            if file.read(4) != struct.pack("<I", masked_crc32c(record)):
                return
            yield record
