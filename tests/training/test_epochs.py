"""When callbacks are called: a window begins once, also in a resumed run, and training that began ends."""

import csv
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
from interruptions import interrupted_after

from config import Config
from console.errors import InputError
from environments.lanes import Lanes
from storage.checkpoint import Checkpoints
from train import train
from training.callbacks import RunCallback
from training.epochs import Epochs, default_callbacks
from training.learning_rate import LinearDecay
from training.network_health import NetworkHealth
from training.pictures import Pictures
from training.stock_callbacks import prepare_stock_callbacks
from training.tensorboard_callback import EpisodeTensorBoard

MakeConfig = Callable[..., Config]
EVALUATION: Any = object()
LOGS = Path("logs")


class Calls(RunCallback):
    """Notes the calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        self.calls.append("begin")

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        self.calls.append("end")

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.calls.append(("begin", epoch))

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self.calls.append(("end", epoch))


class Fails(keras.callbacks.Callback):
    """Raises when training begins."""

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        raise ZeroDivisionError("no beginning")


def an_agent(progress: float = 0.5) -> Any:
    return SimpleNamespace(online=keras.Sequential(), progress=progress)


def test_windows_begin_and_end_in_turns() -> None:
    calls, agent = Calls(), an_agent()
    epochs = Epochs([calls], agent, EVALUATION, LOGS)
    epochs.begin()
    assert calls.agent is agent and calls.evaluation is EVALUATION and calls.model is agent.online
    epochs.open_window(0)
    epochs.open_window(0)
    epochs.end_window(0, {})
    epochs.open_window(1)
    epochs.end()
    assert calls.calls == ["begin", ("begin", 0), ("end", 0), ("begin", 1), "end"]


def test_no_window_begins_when_the_run_is_over() -> None:
    calls, played, stopped = Calls(), an_agent(progress=1), an_agent()
    for agent in (played, stopped):
        epochs = Epochs([calls], agent, EVALUATION, LOGS)
        epochs.begin()
        stopped.online.stop_training = True
        epochs.open_window(3)
    assert calls.calls == ["begin", "begin"]


def test_an_earlier_stop_is_forgotten() -> None:
    agent = an_agent()
    agent.online.stop_training = True
    Epochs([], agent, EVALUATION, LOGS).begin()
    assert agent.online.stop_training is False


def test_later_callbacks_see_what_earlier_ones_add() -> None:
    class Adds(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            assert logs is not None
            seen.append(dict(logs))
            logs["mine"] = 2.0

    seen: list[dict[str, Any]] = []
    epochs = Epochs([Adds(), Adds()], an_agent(), EVALUATION, LOGS)
    logs = {"loss": 1.0}
    epochs.begin()
    epochs.end_window(0, logs)
    assert seen == [{"loss": 1.0}, {"loss": 1.0, "mine": 2.0}] and logs == {"loss": 1.0}


@pytest.mark.parametrize("in_a_window", [True, False])
def test_a_window_that_had_begun_does_not_begin_again(in_a_window: bool) -> None:
    before = Epochs([], an_agent(), EVALUATION, LOGS)
    before.begin()
    before.open_window(4)
    if not in_a_window:
        before.end_window(4, {})
    calls = Calls()
    resumed = Epochs([calls], an_agent(), EVALUATION, LOGS)
    resumed.begin()
    resumed.set_state(before.get_state())
    resumed.open_window(4 if in_a_window else 5)
    assert calls.calls == (["begin"] if in_a_window else ["begin", ("begin", 5)])


def test_windows_of_a_run_and_its_resumption_begin_once(small_config: MakeConfig) -> None:
    first, second = Calls(), Calls()
    with interrupted_after(30):
        run = train(small_config(), [first])
    train(run.config, [second], run.log_dir)
    begun, ended = ([window for edge, window in second.calls[1:-1] if edge == of] for of in ("begin", "end"))
    cut_off = ended[0]  # the first process had begun it, and ended it early
    assert {("begin", cut_off), ("end", cut_off)} <= set(first.calls)
    assert ended == list(range(cut_off, 3)) and begun == list(range(cut_off + 1, 3))


def test_training_that_has_not_begun_does_not_end() -> None:
    calls = Calls()
    Epochs([calls], an_agent(), EVALUATION, LOGS).end()
    epochs = Epochs([calls, Fails()], an_agent(), EVALUATION, LOGS)
    with pytest.raises(ZeroDivisionError):
        epochs.begin()
    epochs.end()
    assert calls.calls == ["begin"]


def test_callbacks_are_ended_if_a_run_cannot_begin(small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environments fail after the callbacks have begun: these close their files."""
    calls, reset = Calls(), Lanes.reset

    def failing(self: Lanes, seed: int) -> Any:
        raise ZeroDivisionError("no reset")

    monkeypatch.setattr(Lanes, "reset", failing)
    with pytest.raises(ZeroDivisionError):
        train(small_config(), [calls])
    assert calls.calls == ["begin", "end"]
    monkeypatch.setattr(Lanes, "reset", reset)
    with pytest.raises(ZeroDivisionError, match="no beginning"):
        train(small_config(), [later := Calls(), Fails()])
    assert later.calls == ["begin"]


