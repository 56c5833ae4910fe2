"""The custom TensorBoard callback: one point per window of episodes, on an axis of episodes."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path

import keras
import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams

from config import Config
from startup import one_line, say


def tag(name: str) -> str:
    """The tag of a number in a window's logs: what belongs together shares a group, as in "reward/avg"."""
    group, _, rest = name.partition("_")
    return f"{group}/{rest}" if group in ("reward", "greedy") else f"run/{name}"


class EpisodeTensorBoard(keras.callbacks.Callback):
    """Write the settings and every window's logs as TensorBoard events.

    A Keras epoch is a window of episodes here. The window's last episode, `logs["episode"]`, is the step of its
    scalars, so that the axis counts episodes whatever the window's size.

    Args:
        log_dir: folder of the run's event file.
        config: settings, written once as text and as hyperparameters.
        resumed: whether they have been written before.
    """

    def __init__(self, log_dir: Path, config: Config, resumed: bool = False) -> None:
        super().__init__()
        self._log_dir, self._config, self._resumed = str(log_dir), config, resumed
        self._writer = tf.summary.create_file_writer(self._log_dir)
        self._fails = False

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Write the settings."""
        if self._resumed:
            return
        settings = self._config.hparams()
        table = "\n".join(["| setting | value |", "|---|---|", *(f"| {k} | {v} |" for k, v in settings.items())])
        with self._going_on(), self._writer.as_default(step=0):
            hparams.hparams(settings)
            tf.summary.text("settings", table)
            self._writer.flush()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Write the window's numbers and flush, so that a killed run keeps them."""
        scalars = dict(logs or {})
        with self._going_on(), self._writer.as_default(step=int(scalars.pop("episode"))):
            for name, value in scalars.items():
                if math.isfinite(value):  # the loss is nan before the first update
                    tf.summary.scalar(tag(name), value)
            self._writer.flush()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Close the event file."""
        with self._going_on():
            self._writer.close()

    @contextlib.contextmanager
    def _going_on(self) -> Iterator[None]:
        """If the disk is full, say so once, and try a new file next time: the old one may end in the middle of
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
