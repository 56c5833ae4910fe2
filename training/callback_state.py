"""What Keras callbacks know beside the model, so that a resumed run goes on with it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keras.callbacks import Callback, CSVLogger, EarlyStopping, LearningRateScheduler

from training.callbacks import RunCallback
from training.tensorboard_callback import EpisodeTensorBoard

EARLY_STOPPING = ("wait", "stopped_epoch", "best", "best_epoch", "best_weights")


def get_callbacks_state(callbacks: Sequence[Callback]) -> list[dict[str, Any]]:
    """Of every callback what `set_callbacks_state` takes back."""
    states: list[dict[str, Any]] = []
    for callback in callbacks:
        state: dict[str, Any] = {"class": type(callback).__name__}
        if isinstance(callback, EarlyStopping):
            state |= {name: getattr(callback, name) for name in EARLY_STOPPING}
        if isinstance(callback, CSVLogger):
            state |= {"size": os.path.getsize(callback.filename), "keys": callback.keys}
        states.append(state)
    return states


def prepare_callbacks(callbacks: Sequence[Callback], states: Sequence[dict[str, Any]]) -> list[str]:
    """Before training begins again: cut the files of loggers to what they were. Returns the names of the callbacks that
    can only start anew."""
    anew = []
    for callback, state in _pairs(callbacks, states):
        if isinstance(callback, CSVLogger) and state:
            if Path(callback.filename).is_file():
                os.truncate(callback.filename, min(state["size"], os.path.getsize(callback.filename)))
            callback.append = True
        if not state or not _is_known(callback):
            anew.append(type(callback).__name__)
    return anew


def set_callbacks_state(callbacks: Sequence[Callback], states: Sequence[dict[str, Any]]) -> None:
    """After training has begun again: give callbacks back what they knew."""
    for callback, state in _pairs(callbacks, states):
        if isinstance(callback, EarlyStopping) and state:
            for name in EARLY_STOPPING:
                setattr(callback, name, state[name])
        if isinstance(callback, CSVLogger) and state:
            callback.keys = state["keys"]


def _pairs(
    callbacks: Sequence[Callback], states: Sequence[dict[str, Any]]
) -> list[tuple[Callback, dict[str, Any] | None]]:
    """Every callback with the state of its like: of the first of its class, of the second, and so on."""
    left: dict[str, list[dict[str, Any]]] = {}
    for state in states:
        left.setdefault(state["class"], []).append(state)
    pairs = [(callback, left.get(type(callback).__name__, [])) for callback in callbacks]
    return [(callback, like.pop(0) if like else None) for callback, like in pairs]


def _is_known(callback: Callback) -> bool:
    """Whether it keeps nothing but what is kept here: Keras's callbacks in the list, and this project's own."""
    return isinstance(callback, RunCallback | EpisodeTensorBoard) or type(callback) in (
        EarlyStopping,
        CSVLogger,
        LearningRateScheduler,
    )
