"""Lanes in processes of their own do what lanes in one process do, and end with the run."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import keras
import numpy as np
import psutil
import pytest
from gymnasium.vector import AsyncVectorEnv
from scripts import ROOT

from config import Config
from console.errors import InputError
from environments.lanes import Lanes, Step, make_lanes
from storage.model_file import read_model
from train import train

SMALL: dict[str, Any] = {
    "steps": 600, "seed": 3, "lanes": 4, "learn_start": 50, "batch_size": 16, "learn_every": 8, "network": "dense",
}  # fmt: skip


def config_of(folder: Path, **settings: Any) -> Config:
    folders = {"models_dir": str(folder / "models"), "logs_dir": str(folder / "logs")}
    return Config.from_preset(**{"evaluate_episodes": 4, "evaluate_every": 300, **SMALL, **folders, **settings})


def played(envs: Lanes, steps: int = 60) -> list[Step]:
    envs.reset(5)
    generator = np.random.default_rng(0)
    return [envs.step(generator.integers(envs.n_actions, size=envs.count)) for _ in range(steps)]


@pytest.mark.parametrize("env", ["CartPole-v1", "Taxi-v4"])  # the second one has masks of legal actions
def test_the_same_steps(env: str) -> None:
    config = Config.from_preset(env=env, max_episode_steps=20, lanes=3)
    together, apart = (make_lanes(config, 3), make_lanes(Config(**{**vars(config), "processes": True}), 3))
    with together, apart:
        for one, other in zip(played(together), played(apart), strict=True):
            for mine, its in zip(one, other, strict=True):
                assert np.array_equal(mine, its)


def test_the_same_run(tmp_path: Path) -> None:
    """With symmetries, evaluations, and an interruption after 40 steps of four lanes."""
    whole = train(config_of(tmp_path / "whole", env="CartPole-v1"), quiet=True)

    class Interrupt(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            if epoch == 1:
                signal.raise_signal(signal.SIGINT)

    config = config_of(tmp_path / "apart", env="CartPole-v1", processes=True)
    cut = train(config, [Interrupt()], quiet=True)
    assert cut.interrupted and cut.steps < 600
    apart = train(config, resume=cut.log_dir, quiet=True)
    assert whole.last and apart.last
    for one, other in zip(read_model(whole.last.path).arrays, read_model(apart.last.path).arrays, strict=True):
        np.testing.assert_array_equal(one, other)
    assert multiprocessing.active_children() == []


def test_a_lane_that_dies(tmp_path: Path) -> None:
    with make_lanes(config_of(tmp_path, env="CartPole-v1", processes=True), 2) as envs:
        envs.reset(0)
        vector: Any = envs._envs
        assert isinstance(vector, AsyncVectorEnv)
        os.kill(int(vector.processes[1].pid or 0), signal.SIGKILL)
        with pytest.raises(InputError, match="the process of a lane has died: --resume goes on"):
            for _ in range(2):
                envs.step(np.zeros(2, int))


class Fails(gym.Env):
    """Breaks at the third step."""

    observation_space = gym.spaces.Box(0, 1, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return np.zeros(1, np.float32), {}

    def step(self, action: int) -> Any:
        self.steps += 1
        reward = float("nan") if self.steps == 3 else 1.0
        return np.zeros(1, np.float32), reward, False, False, {}


def test_a_mistake_in_a_lane_is_the_same_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    gym.register("FailsInALane-v0", Fails)  # type: ignore[arg-type]
    said = []
    for processes in (False, True):
        with make_lanes(config_of(tmp_path, env="FailsInALane-v0", processes=processes), 2) as envs:
            with pytest.raises(InputError) as raised:
                played(envs, 5)
            said.append(str(raised.value))
    assert said[0] == said[1] and capfd.readouterr().err == ""
    del gym.registry["FailsInALane-v0"]


@pytest.mark.skipif(os.name != "posix", reason="it kills processes")
def test_nothing_is_left_of_a_killed_run() -> None:
    code = (
        "import time; from config import Config; from environments.lanes import make_lanes\n"
        "lanes = make_lanes(Config.from_preset(env='CartPole-v1', processes=True), 3)\n"
        "lanes.reset(0); print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout and run.stdout.readline() == "ready\n"
        lanes = psutil.Process(run.pid).children()
        run.kill()
    assert len(lanes) == 3 and psutil.wait_procs(lanes, timeout=10)[1] == []


@pytest.mark.skipif(os.name != "posix", reason="Ctrl-C reaches a process group")
def test_ctrl_c_reaches_the_lanes_too(tmp_path: Path) -> None:
    """They leave it to the run, which saves itself in order."""
    command = [sys.executable, str(ROOT / "train.py"), "--env", "CartPole-v1", "--processes", "--lanes", "3"]
    run = subprocess.Popen(
        [*command, "--network", "dense", "--seed", "1", "--evaluate-every", "500", "--evaluate-episodes", "3"],
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    while not list(tmp_path.glob("models/*/best.model")) and run.poll() is None:
        time.sleep(0.1)
    os.killpg(run.pid, signal.SIGINT)
    output, errors = run.communicate(timeout=60)
    assert run.returncode == 130 and "(interrupted)" in output and "Traceback" not in errors, errors
