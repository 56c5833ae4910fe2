"""One run of a search: what it tells Tune, and which run goes on."""

import dataclasses
import math
import signal
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import keras
import pytest

from cluster.trial import clock_of, run_trial, unfinished_run
from config import Config
from console.errors import InputError
from storage.run_folder import lock_run
from train import train

MakeConfig = Callable[..., Config]


class Interrupt(keras.callbacks.Callback):
    """Cuts a run off at the end of its first window."""

    def __init__(self) -> None:
        super().__init__()
        self.is_done = False

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if not self.is_done:
            self.is_done = True
            signal.raise_signal(signal.SIGINT)


def test_the_clock(small_config: MakeConfig) -> None:
    assert clock_of(small_config()) == ("episode", 60)
    assert clock_of(small_config(steps=500)) == ("steps", 500)


def test_a_run_that_was_cut_off(small_config: MakeConfig) -> None:
    config = small_config()
    assert unfinished_run(config) is None
    run = train(config, [Interrupt()])
    assert unfinished_run(config) == run.log_dir
    assert unfinished_run(dataclasses.replace(config, seed=8)) is None
    lock = lock_run(run.log_dir)
    assert unfinished_run(config) is None  # it is in use
    lock.release()
    train(config, resume=run.log_dir)
    assert unfinished_run(config) is None  # it is finished


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What is told to Tune."""
    told: list[dict[str, Any]] = []
    tune = SimpleNamespace(report=told.append)
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(tune=tune))
    return told


def test_every_evaluation_is_reported(small_config: MakeConfig, reports: list[dict[str, Any]]) -> None:
    config = small_config()
    results = []

    def training(*given: Any, **settings: Any) -> Any:
        results.append(train(*given, **settings))
        return results[-1]

    run_trial(dataclasses.asdict(config), training)
    (result,) = results
    *evaluations, last = reports
    assert [report["episode"] for report in evaluations] == [20, 40, 60]
    assert {report["run"] for report in reports} == {result.name}
    assert result.best and last["greedy_avg"] == result.best.scores["avg"]  # the contest's, of the model that is kept
    assert (last["episode"], last["steps"], last["failure"]) == (result.episodes, result.steps, "")


def test_a_run_that_diverged_is_not_tried_again(small_config: MakeConfig, reports: list[dict[str, Any]]) -> None:
    def diverge(*_: Any, **__: Any) -> None:
        raise InputError("learning has diverged")

    run_trial(dataclasses.asdict(small_config()), diverge)
    assert reports == [{"greedy_avg": -math.inf, "episode": 60, "run": "", "failure": "learning has diverged"}]
