"""The best and the last model on disk: which files stay, and which one a resumed run takes for the best."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from config import Config
from storage.atomic import atomic_write
from storage.model_file import ModelInfo
from training.models import ModelKeeper, ModelRecord

GOOD, BETTER = {"avg": 1.0, "min": -3.0, "max": 25.0}, {"avg": 2.5, "min": 0.0, "max": 25.0}
ENVS: Any = SimpleNamespace(observation_space="Box", action_space="Discrete(9)")


class PaperAgent:
    """Saves the number of episodes instead of weights."""

    def save(self, path: Path, info: ModelInfo) -> None:
        path.write_text(str(info.episode))


PAPER: Any = PaperAgent()


def keeper_in(folder: Path, agent: Any = PAPER, name: str = "run") -> ModelKeeper:
    return ModelKeeper(Config(models_dir=str(folder)), name, agent, ENVS)


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_better_model_replaces_the_best(tmp_path: Path) -> None:
    models = keeper_in(tmp_path / "models", name="run[1]")
    assert models.best is None and models.kept == "no model had been saved yet"
    path = tmp_path / "models" / "run[1]" / "best.model"
    models.save_best(GOOD, 20)
    assert models.best == ModelRecord(path, GOOD, 20)
    models.save_best(BETTER, 40)
    assert models.best == ModelRecord(path, BETTER, 40) and path.read_text() == "40"
    assert files_in(path.parent) == ["best.model"]
    assert models.kept == f"the best model before that is {path}"


def test_tables_have_another_ending(tmp_path: Path) -> None:
    models = ModelKeeper(Config(models_dir=str(tmp_path), method="sarsa"), "run", PAPER, ENVS)
    models.save_best(GOOD, 20)
    assert files_in(tmp_path / "run") == ["best.npz"]


def test_other_files_stay(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("not ours")
    models = keeper_in(tmp_path)
    models.save_best(GOOD, 20)
    models.window_scores = GOOD
    models.save_last(30)
    models.save_best(BETTER, 40)
    assert files_in(tmp_path / "run") == ["best.model", "last.model", "notes.txt"]


def test_a_half_written_model_left_by_a_kill_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    for name in ("best.model", "last.model"):
        with atomic_write(tmp_path / "run" / name, ".keras") as temporary:
            half = temporary.name
        (tmp_path / "run" / name).rename(tmp_path / "run" / half)  # as a kill in the block would have left it
    models = keeper_in(tmp_path)
    models.save_best(GOOD, 20)
    hidden, path = files_in(tmp_path / "run")
    assert hidden.startswith(".last.model.") and path == "best.model"


def test_the_last_model_has_the_scores_of_the_latest_window(tmp_path: Path) -> None:
    models = keeper_in(tmp_path)
    models.save_last(10)
    assert models.last is None and files_in(tmp_path) == []
    models.window_scores = BETTER
    models.save_last(30)
    assert models.last == ModelRecord(tmp_path / "run" / "last.model", BETTER, 30)


def test_what_cannot_be_written_leaves_the_best_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class FullDisk(PaperAgent):
        def save(self, path: Path, info: ModelInfo) -> None:
            if info.episode == 40:
                raise OSError(28, "No space left on device")
            super().save(path, info)

    models = keeper_in(tmp_path, FullDisk())
    models.save_best(GOOD, 20)
    best = models.best
    models.save_best(BETTER, 40)
    assert models.best == best and best and best.path.read_text() == "20"
    assert models.failure == f"{best.path} cannot be written (No space left on device)"
    assert capsys.readouterr().err == f"warning: {models.failure}; training goes on\n"
    models.save_best(BETTER, 60)  # there is room again
    assert models.failure == ""


def resumed(folder: Path, state: dict[str, Any]) -> ModelRecord | None:
    models = keeper_in(folder)
    models.set_state(state)
    return models.best


def test_a_resumed_run_knows_its_best_model(tmp_path: Path) -> None:
    models = keeper_in(tmp_path)
    models.window_scores = BETTER
    models.save_best(GOOD, 20)
    state = models.get_state()
    assert resumed(tmp_path, state) == models.best
    again = keeper_in(tmp_path)
    again.set_state(state)
    assert again.window_scores == BETTER and again.get_state() == state


def test_a_best_model_newer_than_the_checkpoint_takes_its_place(tmp_path: Path) -> None:
    models = keeper_in(tmp_path)
    models.save_best(GOOD, 20)
    state = models.get_state()
    models.save_best(BETTER, 40)
    assert models.best
    best = resumed(tmp_path, state)
    assert best and best.path.read_text() == "40"
    # The scores are the checkpoint's, until the evaluation that saved the newer file is repeated.
    assert (best.scores, best.episode) == (GOOD, 20)


def test_without_a_file_there_is_no_best_model(tmp_path: Path) -> None:
    models = keeper_in(tmp_path)
    assert resumed(tmp_path, models.get_state()) is None
    models.save_best(GOOD, 20)
    assert models.best
    models.best.path.unlink()
    assert resumed(tmp_path, models.get_state()) is None
