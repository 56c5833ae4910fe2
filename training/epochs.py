"""The callbacks of a run, and when they are called: a Keras epoch is a window of episodes."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras

from console.messages import say
from training.agents import Agent
from training.callback_state import get_callbacks_state, prepare_callbacks, set_callbacks_state
from training.evaluation import GreedyEvaluation
from training.learning_rate import LinearDecay
from training.network_health import NetworkHealth
from training.pictures import Pictures
from training.stock_callbacks import PARAMS, name_columns
from training.tags import SOMETIMES
from training.tensorboard_callback import EpisodeTensorBoard


class Epochs:
    """Calls the callbacks of a run: a Keras epoch is a window of episodes.

    Args:
        callbacks: in the order in which they are called. Later ones see what earlier ones add to the logs.
        agent, evaluation, log_dir: for `RunCallback`.
    """

    def __init__(
        self,
        callbacks: Sequence[keras.callbacks.Callback],
        agent: Agent,
        evaluation: GreedyEvaluation,
        log_dir: Path,
    ) -> None:
        self._callbacks = callbacks
        self._agent = agent
        self._list = keras.callbacks.CallbackList(
            list(callbacks), model=agent.online, agent=agent, evaluation=evaluation, log_dir=log_dir, **PARAMS
        )
        self._has_begun = self._window_is_open = False

    def begin(self) -> None:
        """Begin training."""
        self._agent.online.stop_training = False
        self._list.on_train_begin()
        self._has_begun = True

    def open_window(self, index: int) -> None:
        """Begin a window, unless it has begun or the run is over."""
        is_over = self._agent.online.stop_training or self._agent.progress == 1
        if not self._window_is_open and not is_over:
            self._window_is_open = True
            self._list.on_epoch_begin(index)

    def end_window(self, index: int, logs: Mapping[str, Any]) -> None:
        """End a window."""
        name_columns(self._callbacks, {*logs, *_later(self._callbacks)})
        with warnings.catch_warnings():
            # These numbers come later: the callbacks that monitor them wait.
            warnings.filterwarnings("ignore", message=rf".*\b({'|'.join(_later(self._callbacks))})`? .*available")
            self._list.on_epoch_end(index, dict(logs))
        self._window_is_open = False

    def end(self) -> None:
        """End training, if it has begun, so that callbacks close their files."""
        if self._has_begun:
            self._list.on_train_end()

    def get_state(self) -> dict[str, Any]:
        """Save the callbacks, and whether a window is open."""
        return {"callbacks": get_callbacks_state(self._callbacks), "window_is_open": self._window_is_open}

    def prepare(self, state: dict[str, Any]) -> None:
        """Before `begin`, cut the callbacks' log files back to the checkpoint. Warns of callbacks without a state."""
        for name in prepare_callbacks(self._callbacks, state["callbacks"]):
            say(f"warning: the callback {name} starts from scratch, its state is not saved")

    def set_state(self, state: dict[str, Any]) -> None:
        """After `begin`, restore what `get_state` saved."""
        set_callbacks_state(self._callbacks, state["callbacks"])
        self._window_is_open = bool(state["window_is_open"])


def default_callbacks(
    agent: Agent, log_dir: Path, callbacks: Sequence[keras.callbacks.Callback], resumed: bool
) -> list[keras.callbacks.Callback]:
    """All callbacks of a run, in order: the learning rate's schedule, the network's health, the user's, pictures, and
    TensorBoard at the end, which writes what the others have added to the logs."""
    config = agent.config
    callbacks = [NetworkHealth(), *callbacks]
    tensorboard = EpisodeTensorBoard(log_dir, config, resumed, _later(callbacks))
    schedule = [LinearDecay(config.learning_rate)] if config.learning_rate_schedule == "linear" else []
    return [*schedule, *callbacks, Pictures(config), tensorboard]


def _later(callbacks: Sequence[keras.callbacks.Callback]) -> tuple[str, ...]:
    """Names of the numbers that only some windows have."""
    return (*SOMETIMES, *(name for callback in callbacks for name in getattr(callback, "adds", ())))
