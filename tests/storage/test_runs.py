"""Runs and models are found by what a user may call them, listed, and cleared of checkpoints."""

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scripts import ROOT, assert_refused, run

from config import Config
from console.errors import InputError
from storage.checkpoint import Checkpoints
from storage.model_file import SHIPPED_MODEL, ModelInfo, save_table
from storage.run_folder import add_to_record, claim_folder, lock_run, record_start
from storage.runs import RunEntry, clean, find_log_folder, find_model, find_run_to_resume, log_folders, read_entry
from storage.versions import versions

NAMES = ("Blob-v0-seed1-20260101-000000", "Blob-v0-seed2-20260101-000000", "Acrobot-v1-seed3-20260101-000000")
MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeRun:
    """A function that makes a run with a table for a model, in the current folder."""
    monkeypatch.chdir(tmp_path)
    times = iter(range(1, 100))

    def make(name: str, models: tuple[str, ...] = ("best", "last"), ended: bool = True) -> Path:
        folder = Path("logs") / name
        folder.mkdir(parents=True)
        config = Config(env_args={"observation": "cells"}, method="q-learning", seed=1, episodes=40)
        record_start(folder, config)
        Checkpoints(folder / "checkpoints", None).write(900, {"agent": {"counters": [30, 900, 50]}})
        if ended:
            add_to_record(folder, ended={"episodes": 40, "steps": 1200})
        now = 1_000_000_000 + next(times)
        os.utime(folder / "run.json", (now, now))
        for kind in models:
            (Path("models") / name).mkdir(parents=True, exist_ok=True)
            scores = {"avg": 21.5, "min": 5.0, "max": 25.0}
            path = Path("models") / name / f"{kind}.npz"
            save_table(path, np.zeros((2, 2)), ModelInfo(config, "", "", 20, scores, versions()))
            os.utime(path, (now, now))
        return folder

    return make


def test_the_latest_model_is_the_one_written_last_or_the_shipped_one(make_run: MakeRun) -> None:
    assert find_model("latest") == find_model("best") == SHIPPED_MODEL
    with pytest.raises(InputError, match="there is no model file last"):
        find_model("last")
    make_run(NAMES[0])
    make_run(NAMES[1])
    make_run(NAMES[2], models=("last",))  # it has no best model
    assert find_model("latest") == Path("models", NAMES[1], "best.npz")
    now = 2_000_000_000
    os.utime(Path("models", NAMES[0], "best.npz"), (now, now))
    assert find_model("latest") == find_model("best") == Path("models", NAMES[0], "best.npz")
    assert find_model("last") == Path("models", NAMES[2], "last.npz")


@pytest.mark.parametrize(
    ("called", "kind"),
    [
        ("{}", "best"),
        ("{}/", "best"),
        ("models/{}", "best"),
        ("logs/{}", "best"),
        ("models/{}/best.npz", "best"),
        ("models/{}/last.npz", "last"),
        ("{}/last.npz", "last"),
        ("{}/last", "last"),
        ("models/{}/last", "last"),
        ("models", "best"),
    ],
)
def test_what_a_model_may_be_called(called: str, kind: str, make_run: MakeRun) -> None:
    make_run(NAMES[0])
    assert find_model(called.format(NAMES[0])) == Path("models", NAMES[0], f"{kind}.npz")


def test_the_last_model_stands_in_for_a_best_one(make_run: MakeRun) -> None:
    make_run(NAMES[0], models=("last",))
    assert find_model(NAMES[0]) == Path("models", NAMES[0], "last.npz")


def test_an_unknown_model_names_near_ones_or_the_newest(make_run: MakeRun) -> None:
    with pytest.raises(InputError, match=r"^there is no model file x, and no run of that name in models$"):
        find_model("x")
    for name in NAMES:
        make_run(name)
    with pytest.raises(InputError, match=rf"\(similar: {NAMES[2]}, "):
        find_model("Acrobot-v1-seed3-20260101-00000")
    with pytest.raises(InputError, match=rf"\(the newest: {NAMES[2]}, {NAMES[1]}, {NAMES[0]}; runs.py lists all\)"):
        find_model("x")


@pytest.mark.parametrize("called", ["{}", "logs/{}", "models/{}", "models/{}/best.npz", "latest"])
def test_what_a_run_may_be_called(called: str, make_run: MakeRun) -> None:
    for name in NAMES[:2]:
        make_run(name)
    assert find_log_folder(called.format(NAMES[1])) == Path("logs", NAMES[1])
    assert log_folders("logs") == [Path("logs", name) for name in NAMES[:2]]
    assert find_run_to_resume(called.format(NAMES[1]), "logs") == Path("logs", NAMES[1]).resolve()


def test_unknown_runs(make_run: MakeRun) -> None:
    with pytest.raises(InputError, match=r"there is no run in logs: train\.py makes one"):
        find_log_folder("latest")
    with pytest.raises(InputError, match="--resume latest: no run in --logs-dir logs has a checkpoint"):
        find_run_to_resume("latest", "logs")
    folder = make_run(NAMES[0])
    with pytest.raises(InputError, match=f"there is no run x, neither in logs nor here .the newest: {NAMES[0]};"):
        find_log_folder("x")
    with pytest.raises(InputError, match="there is no run"):
        find_log_folder("")
    Path("other.model").touch()
    with pytest.raises(InputError, match=r"--resume other\.model: that is no run. --init-from starts one from a model"):
        find_run_to_resume("other.model", "logs")
    clean(folder)
    with pytest.raises(InputError, match="the run has no checkpoints to continue from"):
        find_run_to_resume(NAMES[0], "logs")


