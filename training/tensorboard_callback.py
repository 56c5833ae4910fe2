"""The custom TensorBoard callback: numbers, pictures and histograms of every window over episodes."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from PIL import Image
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.custom_scalar import summary as custom_scalar
from tensorboard.plugins.hparams import api as hparams
from tensorboard.plugins.image.metadata import create_summary_metadata
from tensorboard.plugins.scalar.summary_v2 import scalar_pb

from config import Config
from console.messages import one_line, say
from training.callbacks import RunCallback
from training.tags import CHARTS, SOMETIMES, Chart, tag

HOW_TO_READ = """
- **Custom Scalars** tells the story: the reward of training, that of greedy play, and what explains them. While it
  trains, the agent explores with random actions, so it earns less than in greedy play. Where lanes explore unequally,
  the reward of training is that of those that explore least. The axis counts episodes.
- **Images** holds films of greedy play, untrained first, and for Blob the policy.
- **Histograms** show Q-values, actions and TD errors of transitions in the memory.
- **HParams** compares runs. The settings of this run are below.

The terms are explained in docs/glossary.md.
"""


def write_picture(name: str, value: bytes | np.ndarray) -> None:
    """Write a picture or a histogram to the default writer; `EpisodeTensorBoard` says which arrays are which."""
    if isinstance(value, bytes):
        width, height = Image.open(io.BytesIO(value)).size
        image = [str(width).encode(), str(height).encode(), value]  # like tf.summary.image, which can only write PNGs
        tf.summary.write(name, tf.constant(image), metadata=create_summary_metadata(name, ""))
    elif value.dtype == np.uint8 and value.ndim == 3:
        tf.summary.image(name, value[None])
    else:
        tf.summary.histogram(name, value)


def write_numbers(numbers: Mapping[str, float]) -> None:
    """Write scalars to the default writer in one call. A call for each would take most of a short window's time."""
    summary = Summary()
    for name, number in numbers.items():
        if math.isfinite(number):  # TensorBoard draws no others
            summary.MergeFrom(scalar_pb(name, number))
    tf.summary.experimental.write_raw_pb(summary.SerializeToString())


def chart_layout(tags: Collection[str]) -> layout_pb2.Layout:
    """Lay out TensorBoard's custom scalars page: the charts of which a run has these curves."""
    charts = [_chart(chart) for chart in CHARTS if not set(chart.tags).isdisjoint(tags)]
    return layout_pb2.Layout(category=[layout_pb2.Category(title="how it learned", chart=charts)])


def _chart(chart: Chart) -> layout_pb2.Chart:
    patterns = [f"^{name}$" for name in chart.tags]
    return layout_pb2.Chart(title=chart.title, multiline=layout_pb2.MultilineChartContent(tag=patterns))


class EpisodeTensorBoard(RunCallback):
    """Writes the settings and every window's logs as TensorBoard events.

    A Keras epoch is a window of episodes. The window's last episode, `logs["episode"]`, is the step of its points, so
    the axis counts episodes whatever the window's size. Values that earlier callbacks add to the logs are written too:
    numbers as scalars, uint8 arrays (height, width, 3) as images, bytes as animated GIFs, other arrays as histograms.
    The logs of the first window decide which charts the custom scalars page shows, with those that come later.

    Args:
        log_dir: folder of the run's event file.
        config: the settings, written once as text and as hyperparameters.
        resumed: whether they have been written before.
        later: names of numbers that the first window may lack.
    """

    def __init__(
        self, log_dir: Path, config: Config, resumed: bool = False, later: Collection[str] = SOMETIMES
    ) -> None:
        super().__init__()
        self._log_dir, self._config, self._resumed = str(log_dir), config, resumed
        self._later = later
        self._writer = tf.summary.create_file_writer(self._log_dir)
        self._fails = False

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Write the settings."""
        if not self._resumed:
            self._write_settings()

    def _write_settings(self) -> None:
        settings = self._config.hparams()
        table = "\n".join(["| setting | value |", "|---|---|", *(f"| {k} | {v} |" for k, v in settings.items())])
        with self._going_on(), self._writer.as_default(step=0):
            hparams.hparams(settings, trial_id=Path(self._log_dir).name)
            tf.summary.text("how to read this", HOW_TO_READ)
            tf.summary.text("settings", table)
            self._writer.flush()

    def _write_layout(self, tags: Collection[str]) -> None:
        with self._writer.as_default(step=0):
            tf.summary.experimental.write_raw_pb(custom_scalar.pb(chart_layout(tags)).SerializeToString())

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Write the window's values and flush, so that a killed run keeps them."""
        values: dict[str, Any] = {tag(name): value for name, value in (logs or {}).items() if name != "episode"}
        pictures = {name: value for name, value in values.items() if isinstance(value, bytes | np.ndarray)}
        # TensorFlow caches every Python number it meets, which would make a long run grow; an array it does not.
        step = np.asarray((logs or {})["episode"], np.int64)
        with self._going_on():
            # TensorFlow does not notice when its file is deleted.
            is_lost = not list(Path(self._log_dir).glob("events.out.tfevents.*"))
            if is_lost:
                self._writer = tf.summary.create_file_writer(self._log_dir)
                self._write_settings()
            if is_lost or epoch == 0:
                self._write_layout({*values, *map(tag, self._later)})
            with self._writer.as_default(step=step):
                write_numbers({name: value for name, value in values.items() if name not in pictures})
                for name, value in pictures.items():
                    write_picture(name, value)
                self._writer.flush()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Close the event file."""
        with self._going_on():
            self._writer.close()

    @contextlib.contextmanager
    def _going_on(self) -> Iterator[None]:
        """Go on when the disk is full: warn once, and try a new file next time, as the old one may end in the middle of
        a point."""
        try:
            yield
            self._fails = False
        except (tf.errors.OpError, OSError) as error:
            if not self._fails:
                say(f"warning: points are missing from the curves in {self._log_dir}: {one_line(str(error))}")
            self._fails = True
            with contextlib.suppress(tf.errors.OpError, OSError):
                self._writer = tf.summary.create_file_writer(self._log_dir)
