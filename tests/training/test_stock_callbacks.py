"""Keras's own callbacks do in a run what docs/callbacks.md says of them."""

import csv
import inspect
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import keras
import pytest
import requests
from test_resume import Interrupt

from config import Config
from console.errors import InputError
from train import train
from training.epochs import Epochs
from training.learning_rate import LinearDecay
from training.stock_callbacks import prepare_stock_callbacks

MakeConfig = Callable[..., Config]
EVALUATION: Any = object()
LOGS = Path("logs")


def test_the_page_lists_every_callback() -> None:
    stock = {name for name, kind in vars(keras.callbacks).items() if inspect.isclass(kind)}
    page = Path("docs/callbacks.md").read_text()
    assert re.findall(r"^\| `(\w+)`", page, re.M) == sorted(stock - {"Callback", "CallbackList"})


def test_a_run_with_many(small_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(requests, "post", lambda url, data, headers: sent.append((url, json.loads(data["data"]))))
    history, ended = keras.callbacks.History(), []
    best = keras.callbacks.ModelCheckpoint(str(tmp_path / "best.keras"), monitor="greedy_avg", save_best_only=True)
    run = train(
        small_config(),
        [
            history,
            best,
            keras.callbacks.CSVLogger(str(tmp_path / "log.csv")),
            keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: ended.append((epoch, logs["episode"]))),
            keras.callbacks.ProgbarLogger(),
            keras.callbacks.RemoteMonitor(root="http://nowhere"),
            keras.callbacks.TensorBoard(str(tmp_path / "stock")),
            keras.callbacks.TerminateOnNaN(),
        ],
    )
    assert ended == [(0, 20), (1, 40), (2, 60)] and history.history["episode"] == [20, 40, 60]
    assert [(url, data["epoch"], data["episode"]) for url, data in sent] == [
        ("http://nowhere/publish/epoch/end/", window, 20 * window + 20) for window in range(3)
    ]
    with (tmp_path / "log.csv").open(newline="") as file:
        assert [row["episode"] for row in csv.DictReader(file)] == ["20.0", "40.0", "60.0"]
    assert best.best == max(history.history["greedy_avg"]) and run.episodes == 60
    loaded = keras.models.load_model(tmp_path / "best.keras")
    assert loaded.output_shape == run.agent.online.output_shape
    assert list((tmp_path / "stock" / "train").iterdir())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: keras.callbacks.BackupAndRestore("backup"),
            "BackupAndRestore cannot be used: it restores the weights",
        ),
        (lambda: keras.callbacks.SwapEMAWeights(), "SwapEMAWeights cannot be used: the optimizer keeps no average"),
        (lambda: keras.callbacks.ModelCheckpoint("m.keras", save_freq=10), "ModelCheckpoint: a run has no batches"),
    ],
)
def test_those_that_cannot_work_are_refused(
    small_config: MakeConfig, make: Callable[[], keras.callbacks.Callback], message: str
) -> None:
    config = small_config()
    with pytest.raises(InputError, match=message):
        train(config, [make()])
    assert not list(Path(config.logs_dir).glob("*"))


def an_agent() -> Any:
    """An agent at the beginning of a run, with a learning rate of 0.4."""
    online = keras.Sequential()
    online.compile(optimizer=keras.optimizers.SGD(0.4))
    return SimpleNamespace(online=online, progress=0.0)


def rates(epochs: Epochs, agent: Any, windows: Sequence[int]) -> list[float]:
    """Learning rate in each window of a run of four, none of which has a better return than the first."""
    found = []
    for window in windows:
        agent.progress = window / 4
        epochs.open_window(window)
        found.append(float(agent.online.optimizer.learning_rate))
        epochs.end_window(window, {"reward_avg": -float(window)})
    return found


def plateau() -> list[keras.callbacks.Callback]:
    callbacks = [LinearDecay(0.4), keras.callbacks.ReduceLROnPlateau("reward_avg", factor=0.5, patience=1)]
    prepare_stock_callbacks(callbacks)
    return callbacks


def test_a_plateau_halves_what_the_schedule_leaves() -> None:
    """The line is 0.4, 0.3, 0.2, 0.1; the rate is halved after the second window and after the third."""
    agent = an_agent()
    epochs = Epochs(plateau(), agent, EVALUATION, LOGS)
    epochs.begin()
    assert rates(epochs, agent, range(4)) == pytest.approx([0.4, 0.3, 0.1, 0.025])


def test_a_reduced_rate_goes_on_after_a_resumption() -> None:
    agent = an_agent()
    epochs, resumed = (Epochs(plateau(), agent, EVALUATION, LOGS) for _ in range(2))
    epochs.begin()
    assert rates(epochs, agent, range(2)) == pytest.approx([0.4, 0.3])
    resumed.begin()
    resumed.set_state(epochs.get_state())
    assert rates(resumed, agent, range(2, 4)) == pytest.approx([0.1, 0.025])


def test_a_schedule_of_the_user_wins() -> None:
    agent, wanted = an_agent(), [0.2, 0.7, 0.1]
    epochs = Epochs(
        [LinearDecay(0.4), keras.callbacks.LearningRateScheduler(wanted.__getitem__)], agent, EVALUATION, LOGS
    )
    epochs.begin()
    assert rates(epochs, agent, range(3)) == pytest.approx(wanted)


def test_their_state_is_in_the_checkpoint(
    small_config: MakeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No window ends with a lower episode than the first, 20; one that began anew would take 40 for the best."""

    def with_a_best() -> list[Any]:
        path = str(tmp_path / "least.keras")
        return [
            keras.callbacks.ModelCheckpoint(path, monitor="episode", mode="min", save_best_only=True),
            keras.callbacks.ReduceLROnPlateau(monitor="episode", mode="min"),
        ]

    first, then = with_a_best(), with_a_best()
    run = train(small_config(), [*first, Interrupt(0)])
    assert run.interrupted and run.episodes < 60
    assert train(run.config, then, run.log_dir).episodes == 60
    assert [callback.best for callback in [*first, *then]] == [20] * 4
    assert "starts from scratch" not in "".join(capsys.readouterr())
