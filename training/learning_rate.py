"""The learning rate's schedule."""

from __future__ import annotations

from typing import Any

import keras

from training.callbacks import RunCallback


class LinearDecay(RunCallback):
    """Lets the learning rate fall to zero in a straight line over the run; sets it when a window begins.

    What another callback has made of the rate is kept: one that was halved stays half of the line.

    Args:
        initial: the rate at the beginning.

    Attributes:
        share: the part of the line that is left, 1 if no other callback changed the rate.
        latest: the rate that this callback set last.
    """

    def __init__(self, initial: float) -> None:
        super().__init__()
        self._planned = keras.optimizers.schedules.PolynomialDecay(initial, 1.0, end_learning_rate=0.0)
        self.share = 1.0
        self.latest: float | None = None

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Set the rate of a window."""
        optimizer = self.model.optimizer
        if self.latest:
            self.share *= float(optimizer.learning_rate) / self.latest
        optimizer.learning_rate = float(self._planned(self.agent.progress)) * self.share
        self.latest = float(optimizer.learning_rate)