def test_callbacks_are_ended_if_a_run_cannot_go_on(small_config: MakeConfig) -> None:
    calls = Calls()
    with interrupted_after(5):
        run = train(small_config(network="dense"))
    checkpoints = Checkpoints(run.log_dir / "checkpoints", None)
    state = checkpoints.read_newest().state
    checkpoints.write(10**6, {**state, "masks": np.ones((9, 9), bool)})
    with pytest.raises(InputError, match=r"does not fit this run \(ValueError: observations and masks is"):
        train(run.config, [calls], run.log_dir)
    assert calls.calls == ["begin", "end"]


def test_default_callbacks_are_in_order(small_config: MakeConfig, tmp_path: Path) -> None:
    """The schedule first; TensorBoard last, as it writes what all others add."""
    calls, agent = Calls(), an_agent()
    for schedule, kinds in (("constant", []), ("linear", [LinearDecay])):
        agent.config = small_config(learning_rate_schedule=schedule)
        found = default_callbacks(agent, tmp_path, [calls], resumed=False)
        assert [type(callback) for callback in found] == [*kinds, NetworkHealth, Calls, Pictures, EpisodeTensorBoard]


def test_the_learning_rate_falls_to_zero(tmp_path: Path) -> None:
    agent = an_agent()
    agent.config = Config(learning_rate=0.4)
    agent.online.compile(optimizer=keras.optimizers.SGD(0.4))
    epochs = Epochs(default_callbacks(agent, tmp_path, [], resumed=True)[:1], agent, EVALUATION, LOGS)
    rates = []
    for window, agent.progress in enumerate((0.0, 0.25, 0.75)):
        epochs.open_window(window)
        rates.append(float(agent.online.optimizer.learning_rate))
        epochs.end_window(window, {})
    assert rates == pytest.approx([0.4, 0.3, 0.1])


def test_callbacks_wait_for_numbers_that_come_later(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    """Evaluations after windows 2, 4 and 6 score 1, 0.5 and 0.4: with a patience of 2 the run stops after the third."""
    stop = keras.callbacks.EarlyStopping(monitor="greedy_avg", patience=2)
    logger = keras.callbacks.CSVLogger(str(tmp_path / "log.csv"))
    prepare_stock_callbacks([stop, logger])
    agent = an_agent()
    epochs = Epochs([stop, logger], agent, EVALUATION, LOGS)
    epochs.begin()
    stopped = []
    for window in range(7):
        greedy = {2: 1.0, 4: 0.5, 6: 0.4}.get(window)
        epochs.end_window(window, {"reward_avg": 0.0} | ({} if greedy is None else {"greedy_avg": greedy}))
        stopped.append(agent.online.stop_training)
    epochs.end()
    assert stopped == [False] * 6 + [True] and (stop.best, stop.stopped_epoch) == (1.0, 6)
    with open(tmp_path / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["greedy_avg"] for row in rows] == ["NA", "NA", "1.0", "NA", "0.5", "NA", "0.4"]
    assert not recwarn.list


def test_a_monitor_that_never_comes_is_warned_of() -> None:
    epochs = Epochs([keras.callbacks.EarlyStopping(monitor="greedy_average", mode="max")], an_agent(), EVALUATION, LOGS)
    epochs.begin()
    with pytest.warns(UserWarning, match="metric `greedy_average` which is not available"):
        epochs.end_window(0, {"reward_avg": 0.0})
