"""Keras's own callbacks: what they need to know of a run, and which of them cannot work here."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from keras.callbacks import BackupAndRestore, Callback, CSVLogger, SwapEMAWeights

from console.errors import InputError

# What `fit` would put in a callback's `params`. The run shows its own progress.
PARAMS: Mapping[str, Any] = {"verbose": 0, "epochs": 1, "steps": None}
REFUSED: Mapping[type[Callback], str] = {
    BackupAndRestore: "it restores the weights alone; a run writes whole checkpoints, go on with resume=",
    SwapEMAWeights: "the optimizer keeps no average of the weights; target_update='soft' averages the target network",
}


def prepare_stock_callbacks(callbacks: Sequence[Callback]) -> None:
    """Tell callbacks that monitor a return in Keras's mode "auto" that more is better: Keras knows metrics alone.

    Raises:
        InputError: a callback cannot do its work in a run.
    """
    for callback in callbacks:
        for kind, reason in REFUSED.items():
            if isinstance(callback, kind):
                raise InputError(f"the callback {kind.__name__} cannot be used: {reason}")
        if getattr(callback, "save_freq", "epoch") != "epoch":
            raise InputError(f"{type(callback).__name__}: a run has no batches, leave save_freq at 'epoch'")
        monitored = str(getattr(callback, "monitor", ""))
        is_score = re.fullmatch(r"(reward|greedy)_(avg|min|max)|percent_of_optimum", monitored)
        if is_score and getattr(callback, "mode", "") == "auto":
            callback.mode = "max"


def name_columns(callbacks: Sequence[Callback], names: Collection[str]) -> None:
    """Give loggers that have no columns yet a column for every name: Keras takes those of the first window."""
    for callback in callbacks:
        if isinstance(callback, CSVLogger) and callback.keys is None:
            callback.keys = sorted(names)
