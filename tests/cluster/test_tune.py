"""`tune.py`: its command line, and jobs whose processes are killed. Jobs are skipped where Ray is not installed."""

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from on_ray import assert_only_this_user_reaches, ray_processes, wait_for
from scripts import ROOT, assert_refused, run

from config import Config
from console.errors import InputError
from console.ray_installation import check_ray
from storage.model_file import read_model
from train import train
from training.command import parse_command_line
from tune import Job, command_of, find_job, new_folder, parse_arguments

JOB = ["--size", "4", "--network", "dense", "--lanes", "4", "--learn-every", "8", "--epsilon-spread", "1"]
JOB += ["--batch-size", "16", "--learn-start", "50", "--max-episode-steps", "40", "--evaluate-every", "300"]
JOB += ["--episodes", "900", "--evaluate-episodes", "20", "--checkpoint-every", "0.3"]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], ["one of the arguments --seeds --search --resume is required"]),
        (["--seeds", "1", "--search", "discount=0.9,1"], ["not allowed with"]),
        (["--seeds", "1", "1"], ["name each seed once"]),
        (["--seeds", "1", "--actors", "2", "--env", "CartPole-v1"], ["--actors is for train.py"]),
        (["--seeds", "1", "--seed", "2"], ["so is --seed beside --seeds"]),
        (["--seeds", "1", "--episods", "5"], ["did you mean --episodes?"]),
        (["--search", "discount=0.5:2"], ["--search discount: --discount must be at most 1"]),
        (["--resume", "--size", "5"], ["leave out --size 5"]),
        (["--resume"], ["there is no such job"]),
    ],
    ids=" ".join,
)
def test_refusals(here: Path, arguments: list[str], words: list[str]) -> None:
    assert_refused(run(str(ROOT / "tune.py"), *arguments, cwd=here), *words)
    assert not list(here.glob("logs/tune-*"))


def test_ray_is_missing_or_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.ray_installation.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install -r requirements-ray\.txt"):
        check_ray(None)
    monkeypatch.setattr("console.ray_installation.find_spec", lambda name: name)
    check_ray(None)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    with socket.create_server(("127.0.0.1", 0)) as server:
        check_ray(f"127.0.0.1:{server.getsockname()[1]}")
    with pytest.raises(InputError, match=r"RAY_ADDRESS=10\.0\.0\.1:6379 is set: unset it, or name .* --address"):
        check_ray(None)


@pytest.mark.parametrize(
    ("address", "why"), [("127.0.0.1:1", "nothing answers"), ("x", "write HOST:PORT"), ("x:y", "write HOST:PORT")]
)
def test_there_is_no_cluster(address: str, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("console.ray_installation.find_spec", lambda name: name)
    with pytest.raises(InputError, match=f"--address {address}: {why}"):
        check_ray(address)


def test_a_job_is_found_again(here: Path) -> None:
    _, job = parse_arguments(["--search", "discount=0.9,1", "--trials", "3", "--size", "4"])
    assert job == Job({"seed": 1, "env_args": {"size": 4}}, [], ["discount=0.9,1"], 3, 1)
    folder = new_folder(job)
    assert find_job("latest") == find_job(str(folder)) == (folder.relative_to(Path()), job)
    (folder / "job.json").write_text("{")
    with pytest.raises(InputError, match=r"job\.json is damaged"):
        find_job("latest")


def test_the_best_command_has_the_same_settings(here: Path) -> None:
    settings = {"env": "CartPole-v1", "steps": 5_000, "double": False, "env_args": {"sutton_barto_reward": True}}
    job = Job(settings, [], ["learning_rate=1e-5:1e-2", "noisy=true,false"], 3, 1)
    _, _, *words = shlex.split(command_of(job, {"learning_rate": 0.00123, "noisy": True}))
    given = parse_command_line(words).settings
    assert Config.from_preset(**given) == Config.from_preset(**settings, learning_rate=0.00123, noisy=True)


def weights_of(path: Path) -> list[np.ndarray]:
    return list(read_model(path).arrays)


def trials_of(job: subprocess.Popen[str]) -> list[psutil.Process]:
    return ray_processes(job, "ray::ImplicitFunc")


@pytest.mark.skipif(os.name != "posix", reason="it kills processes")
def test_a_killed_trial_and_a_killed_job_change_nothing(here: Path, must_end: list[psutil.Process]) -> None:
    """Two runs end with the weights of plain ones, though one's process, and then the job's, are killed."""
    pytest.importorskip("ray")
    command = [sys.executable, str(ROOT / "tune.py")]
    job = subprocess.Popen([*command, "--seeds", "1", "2", *JOB], cwd=here, stderr=subprocess.DEVNULL, text=True)
    try:
        wait_for(lambda: len(list(here.glob("logs/Blob*/checkpoints/checkpoint-*.json"))) >= 3, job)
        assert_only_this_user_reaches(job, trials_of(job))
        killed = trials_of(job)[0].pid
        os.kill(killed, signal.SIGKILL)
        wait_for(lambda: len(trials_of(job)) == 2 and killed not in [each.pid for each in trials_of(job)], job)
    finally:
        must_end += ray_processes(job)
        job.kill()
        job.wait()
    done = subprocess.run([*command, "--resume"], cwd=here, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    assert "2 seeds: mean " in done.stdout
    runs = sorted(here.glob("logs/Blob*/run.json"))
    assert len(runs) == 2  # each went on where it was
    for path in runs:
        settings = json.loads(path.read_text())["config"]
        plain = train(Config(**{**settings, "models_dir": "plain", "logs_dir": "plain"}), quiet=True)
        assert plain.last
        (last,) = here.glob(f"models/{path.parent.name}/last*.model")
        for one, other in zip(weights_of(last), weights_of(plain.last.path), strict=True):
            np.testing.assert_array_equal(one, other)