def test_an_entry_of_the_list(make_run: MakeRun) -> None:
    folder = make_run(NAMES[0])
    entry = read_entry(folder)
    started = json.loads((folder / "run.json").read_text())["starts"][0]["time"]
    files = [path for place in ("logs", "models") for path in Path(place).rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    began, apart = started.replace("T", " ")[:16], "observation=cells, episodes=40"
    assert entry == RunEntry(NAMES[0], began, "Blob-v0", 40, 21.5, size, "finished", apart)
    # The checkpoint was written after 30 episodes, the best model after 20.
    open_run = read_entry(make_run(NAMES[1], ended=False))
    assert (open_run.episodes, open_run.state) == (30, "unfinished")
    stopped = make_run(NAMES[2], models=(), ended=False)
    add_to_record(stopped, stopped="the loss became nan")
    assert read_entry(stopped)._replace(size=0)[3:7] == (30, None, 0, "stopped itself")
    with lock_run(stopped):
        assert read_entry(stopped).state == "running"


def test_cleaning_takes_only_checkpoints(make_run: MakeRun) -> None:
    folder = make_run(NAMES[0])
    size = sum(path.stat().st_size for path in (folder / "checkpoints").iterdir())
    with lock_run(folder), pytest.raises(InputError, match="in use by another process"):
        clean(folder)
    assert clean(folder) == size > 0
    assert clean(folder) == 0
    assert not (folder / "checkpoints").exists() and find_model(NAMES[0]).exists() and read_entry(folder)
    (folder / "checkpoints").symlink_to(Path("models").resolve())
    with pytest.raises(InputError, match="is a link"):
        clean(folder)
    assert find_model(NAMES[0]).exists()


def test_two_runs_with_other_logs_do_not_share_a_folder_of_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("storage.run_folder.time.strftime", lambda *_: "20260101-000000")
    config = Config(seed=1, models_dir=str(tmp_path / "models"), logs_dir=str(tmp_path / "a"))
    other = dataclasses.replace(config, logs_dir=str(tmp_path / "b"))
    names = [claim_folder(each).name for each in (config, other, config)]
    assert names == [f"Blob-v0-seed1-20260101-000000{end}" for end in ("", "-2", "-3")]
    assert [path.name for path in sorted((tmp_path / "models").iterdir())] == names


def test_models_and_logs_in_one_folder(tmp_path: Path) -> None:
    config = Config(seed=1, models_dir=str(tmp_path), logs_dir=str(tmp_path))
    first, second = claim_folder(config), claim_folder(config)
    assert first != second and set(tmp_path.iterdir()) == {first, second}


def test_names_of_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.run_folder.time.strftime", lambda *_: "20260101-000000")
    for env, name in (
        ("ALE/Pong-v5", "ALE-Pong-v5"),
        ("minatar.gym:MinAtar/Breakout-v1", "MinAtar-Breakout-v1"),
        ("/home/me/my game.py:Game", "Game"),
        ("a:" + "x" * 300, "x" * 100),
    ):
        config = Config(env=env, seed=1, models_dir=str(tmp_path / "models"), logs_dir=str(tmp_path / "logs"))
        assert claim_folder(config).name == f"{name}-seed1-20260101-000000"


def test_the_list_as_a_user_sees_it(make_run: MakeRun) -> None:
    script = str(ROOT / "runs.py")
    here = Path.cwd()
    assert run(script, cwd=here).stdout == "there is no run in logs\n"
    for name in NAMES[:2]:
        make_run(name, ended=name == NAMES[0])
    Path("logs/broken").mkdir()
    Path("logs/broken/run.json").write_text("{}")
    listed = run(script, cwd=here)
    head, *lines = listed.stdout.splitlines()
    assert head.split() == [
        *("run", "started", "environment", "episodes", "greedy", "MB", "state", "apart", "from", "the", "preset")
    ]
    assert [line.split()[0] for line in lines] == list(NAMES[:2])
    assert [line.split()[7] for line in lines] == ["finished", "unfinished"]
    assert [line.split()[5] for line in lines] == ["21.50", "21.50"]
    assert all(line.endswith("observation=cells, episodes=40") for line in lines)
    assert "left out: logs/broken/run.json was written by another version" in listed.stderr
    cleaned = run(script, "--clean", cwd=here)
    assert cleaned.stdout == f"{NAMES[0]}: 0 MB freed\n"  # the other is not finished
    assert not Path("logs", NAMES[0], "checkpoints").exists() and Path("logs", NAMES[1], "checkpoints").exists()
    assert run(script, NAMES[1], "--clean", cwd=here).returncode == 0
    assert not Path("logs", NAMES[1], "checkpoints").exists()
    assert_refused(run(script, "nothing", cwd=here), "there is no run nothing")
