"""The project from Python: the settings are the command line's, and a loaded agent plays as it was scored."""

import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scripts import ROOT

import dqn
from config import Config
from console.errors import InputError
from dqn import curves, load, train
from storage.model_file import SHIPPED_MODEL

SMALL: dict[str, Any] = {
    "env_args": {"size": 4}, "episodes": 60, "learn_start": 100, "evaluate_every": 60, "evaluate_episodes": 50,
    "lanes": 4, "aggregate_every": 20, "network": "dense", "seed": 1, "quiet": True,
}  # fmt: skip


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_there_are_five_names() -> None:
    assert sorted(dqn.__all__) == ["Agent", "Config", "curves", "load", "train"]


def test_settings_are_those_of_the_command_line() -> None:
    result = train(env="CartPole-v1", steps=1_000, seed=3, quiet=True)
    assert result.config == Config.from_preset(env="CartPole-v1", steps=1_000, seed=3)
    assert repr(result).startswith(f"RunResult({result.name}: ") and len(repr(result)) < 200
    with pytest.raises(TypeError, match="either a config or single settings"):
        train(Config(), seed=3)
    with pytest.raises(InputError, match=r"there is no setting --xyz$"):
        train(xyz=3)
    with pytest.raises(InputError, match=r"there is no setting --lerning-rate; did you mean --learning-rate\?"):
        train(lerning_rate=3)
    with pytest.raises(InputError, match="there is no setting --gamma; here it is --discount"):
        train(gamma=0.9)
    with pytest.raises(InputError, match="--episodes must be at least 1"):
        train(episodes=0)


def test_blobs_settings_for_another_environment_are_noticed(capsys: pytest.CaptureFixture[str]) -> None:
    train(Config(env="CartPole-v1", episodes=40, learn_start=100, evaluate_episodes=5, network="dense"), quiet=True)
    assert (
        "CartPole-v1 has the settings of Blob: Config.from_preset(env='CartPole-v1') has its own"
        in capsys.readouterr().err
    )
    train(Config.from_preset(env="CartPole-v1", steps=1_000), quiet=True)
    assert "settings of Blob" not in capsys.readouterr().err


def test_a_loaded_agent_acts_as_it_was_scored(tmp_path: Path) -> None:
    result = train(**SMALL)
    assert result.best
    agent = load("latest")
    assert agent.path.resolve() == result.best.path.resolve()
    assert agent.config == result.config and agent.scores == result.best.scores
    with agent.make_env() as env:
        observation, info = env.reset(seed=1)
        values = agent.q_values(observation)
        assert values.shape == (9,) and agent.act(observation, info) == values.argmax()
        legal = np.zeros(9, np.int8)
        legal[worst := int(values.argmin())] = 1
        assert agent.act(observation, {"action_mask": legal}) == worst
        total, ended = 0.0, False
        while not ended:
            observation, reward, terminated, truncated, info = env.step(agent.act(observation, info))
            total, ended = total + float(reward), terminated or truncated
    assert agent.evaluate(episodes=1, seed=1)["avg"] == total
    assert repr(agent) == (
        f"Agent(Blob-v0, greedy {agent.scores['avg']:.2f} of {agent.scores['possible']:.2f} possible from these "
        f"starts, won {won_of(agent)}, '{agent.path}')"
    )
    with Image.open(agent.record(tmp_path / "film.gif")) as film:
        assert film.format == "GIF"
    with pytest.raises(InputError, match=r"film\.avi must be a file and end in \.gif or \.mp4"):
        agent.record("film.avi")


def won_of(agent: dqn.Agent) -> str:
    match = re.search(r"won ([\d.]+%)", repr(agent))
    assert match
    assert float(match[1][:-1]) == pytest.approx(100 * agent.scores["won"], abs=0.1)
    return match[1]


def test_without_a_run_the_models_that_came_with_the_project_is_loaded() -> None:
    assert load().path == SHIPPED_MODEL
    with pytest.raises(InputError, match="there is no model file nothing"):
        load("nothing")


OWN = """
import gymnasium as gym, numpy as np

class Game(gym.Env):
    observation_space, action_space = gym.spaces.Box(0, 1, (2,)), gym.spaces.Discrete(2, start=5)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.left = 10
        return np.zeros(2, np.float32), {}

    def step(self, action):
        assert action in (5, 6)
        self.left -= 1
        return np.full(2, self.left / 10, np.float32), float(action == 6), self.left == 0, False, {}
"""


def test_actions_are_counted_as_the_environment_does(tmp_path: Path) -> None:
    """Actions of a Discrete(2, start=5) are 5 and 6; the second pays."""
    (tmp_path / "own_discrete.py").write_text(OWN)
    name = "own_discrete.py:Game"
    result = train(env=name, steps=2_000, learn_start=100, epsilon_steps=1_000, seed=1, quiet=True)
    with pytest.raises(InputError, match="If you trust it, repeat it"):
        load(result.name)
    agent = load(result.name, env=name)
    with agent.make_env() as env:
        assert agent.act(env.reset(seed=1)[0]) == 6
    assert agent.evaluate(3)["avg"] == 10


def test_curves_are_those_of_the_run() -> None:
    result = train(**SMALL)
    episodes, returns = curves(result.name)["reward/avg"]
    assert episodes[-1] == result.episodes and len(episodes) == len(returns) >= 3
    assert curves().keys() == curves(result.log_dir).keys()
    with pytest.raises(InputError, match="there is no run nothing"):
        curves("nothing")


def test_a_run_is_continued_by_its_name() -> None:
    first = train(**SMALL)
    longer = train(resume=first.name, episodes=100, quiet=True)
    assert longer.log_dir.resolve() == first.log_dir.resolve() and longer.episodes >= 100
    with pytest.raises(InputError, match="is finished: --episodes, above 100"):
        train(resume="latest", quiet=True)


def test_the_examples_of_the_docs_run(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    assert len(examples) == 4
    for example in examples:
        exec(compile(example, "docs/python.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("CartPole-v1-seed1-") and printed[1] == "0.99 64"
    assert printed[2].startswith("Agent(CartPole-v1, greedy ")
    assert Path("film.gif").read_bytes().startswith(b"GIF89a")


def test_an_agent_is_trained_in_a_thread_and_twice_in_a_process() -> None:
    results = []
    thread = threading.Thread(target=lambda: results.append(train(**SMALL)))
    thread.start()
    thread.join()
    again = train(**SMALL)
    for one, other in zip(results[0].agent.get_weights(), again.agent.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
