"""Actors in processes of Ray's play as those in this process do, and die as they do."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from inline import Inline
from on_ray import assert_only_this_user_reaches, ray_processes, wait_for
from scripts import ROOT, assert_refused, run

from config import Config
from storage.model_file import read_model
from train import train

pytest.importorskip("ray")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="it kills processes")

SETTINGS = {
    "env": "CartPole-v1", "steps": 2_000, "seed": 3, "lanes": 4, "actors": 2, "network": "dense", "learn_start": 100,
    "batch_size": 16, "prioritized": True, "evaluate_every": 500, "evaluate_episodes": 6, "max_episode_steps": 40,
}  # fmt: skip
FLAGS = [
    *("--env", "CartPole-v1", "--steps", "2000", "--seed", "3", "--lanes", "4", "--actors", "2", "--network", "dense"),
    *("--learn-start", "100", "--batch-size", "16", "--prioritized", "--evaluate-every", "500"),
    *("--evaluate-episodes", "6", "--max-episode-steps", "40"),
]


@pytest.fixture(scope="session")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[np.ndarray]:
    """The weights that the same run has with actors in this process."""
    folder = tmp_path_factory.mktemp("inline")
    config = Config.from_preset(**SETTINGS, models_dir=str(folder / "models"), logs_dir=str(folder / "logs"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cluster.learner.Crew", lambda config, address: Inline(config))
        return train(config, quiet=True).agent.get_weights()


def assert_weights(folder: Path, expected: list[np.ndarray]) -> None:
    (last,) = folder.glob("models/*/last*.model")
    for one, other in zip(read_model(last).arrays, expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_actor_and_the_learner_are_killed(
    tmp_path: Path, expected: list[np.ndarray], must_end: list[psutil.Process]
) -> None:
    command = [sys.executable, str(ROOT / "train.py")]
    flags = [*FLAGS, "--quiet", "--checkpoint-every", "0.3"]
    job = subprocess.Popen([*command, *flags], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: list(tmp_path.glob("logs/*/checkpoints/checkpoint-*.json")), job)
        actors = ray_processes(job, "ray::RemoteActor")
        assert len(actors) == 2
        assert_only_this_user_reaches(job, actors)
        actors[0].send_signal(signal.SIGKILL)
        assert job.stderr
        for line in job.stderr:
            if "another one takes its place" in line:
                break
        checkpoints = set(tmp_path.glob("logs/*/checkpoints/*.json"))
        wait_for(lambda: set(tmp_path.glob("logs/*/checkpoints/*.json")) - checkpoints, job)
    finally:
        must_end += ray_processes(job)
        job.kill()
        job.communicate()
    done = subprocess.run([*command, "--resume", "--quiet"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert_weights(tmp_path, expected)


def test_a_node_is_lost(tmp_path: Path, expected: list[np.ndarray]) -> None:
    """Both actors are on it."""
    folders = {"models_dir": str(tmp_path / "models"), "logs_dir": str(tmp_path / "logs")}
    script = Path(__file__).with_name("two_machines.py")
    done = run(str(script), repr({**SETTINGS, **folders}), cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("died; another one takes its place") >= 2
    assert_weights(tmp_path, expected)


def test_an_address_without_a_cluster(tmp_path: Path) -> None:
    assert_refused(run(str(ROOT / "train.py"), "--address", "x:1", cwd=tmp_path), "--address is where --actors play")
