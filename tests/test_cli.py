"""The scripts as users run them: a mistake gives one clear line and exit code 2, never a traceback."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from scripts import ROOT, assert_refused, run


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--nonsense"], ["--nonsense"]),
        (["--resume", ""], ["--resume: there is no run"]),
        (["--episodes", "many"], ["--episodes", "many"]),
        (["--episodes", "0"], ["--episodes must be at least 1, got 0"]),
        (["--lanes", "-1"], ["--lanes must be at least 1, got -1"]),
        (["--batch-size", "0"], ["--batch-size must be at least 1"]),
        (["--learning-rate", "0"], ["--learning-rate must be above 0"]),
        (["--learning-rate", "nan"], ["--learning-rate must be a finite number"]),
        (["--discount", "1.5"], ["--discount must be at most 1"]),
        (["--loss", "l1"], ["--loss", "huber", "mse"]),
        (["--preset", "nothing"], ["--preset", "tutorial"]),
        (["--seed", "-4"], ["--seed must be at least 0"]),
        (["--memory-size", "10"], ["--memory-size 10", "--lanes 256"]),
        (["--learn-start", "700000"], ["--learn-start 700000", "never learn"]),
        (["--target-update", "none"], ["--target-update", "episodes", "updates", "soft"]),
        (["--network", "per-action"], ["--network must be auto, dense, small, tutorial or FILE.py:FUNCTION"]),
        (["--method", "sarsa", "--network", "a.py:f"], ["--method sarsa has no network", "--network a.py:f"]),
        (["--method", "sarsa", "--size", "50"], ["takes 1,125.0 GB"]),
        (["--episodes", "4"], ["--learn-start 1000", "never learn", "play more episodes"]),
        (["--env", "Nothing-v0"], ["Nothing-v0"]),
        (["--env", "Pendulum-v1"], ["Pendulum-v1", "Box", "Discrete"]),
        (["--env-args", "size"], ["--env-args takes KEY=VALUE, got 'size'"]),
        (["--env-args", "size=1"], ["size must be a whole number from 2"]),
        (["--env-args", "colour=1"], ["colour"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_train_refuses(arguments: list[str], words: list[str], tmp_path: Path) -> None:
    folders = ["--models-dir", str(tmp_path / "m"), "--logs-dir", str(tmp_path / "l")]
    assert_refused(run("train.py", *folders, *arguments), *words)
    assert not list(tmp_path.rglob("*.*"))  # a refused run writes nothing


@pytest.mark.parametrize("flag", ["--models-dir", "--logs-dir"])
def test_unwritable_folder(flag: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    folders = ["--models-dir", str(tmp_path / "m"), "--logs-dir", str(tmp_path / "l")]
    assert_refused(run("train.py", *folders, flag, str(tmp_path / "file")), flag, "cannot be written")
    assert (tmp_path / "file").read_text() == "in the way"


@pytest.mark.parametrize("script", ["train.py", "evaluate.py", "play.py"])
def test_help_does_not_import_tensorflow(script: str) -> None:
    result = run("-X", "importtime", script, "--help")
    assert result.returncode == 0 and "--episodes" in result.stdout
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in result.stderr.splitlines()}
    assert "console" in imported and not imported & {"tensorflow", "keras"}


@pytest.mark.parametrize("script", ["evaluate.py", "play.py"])
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["x.model", "--episodes", "0"], ["--episodes", "at least 1"]),
        (["x.model", "--seed", "-1"], ["--seed", "at least 0"]),
        (["x.model", "--seed", "one"], ["--seed", "one"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_scripts_refuse(script: str, arguments: list[str], words: list[str]) -> None:
    assert_refused(run(script, *arguments), *words)


def test_play_refuses(tmp_path: Path) -> None:
    assert_refused(
        run("play.py", "x.model", "--record", str(tmp_path / "out.avi")),
        "out.avi must be a file and end in .gif or .mp4",
    )
    assert_refused(run("play.py", "x.model", "--human", "--render", "ansi"), "--human is played in a window")
    assert_refused(run("play.py", "x.model", "--human", "--versus", "optimal"), "not allowed with")
    (tmp_path / "folder.gif").mkdir()
    assert_refused(run("play.py", "x.model", "--record", str(tmp_path / "folder.gif")), "--record", "must be a file")
    assert_refused(run("play.py", "x.model", "--record", "a.gif", "--render", "ansi"), "not allowed with")
    # A display that does not answer, and a driver that SDL does not have.
    for env in ({"DISPLAY": ":77"}, {"SDL_VIDEODRIVER": "nothing"}):
        refused = run("play.py", "x.model", "--render", "human", env=env)
        assert refused.returncode == 2 and "--render human: no window can be opened here" in refused.stderr


@pytest.mark.parametrize("script", ["evaluate.py", "play.py"])
def test_missing_and_foreign_model(script: str, tmp_path: Path) -> None:
    assert_refused(run(script, str(tmp_path / "x.model")), "there is no model file")
    (tmp_path / "x.model").write_bytes(b"PK\3\4 nothing more")
    assert_refused(run(script, str(tmp_path / "x.model")), "not a whole .model file")
    (tmp_path / "x.keras").write_bytes(b"PK\3\4 nothing more")
    assert_refused(run(script, str(tmp_path / "x.keras")), "x.keras is no .model file: it holds a model, but not how")


def test_another_environments_own_mistake_and_too_large_a_memory(tmp_path: Path) -> None:
    folders = ["--models-dir", str(tmp_path / "m"), "--logs-dir", str(tmp_path / "l")]
    wrong_map = run("train.py", *folders, "--env", "FrozenLake-v1", "--env-args", "map_name=9x9")
    assert_refused(wrong_map, "FrozenLake-v1", "KeyError", "9x9")
    huge = run("train.py", *folders, "--memory-size", "1000000000000")
    assert_refused(huge, "--memory-size 1000000000000 takes 105,000.0 GB, this machine has", "transitions fit")


def test_what_is_repeated_must_be_the_files_own(saved_model: tuple[Path, Any, Any]) -> None:
    model = str(saved_model[0])
    for flags, words in (
        (["--env", "CartPole-v1"], "was made with --env Blob-v0, which cannot change"),
        (["--network", "dense"], "was made with --network auto, which cannot change"),
        (["--env-args", "size=9"], "was made with --env-args {'size': 4}, which cannot change"),
    ):
        for script in ("play.py", "evaluate.py"):
            assert_refused(run(script, model, *flags), words)
    assert_refused(run("evaluate.py", model, "--exact", "--episodes", "5"), "not allowed with")


def test_exact_needs_a_blob_that_stands_still(tmp_path: Path) -> None:
    arguments = [
        "--episodes",
        "40",
        "--learn-start",
        "40",
        "--evaluate-episodes",
        "10",
        "--env-args",
        "food_moves=true",
        "--network",
        "dense",
    ]
    trained = run(str(ROOT / "train.py"), *arguments, "--size", "4", "--seed", "1", cwd=tmp_path)
    assert trained.returncode == 0 and "percent of optimum" not in trained.stdout, trained.stderr
    (model,) = tmp_path.glob("models/*/best.model")
    assert_refused(
        run("evaluate.py", str(model), "--exact"),
        "--exact needs a Blob-v0 of 200 steps whose food and enemy stand still",
    )


def test_main_job_and_ctrl_c(tmp_path: Path) -> None:
    """Train, interrupt, score, record and resume, in another folder than the scripts'."""
    script = str(ROOT / "train.py")
    arguments = ["--env-args", "size=4", "--seed", "5", "--evaluate-every", "100", "--evaluate-episodes", "50"]
    arguments += ["--episodes", "800", "--network", "dense", "--epsilon-spread", "1", "--learn-every", "32"]
    process = subprocess.Popen(
        [sys.executable, script, *arguments], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not list(tmp_path.glob("models/*/best.model")) and process.poll() is None:
        time.sleep(0.1)
    resume = [str(ROOT / "train.py"), "--resume", "latest"]
    process.send_signal(signal.SIGSTOP)  # or it might finish before the other process looks
    assert_refused(run(*resume, cwd=tmp_path), "in use by another process")
    process.send_signal(signal.SIGCONT)
    process.send_signal(signal.SIGTERM if os.name == "posix" else signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM and "Traceback" not in errors
    assert f"{ROOT / 'train.py'} --resume logs/Blob-v0-seed5-" in output
    assert "(interrupted)" in output and "tensorboard --logdir logs" in output
    assert f"{ROOT / 'play.py'} models/Blob-v0-seed5-" in output

    (model,) = tmp_path.glob("models/*/best.model")
    moved = tmp_path / "elsewhere.model"
    shutil.copy(model, moved)
    scored = run(str(ROOT / "evaluate.py"), str(moved), "--episodes", "200", cwd=tmp_path)
    assert scored.returncode == 0 and "200 greedy episodes" in scored.stdout and "won" in scored.stdout
    mean, possible = (float(re.findall(rf"{word} +(\S+)", scored.stdout)[0]) for word in ("return", "possible"))
    assert mean <= possible < 25
    exact = run(str(ROOT / "evaluate.py"), str(moved), "--exact", cwd=tmp_path)
    assert exact.returncode == 0 and exact.stdout.startswith("exact, over all 3,360 starts\n")
    assert "exact, over" not in output  # an interrupted run skips this: it takes too long
    played = run(
        str(ROOT / "play.py"), str(moved), "--render", "ansi", "--fps", "1000", "--episodes", "2", cwd=tmp_path
    )
    assert played.returncode == 0 and played.stdout.count("episode ") == 2 and "P" in played.stdout
    (tmp_path / "file").write_text("in the way")
    assert_refused(run(str(ROOT / "play.py"), str(moved), "--record", str(tmp_path / "file" / "a.gif")), "--record")
    recorded = run(str(ROOT / "play.py"), str(moved), "--record", "out.gif", "--seed", "1", cwd=tmp_path)
    assert recorded.returncode == 0 and (tmp_path / "out.gif").read_bytes().startswith(b"GIF89a")

    assert_refused(run(*resume, "--lanes", "4", cwd=tmp_path), "leave out --lanes")
    resumed = run(*resume, cwd=tmp_path)
    assert resumed.returncode == 0 and resumed.stdout.startswith("800 episodes"), resumed.stderr
    assert len(list(tmp_path.glob("models/*/*"))) == 2
    assert_refused(run(*resume, cwd=tmp_path), "is finished: --episodes, above 800")
    found = run(str(ROOT / "report.py"), cwd=tmp_path)
    assert found.returncode == 0 and (found.stdout.startswith("- ") or found.stdout.startswith("nothing looks wrong: "))
    slow = ["--episodes", "100", "--learning-rate", "1e-9", "--init-from", str(moved)]
    begun = run(str(ROOT / "train.py"), *arguments, *slow, cwd=tmp_path / "logs")
    assert begun.returncode == 0, begun.stderr
    before, after = (float(re.findall(r"mean return +(\S+)", text)[0]) for text in (exact.stdout, begun.stdout))
    assert abs(before - after) < 1  # a new network scores about 170 less
    other = run(str(ROOT / "train.py"), "--size", "5", "--init-from", str(moved), cwd=tmp_path)
    assert_refused(other, "elsewhere.model holds no weights for the network that the settings make")


def test_ctrl_c_while_starting() -> None:
    process = subprocess.Popen([sys.executable, "evaluate.py", "x.model"], cwd=ROOT, stderr=subprocess.PIPE, text=True)
    time.sleep(1.5)  # somewhere between the first import and TensorFlow's
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode in (130, 2) and "Traceback" not in errors  # 2: it was so fast that it missed the file


OWN_GAME = """
import gymnasium as gym, numpy as np
from gymnasium.spaces import Box, Dict, Discrete

class Game(gym.Env):
    metadata = {"render_modes": ["ansi"], "render_fps": 100}

    def __init__(self, goal=3, render_mode=None):
        self.goal, self.render_mode = goal, render_mode
        self.observation_space = Dict(place=Box(-1, 1, (2,), np.float32), at=Discrete(8))
        self.action_space = Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.at = 0
        return self.observe()

    def observe(self):
        observation = {"place": np.array([self.at / 8, 1], np.float32), "at": np.int64(self.at)}
        return observation, {"action_mask": np.array([self.at > 0, True], np.int8)}

    def step(self, action):
        self.at += 1 if action else -1
        if self.at < 0:
            raise ValueError("fell off")
        observation, info = self.observe()
        return observation, -1.0, self.at == self.goal, False, info

    def render(self):
        return f"at {self.at}"
"""
OWN_NETWORK = """
import keras

def build(observation_space, n_actions):
    place, at = keras.Input((2,), name="place"), keras.Input((), dtype="int32", name="at")
    features = keras.layers.Dense(16, activation="relu")(place) + keras.layers.Embedding(8, 16)(at)
    return keras.Model({"place": place, "at": at}, keras.layers.Dense(n_actions)(features))
"""


def test_a_game_and_a_network_of_ones_own(tmp_path: Path) -> None:
    """Train, score and replay in the folder that holds the user's two files."""
    (tmp_path / "own_game.py").write_text(OWN_GAME)
    (tmp_path / "own_network.py").write_text(OWN_NETWORK)
    flags = ["--env", "own_game:Game", "--env-args", "goal=5", "--network", "own_network.py:build", "--seed", "1"]
    sizes = ["--steps", "3000", "--learn-start", "100", "--epsilon-steps", "1000", "--target-every", "20"]
    trained = run(str(ROOT / "train.py"), *flags, *sizes, "--max-episode-steps", "60", cwd=tmp_path)
    assert trained.returncode == 0, trained.stderr
    (model,) = tmp_path.glob("models/Game-seed1-*/best.model")
    assert f"play.py {model.relative_to(tmp_path)} --env own_game:Game --network own_" in trained.stdout
    assert_refused(
        run(str(ROOT / "evaluate.py"), str(model)), "If you trust it, repeat it: --env own_game:Game --network"
    )
    trust = ["--env", "own_game:Game", "--network", "own_network.py:build"]
    scored = run(str(ROOT / "evaluate.py"), str(model), *trust, cwd=tmp_path)
    assert "100 greedy episodes\nreturn      -5.000 +- 0.000" in scored.stdout, scored.stdout + scored.stderr
    played = run(str(ROOT / "play.py"), str(model), *trust, "--render", "ansi", "--episodes", "1", cwd=tmp_path)
    assert played.stdout.split("\n")[0] == "at 0" and "episode 1: return -5, 5 steps, terminated" in played.stdout
    refused = run(str(ROOT / "play.py"), str(model), *trust, "--record", "x.gif", cwd=tmp_path)
    assert_refused(refused, "own_game:Game cannot be shown as 'rgb_array', only as ansi")
    assert_refused(run(str(ROOT / "evaluate.py"), str(model), *trust), "--env: cannot import own_game from")
    (tmp_path / "own_network.py").unlink()
    assert_refused(run(str(ROOT / "evaluate.py"), str(model), *trust, cwd=tmp_path), "there is no file own_network.py")


def test_check_only_checks(tmp_path: Path) -> None:
    """CartPole gives 1 a step, so the random episode's return is its length."""
    folders = ["--models-dir", str(tmp_path / "m"), "--logs-dir", str(tmp_path / "l")]
    done = run("train.py", *folders, "--env", "CartPole-v1", "--check")
    said = (
        r"CartPole-v1 can be trained on: observations Box.*, actions Discrete\(2\); a random episode took (\d+) steps"
    )
    found = re.match(said + r" and returned (\d+); preset CartPole-v1", done.stdout)
    assert done.returncode == 0 and found and found[1] == found[2]
    assert not list(tmp_path.rglob("*.*"))
