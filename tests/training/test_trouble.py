"""Trouble during a run: a full disk, deleted folders, signals at bad moments, a reader that is gone."""

import contextlib
import dataclasses
import errno
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import keras
import numpy as np
import pytest
from interruptions import interrupted_after

import storage.checkpoint as checkpoint
from blob_env import BlobVectorEnv
from config import Config
from console.errors import InputError
from experiments.kill_test import differences, fingerprint
from reports.curves import read_run
from storage.run_folder import lock_run
from train import train
from training.contest import Contest

MakeConfig = Callable[..., Config]
ROOT = Path(__file__).parent.parent.parent


def test_a_checkpoint_that_cannot_be_written_stops_nothing(
    small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk is full for a while: the run warns, goes on, keeps what it has, and tries again."""
    real, calls = checkpoint.atomic_write, []

    def full(path: Path, *rest: Any) -> Any:
        calls.append(path)
        if 10 < len(calls) < 30:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(path, *rest)

    monkeypatch.setattr(checkpoint, "atomic_write", full)
    config = small_config(checkpoint_every=1e-9, network="dense", episodes=20)
    run = train(config)
    assert len(calls) > 40 and "No space left on device" in capsys.readouterr().err
    monkeypatch.undo()
    train(dataclasses.replace(config, episodes=40), resume=run.log_dir)


def test_folders_that_vanish_stop_nothing(small_config: MakeConfig, capfd: pytest.CaptureFixture[str]) -> None:
    class Vanish(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            (log_dir,) = Path(config.logs_dir).iterdir()
            if epoch == 0:
                shutil.rmtree(config.models_dir)
                shutil.rmtree(log_dir)
            else:  # no other process can claim it
                with pytest.raises(InputError, match="in use by another process"):
                    lock_run(log_dir)

    config = small_config(checkpoint_every=1e-9, network="dense", episodes=20, aggregate_every=5, evaluate_every=5)
    run = train(config, [Vanish()])
    assert capfd.readouterr().err.count(f"warning: {run.log_dir} was deleted: it is made again") == 1
    log = read_run(run.log_dir)
    assert log.config == config and log.episodes["reward/avg"].tolist() == [5, 10, 15, 20]
    assert run.episodes == 20 and run.best and run.best.path.is_file() and run.last and run.last.path.is_file()
    # Steps that were deleted with the folder are written again, as the memory still holds them.
    train(dataclasses.replace(config, episodes=40), resume=run.log_dir)


def test_nothing_is_written_of_an_agent_that_diverged(small_config: MakeConfig) -> None:
    config = small_config(learning_rate=1e30, checkpoint_every=1e-9, aggregate_every=30, learn_start=150)
    with pytest.raises(InputError, match=r"the loss became|Q-values average"):
        train(config)
    (log_dir,) = Path(config.logs_dir).iterdir()
    state = checkpoint.Checkpoints(log_dir / "checkpoints", None).read_newest().state
    assert all(np.isfinite(variable).all() for variable in state["agent"]["variables"])


class FullDisk(keras.callbacks.Callback):
    """Limits the size of files, from one window to another."""

    def __init__(self, first: int, last: int, size: int) -> None:
        super().__init__()
        self.first, self.last, self.size = first, last, size

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        if epoch == self.first:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, most))
        elif epoch == self.last:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


def test_a_disk_that_is_really_full(
    small_config: MakeConfig, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run warns if it cannot write its event file, checkpoints and models, and writes them again later."""
    # Not capfd, whose own file could not grow either.
    enter = Contest.enter
    # Every evaluation finds a new best model, so that one is saved while the disk is full.
    monkeypatch.setattr(Contest, "enter", lambda contest, *evaluation: enter(contest, *evaluation) or True)
    config = small_config(checkpoint_every=1e-9, aggregate_every=5, evaluate_every=5, network="dense", episodes=80)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        run = train(config, [FullDisk(3, 9, 3_000)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    warned = capsys.readouterr().err
    for text in ("points are missing from the curves", "no checkpoint could be written", ".model cannot be written"):
        assert text in warned
    assert run.episodes == 80 and run.best and run.last and run.best.path.is_file() and run.last.path.is_file()
    episodes = set(read_run(run.log_dir).episodes["reward/avg"].tolist())
    assert {5, 80} <= episodes and len(episodes) < 16
    train(dataclasses.replace(config, episodes=90), resume=run.log_dir)


@contextlib.contextmanager
def signal_in_evaluation(number: int, lanes: int) -> Iterator[None]:
    """Send SIGTERM in the middle of greedy evaluation 1, 2, ...; evaluations are played in this number of lanes."""
    step, reset, evaluations = BlobVectorEnv.step, BlobVectorEnv.reset, []

    def resetting(envs: BlobVectorEnv, **options: Any) -> Any:
        evaluations.extend([1] if envs.num_envs == lanes else [])
        return reset(envs, **options)

    def stepping(envs: BlobVectorEnv, actions: np.ndarray) -> Any:
        if envs.num_envs == lanes and len(evaluations) == number:
            evaluations.append(1)
            signal.raise_signal(signal.SIGTERM)
        return step(envs, actions)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(BlobVectorEnv, "step", stepping)
        patch.setattr(BlobVectorEnv, "reset", resetting)
        yield


@pytest.mark.parametrize(
    ("number", "stopping_early"),
    [(1, False), (2, False), (3, False), (5, False), (1, True)],
    ids=["1", "2", "3", "final round", "stopped"],
)
def test_a_signal_in_an_evaluation(small_config: MakeConfig, tmp_path: Path, number: int, stopping_early: bool) -> None:
    """The evaluation is interrupted, and the resumed run is the same. A run in its closing evaluation, after
    `EarlyStopping` has stopped it at episode 40, stays stopped."""

    def callbacks() -> list[keras.callbacks.Callback]:
        return [keras.callbacks.EarlyStopping(monitor="episode", mode="min", patience=1)] if stopping_early else []

    folders = [tmp_path / "whole", tmp_path / "broken"]
    rarely = {"evaluate_every": 1_000} if stopping_early else {}
    configs = [
        small_config(models_dir=str(folder / "models"), logs_dir=str(folder / "logs"), evaluate_episodes=21, **rarely)
        for folder in folders
    ]
    whole = train(configs[0], callbacks())
    # Its second window is full after 40 episodes; those of other lanes may end in the same step.
    assert whole.episodes in (range(40, 44) if stopping_early else [60])
    with signal_in_evaluation(number, lanes=21):
        run = train(configs[1], callbacks())
    assert run.interrupted == signal.SIGTERM
    resumed = train(configs[1], callbacks(), run.log_dir)
    assert not resumed.interrupted and resumed.episodes == whole.episodes and resumed.last and resumed.best
    assert differences(fingerprint(folders[1]), fingerprint(folders[0])) == []


@pytest.mark.parametrize("seed", range(3))
def test_an_extended_run_plays_all_its_episodes(small_config: MakeConfig, seed: int) -> None:
    """With many lanes, more episodes end in the last step than are counted."""
    config = small_config(seed=seed, lanes=32, episodes=40, learn_start=320)
    run = train(config)
    assert run.episodes == 40
    assert train(dataclasses.replace(config, episodes=61), resume=run.log_dir).episodes == 61


class Dice(gym.Env):
    """Draws rewards from NumPy's global generator, which an environment should not do."""

    observation_space = gym.spaces.Box(0, 10, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.steps += 1
        return np.full(1, self.steps, np.float32), float(np.random.random()), self.steps == 9, False, {}


def test_global_generators_go_on(small_config: MakeConfig, tmp_path: Path) -> None:
    folders = [tmp_path / "whole", tmp_path / "broken"]
    whole, broken = (
        small_config(env=f"{__name__}:Dice", env_args={}, models_dir=str(path / "models"), logs_dir=str(path / "logs"))
        for path in folders
    )
    train(whole)
    with interrupted_after(50):
        run = train(broken)
    np.random.seed(5)
    train(broken, resume=run.log_dir)
    assert differences(fingerprint(folders[1]), fingerprint(folders[0])) == []


def test_nobody_reads(tmp_path: Path) -> None:
    """Ctrl-C ends the reader first, as in `2>&1 | tee`; the run saves itself all the same."""
    folders = ["--models-dir", str(tmp_path / "models"), "--logs-dir", str(tmp_path / "logs")]
    settings = ["--env-args", "size=4", "--episodes", "1000000", "--aggregate-every", "5"]
    process = subprocess.Popen(
        [sys.executable, "train.py", *settings, *folders],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert process.stdout
    for _ in range(20):
        assert "Traceback" not in process.stdout.readline()
    process.stdout.close()
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    (model,) = (tmp_path / "models").glob("*/last.model")
    (run_dir,) = (tmp_path / "logs").iterdir()
    assert checkpoint.checkpoint_numbers(run_dir / "checkpoints")[0] > 0 and model.is_file()
