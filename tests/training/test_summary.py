"""A run's result, and the lines that it ends with."""

import dataclasses
import signal
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scripts import ROOT

from config import Config
from training.models import ModelRecord
from training.result import RunResult
from training.summary import CHARTS_PAGE, describe, introduction, summary

SCORES = {"avg": 21.317, "min": 5.0, "max": 25.0, "episodes": 2000.0}
AGENT: Any = SimpleNamespace(memory_use=lambda: ("replay", 120_000_000))
FINISHED = RunResult(
    config=Config(seed=1), log_dir=Path("logs/run"), episodes=25_000, steps=250_000, updates=15_000, seconds=125.4,
    interrupted=0, stopped=False, best=ModelRecord(Path("models/best.model"), SCORES, 24_000),
    last=ModelRecord(Path("models/last one.model"), SCORES, 25_000), checkpoint_seconds=[0.25, 0.5, 0.75],
    checkpoint_share=0.0123, agent=AGENT,
)  # fmt: skip


@pytest.fixture(autouse=True)
def activated(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a shell with the environment activated, in the project's folder."""
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    monkeypatch.chdir(ROOT)


def lines_of(**changes: Any) -> list[str]:
    """The summary of a finished run with these changes; without the memory of the test's own process."""
    lines = summary(dataclasses.replace(FINISHED, **changes)).splitlines()
    return ["memory" if line.startswith("memory ") else line for line in lines]


def interrupted_run(folder: Path, **settings: Any) -> dict[str, Any]:
    """Changes that make an interrupted run of the finished one, with a checkpoint."""
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "checkpoint-000000000100.json").touch()
    return {"config": Config(**settings), "log_dir": folder, "interrupted": signal.SIGINT}


def test_a_result_is_frozen() -> None:
    assert FINISHED.name == "run" and "agent" not in repr(FINISHED)
    for field in dataclasses.fields(RunResult):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(FINISHED, field.name, None)


def test_a_finished_run() -> None:
    assert lines_of() == [
        "25,000 episodes, 250,000 steps, 15,000 updates in 2 min 5 s",
        "best model  models/best.model",
        "            greedy 21.32",
        "            min 5, max 25 over 2,000 starts, after 24,000 episodes",
        "last model  models/last one.model",
        "memory",
        "checkpoints 3 in 1.5 s, 1.2% of the time",
        f"watch       tensorboard --logdir logs, at {CHARTS_PAGE}",
        "replay      python play.py models/best.model",
        "score       python evaluate.py models/best.model",
    ]
    (memory,) = [line for line in summary(FINISHED).splitlines() if line.startswith("memory ")]
    assert memory.endswith(" GB, of which replay 0.12")


def test_a_run_without_a_model() -> None:
    lines = lines_of(episodes=0, steps=300, updates=0, seconds=3, best=None, last=None, checkpoint_seconds=[])
    assert lines == [
        "0 episodes, 300 steps, 0 updates in 0 min 3 s",
        "no episode ended, so there is no model: raise --steps",
        "no update was made: the memory never held --learn-start 1000 transitions",
        "memory",
        f"watch       tensorboard --logdir logs, at {CHARTS_PAGE}",
    ]


def test_an_interrupted_run_says_how_to_go_on(tmp_path: Path) -> None:
    lines = lines_of(**interrupted_run(tmp_path), best=None)
    assert lines[0].endswith(" in 2 min 5 s (interrupted)")
    assert lines[-3:] == [
        "replay      python play.py 'models/last one.model'",
        "score       python evaluate.py 'models/last one.model'",
        f"go on       python train.py --resume {tmp_path}",
    ]


def test_without_a_checkpoint_there_is_no_going_on(tmp_path: Path) -> None:
    lines = lines_of(interrupted=signal.SIGTERM, log_dir=tmp_path)
    assert lines[0].endswith("(interrupted)") and not any("--resume" in line for line in lines)
    (tmp_path / "run").mkdir()
    changes = interrupted_run(tmp_path / "run")
    assert not any("--resume" in line for line in lines_of(**{**changes, "interrupted": 0}))


def test_commands_repeat_what_must_be_trusted(tmp_path: Path) -> None:
    settings = {"env": "examples.kuhn_poker:KuhnPoker", "models_dir": "my models"}
    replay, score, resume = lines_of(**interrupted_run(tmp_path, **settings))[-3:]
    trusted = "--env examples.kuhn_poker:KuhnPoker"
    assert replay == f"replay      python play.py models/best.model {trusted}"
    assert score == f"score       python evaluate.py models/best.model {trusted}"
    assert resume == f"go on       python train.py --resume {tmp_path} {trusted} --models-dir 'my models'"


@pytest.mark.parametrize(
    ("scores", "text"),
    [
        ({"avg": -75.214}, "greedy -75.21"),
        (
            {"avg": 21.3975, "won": 1.0, "possible": 21.3975},
            "greedy 21.40 of 21.40 possible from these starts, won 100%",
        ),
        ({"avg": 20.9, "won": 0.998}, "greedy 20.90, won 99.8%"),
        ({"avg": 20.9, "won": 0.99999}, "greedy 20.90, won 99.9%"),  # not all
        ({"avg": -200.0, "won": 0.00001}, "greedy -200.00, won 0.1%"),  # not none
        ({"avg": -200.0, "won": 0.0}, "greedy -200.00, won 0%"),
    ],
)
def test_scores_in_short(scores: dict[str, float], text: str) -> None:
    assert describe(scores) == text


def test_a_run_introduces_itself() -> None:
    agent: Any = SimpleNamespace(config=Config(), steps=0, episodes=0, describe=lambda: "network of 5 weights")
    assert introduction(agent, Path("logs/run")).splitlines() == [
        "run         run",
        "learner     network of 5 weights",
        "models in   models/run",
        "logs in     logs/run",
        f"watch       tensorboard --logdir logs, at {CHARTS_PAGE}",
    ]
    agent.steps, agent.episodes = 9_000, 1_200
    assert introduction(agent, Path("logs/run")).startswith("run         run, goes on after 1,200 episodes\n")


def test_a_model_that_could_not_be_written() -> None:
    lines = lines_of(best=None, last=None, failure="models/run/best.model cannot be written (No space left on device)")
    assert lines[1] == (
        "models/run/best.model cannot be written (No space left on device): name another --models-dir, or make room"
    )
