"""The state of Keras callbacks, so that a resumed run goes on with it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras.callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    LearningRateScheduler,
    ModelCheckpoint,
    ProgbarLogger,
    ReduceLROnPlateau,
    TerminateOnNaN,
)

from training.callbacks import RunCallback
from training.learning_rate import LinearDecay

# The attributes that a callback goes on with.
STATE: Mapping[type[Callback], tuple[str, ...]] = {
    CSVLogger: ("keys",),
    EarlyStopping: ("wait", "stopped_epoch", "best", "best_epoch", "best_weights"),
    LearningRateScheduler: (),
    LinearDecay: ("share", "latest"),
    ModelCheckpoint: ("best",),
    ProgbarLogger: (),
    ReduceLROnPlateau: ("wait", "cooldown_counter", "best"),
    TerminateOnNaN: (),
}


def get_callbacks_state(callbacks: Sequence[Callback]) -> list[dict[str, Any]]:
    """Save the state of each callback, for `set_callbacks_state`."""
    states: list[dict[str, Any]] = []
    for callback in callbacks:
        state: dict[str, Any] = {"class": type(callback).__name__}
        state |= {name: vars(callback)[name] for name in _attributes(callback)}
        if isinstance(callback, CSVLogger):
            state["size"] = os.path.getsize(callback.filename)
        states.append(state)
    return states


def prepare_callbacks(callbacks: Sequence[Callback], states: Sequence[dict[str, Any]]) -> list[str]:
    """Before training begins again, cut the files of loggers to their size at the checkpoint.

    Returns:
        The names of the callbacks whose state was not saved.
    """
    fresh = []
    for callback, state in _pairs(callbacks, states):
        if isinstance(callback, CSVLogger) and state:
            if Path(callback.filename).is_file():
                os.truncate(callback.filename, min(state["size"], os.path.getsize(callback.filename)))
            callback.append = True
        if not state or not _is_known(callback):
            fresh.append(type(callback).__name__)
    return fresh


def set_callbacks_state(callbacks: Sequence[Callback], states: Sequence[dict[str, Any]]) -> None:
    """After training has begun again, restore what `get_callbacks_state` saved."""
    for callback, state in _pairs(callbacks, states):
        if state:
            vars(callback).update({name: state[name] for name in _attributes(callback)})


def _pairs(
    callbacks: Sequence[Callback], states: Sequence[dict[str, Any]]
) -> list[tuple[Callback, dict[str, Any] | None]]:
    """Pair callbacks with saved states: the k-th callback of a class gets the k-th state of that class."""
    left: dict[str, list[dict[str, Any]]] = {}
    for state in states:
        left.setdefault(state["class"], []).append(state)
    pairs = [(callback, left.get(type(callback).__name__, [])) for callback in callbacks]
    return [(callback, of_class.pop(0) if of_class else None) for callback, of_class in pairs]


def _attributes(callback: Callback) -> tuple[str, ...]:
    """Names of the attributes that are saved, also of a subclass."""
    return tuple(name for kind, names in STATE.items() if isinstance(callback, kind) for name in names)


def _is_known(callback: Callback) -> bool:
    """Whether all state of a callback is saved: this project's others have none."""
    return isinstance(callback, RunCallback) or type(callback) in STATE
