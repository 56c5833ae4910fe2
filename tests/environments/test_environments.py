"""Making and checking environments: what a user may name, what is refused and how, and what the agent then sees."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Text

from config import Config
from console.errors import InputError
from environments.check import check_env
from environments.known import symmetries_of
from environments.lanes import final_observations, make_vector_env
from environments.make import LONGEST_EPISODE, make_env, time_limit
from replay_memory import ReplayMemory


class Odd(gym.Env):
    """A sound environment of ten steps, with one thing wrong."""

    def __init__(self, wrong: str = "nothing", render_mode: str | None = None) -> None:
        self.wrong = wrong
        bound = np.inf if wrong == "infinite" else 1
        self.observation_space: gym.Space = Text(5) if wrong == "space" else Box(-bound, bound, (2,), np.float32)
        self.action_space: gym.Space = Box(-1, 1) if wrong == "action" else Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.steps = 0
        return self._observe(), {"action_mask": np.ones(2, np.int8)} if self.wrong == "mask" else {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict]:
        self.steps += 1
        if self.wrong == "raise" and self.steps == 9:
            raise RuntimeError("out of order")
        if self.wrong == "exit" and self.steps == 9:
            raise SystemExit(5)
        reward: Any = {"reward": np.inf, "no reward": None}.get(self.wrong, 1.0) if self.steps == 7 else 1.0
        info = {"action_mask": [1, 1, 1]} if self.wrong == "last mask" and self.steps == 10 else {}
        return self._observe(), reward, self.steps == 10 and self.wrong != "end", False, info

    def _observe(self) -> np.ndarray:
        late = {"late": 2.0, "infinite": np.inf}.get(self.wrong, 0.0) if self.steps == 9 else 0.0
        return self.np_random.random(3 if self.wrong == "shape" else 2).astype(np.float32) + np.float32(late)


@pytest.fixture(autouse=True)
def odd() -> None:
    gym.registry.pop("Odd-v0", None)
    gym.register("Odd-v0", lambda **options: Odd(**options))


def test_a_sound_one_passes_and_warnings_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    check_env(Config.from_preset(env="Odd-v0", max_episode_steps=100))
    assert capsys.readouterr().err == ""
    check_env(Config.from_preset(env="Odd-v0"))
    assert "Odd-v0 has no limit of steps: greedy play that never ends is cut after 27,000" in capsys.readouterr().err
    check_env(Config.from_preset(env="CartPole-v1"))
    first, _ = capsys.readouterr().err.splitlines()
    assert first == (
        "warning: CartPole-v1: A Box observation space minimum value is -infinity. This is probably too low."
    )


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ("action", r"has the action space Box.*: deep Q-learning needs a Discrete one"),
        ("space", r"no network for observations of Text"),
        ("shape", r"is not a sound Gymnasium environment: AssertionError: "),
        ("mask", r"gives the action_mask array\(\[1, 1\].*, it must be a NumPy array of shape \(3,\)"),
        ("last mask", r"gives the action_mask \[1, 1, 1\], it must be a NumPy array of shape \(3,\)"),
        ("reward", r"gave the reward inf: rewards must be finite numbers"),
        ("no reward", r"gave the reward None: rewards must be finite numbers"),
        ("late", r"gave an observation outside of its space Box.*: array\(\[2"),
        ("infinite", r"gave an observation that is not finite: array\(\[inf"),
        ("raise", r"--env Odd-v0 fails: RuntimeError: out of order"),
        ("exit", r"fails: SystemExit: 5"),
        ("end", r"did not end in 10,000 random steps and has no limit of its own: set --max-episode-steps"),
    ],
)
def test_what_cannot_work_says_why(wrong: str, message: str) -> None:
    config = Config.from_preset(env="Odd-v0", env_args={"wrong": wrong})
    with pytest.raises(InputError, match=message):
        check_env(config)


class Unseen(Odd):
    """Takes no `render_mode`."""

    def __init__(self) -> None:
        super().__init__()


def test_modules_without_such_an_environment_and_such_that_cannot_be_shown() -> None:
    with pytest.raises(InputError, match="test_environments:Misspelt: the module has no class Misspelt derived from"):
        make_env(Config.from_preset(env="test_environments:Misspelt"))
    unseen = Config.from_preset(env="test_environments:Unseen")
    make_env(unseen)
    with pytest.raises(InputError, match="cannot be shown: its constructor takes no render_mode"):
        make_env(unseen, "ansi")


def test_an_episode_that_nobody_limits_is_cut_some_day() -> None:
    assert time_limit(make_env(Config.from_preset(env="Odd-v0"))) == LONGEST_EPISODE
    endless = Config.from_preset(env="Odd-v0", env_args={"wrong": "end"}, max_episode_steps=25)
    check_env(endless)
    env = make_env(endless)
    env.reset(seed=0)
    ends = [env.step(0)[2:4] for _ in range(25)]
    assert ends == [(False, False)] * 24 + [(False, True)]
    longer = make_env(Config.from_preset(env="MountainCar-v0", max_episode_steps=250))  # its own limit is 200
    longer.reset(seed=0)
    assert [longer.step(1)[3] for _ in range(250)] == [False] * 249 + [True]
    assert time_limit(make_env(Config.from_preset(env="CartPole-v1"))) == 500
    assert time_limit(make_env(Config.from_preset(env="CartPole-v1", max_episode_steps=7))) == 7


def test_a_limit_that_leaves_too_little_to_learn_from() -> None:
    with pytest.raises(InputError, match="--learn-start 1000 is more than the 500 steps that --episodes 1 can take"):
        check_env(Config.from_preset(env="CartPole-v1", episodes=1))
    with pytest.raises(InputError, match="--learn-start 1000 is more than --steps 900"):
        Config.from_preset(env="CartPole-v1", steps=900)


OWN_FILE = """
import gymnasium as gym
from tests.environments.test_environments import Odd

class Mine(Odd):
    pass

gym.register("Registered-v3", Mine, max_episode_steps=4)
"""


@pytest.fixture
def own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "own_file_of_a_user.py").write_text(OWN_FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_file_of_a_user", raising=False)
    gym.registry.pop("Registered-v3", None)
    return "own_file_of_a_user"


def test_a_file_of_ones_own(own_file: str) -> None:
    env = make_env(Config.from_preset(env=f"{own_file}:Mine", env_args={"wrong": "mask"}))
    assert type(env.unwrapped).__name__ == "Mine" and env.unwrapped.wrong == "mask"  # type: ignore[attr-defined]
    assert time_limit(make_env(Config.from_preset(env=f"{own_file}:Registered-v3"))) == 4
    with pytest.raises(InputError, match=r"own_file_of_a_user:Missing: the module has no class Missing derived from"):
        make_env(Config.from_preset(env=f"{own_file}:Missing"))
    with pytest.raises(InputError, match=r"--env: cannot import nowhere.at_all from .*No module named 'nowhere'"):
        make_env(Config.from_preset(env="nowhere.at_all:Mine"))


@pytest.mark.parametrize(("env", "package"), [("ALE/Pong-v5", "ale_py"), ("VizdoomBasic-v1", "vizdoom")])
def test_a_missing_package_gives_the_pip_line(env: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, f"{package}.gymnasium_wrapper", raising=False)
    line = f"needs the package {package}: pip install -r requirements-extra.txt"
    with pytest.raises(InputError, match=line):
        make_env(Config.from_preset(env=env))


def test_atari_as_the_agent_sees_it() -> None:
    config = Config.from_preset(env="ALE/Breakout-v5")
    assert config.frame_stack == 4 and config.reward_clip == 1
    env = make_env(config)
    assert env.observation_space == Box(0, 255, (4, 84, 84), np.uint8)
    kwargs = env.unwrapped.spec.kwargs  # type: ignore[union-attr]
    assert (kwargs["frameskip"], kwargs["repeat_action_probability"]) == (1, 0.25)
    first, info = env.reset(seed=0)
    assert (first == first[0]).all()  # the first frame, four times
    lives, played = [info["lives"]], 0
    generator = np.random.default_rng(0)
    ended = False
    while not ended:
        *_, terminated, truncated, info = env.step(int(generator.integers(4)))
        lives.append(info["lives"])
        played += 1
        ended = terminated or truncated
    assert (lives[0], lives[-1]) == (5, 0)  # the episode goes on until the last life is lost
    assert played == np.ceil(info["episode_frame_number"] / 4)


def test_doom_as_the_agent_sees_it() -> None:
    env = make_env(Config.from_preset(env="VizdoomBasic-v1"))
    assert isinstance(env.observation_space, Dict)
    assert env.observation_space["screen"] == Box(0, 255, (4, 84, 84), np.uint8)
    assert env.observation_space["gamevariables"].shape == (4, 1)
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation) and observation["screen"].std() > 10
    assert (observation["gamevariables"] == 50).all()  # bullets
    for step in range(1, 76):
        observation, _, terminated, truncated, _ = env.step(0)  # wait until the time is up, 300 tics of which 4 a step
        assert (terminated, truncated) == (step == 75, step == 75)  # which VizDoom says is both
    assert not observation["screen"][-1].any()  # there is no last frame; terminated wins, so nothing learns from it
    env.close()


def test_stacked_frames_are_the_wrappers_own_in_the_memory_too() -> None:
    config = Config.from_preset(
        env="Blob-v0", env_args={"size": 4, "food_moves": True}, frame_stack=3, max_episode_steps=9
    )
    lanes = 3
    envs = make_vector_env(config, lanes)
    assert symmetries_of(envs) == ()
    memory = ReplayMemory(90, lanes, np.zeros((3, 4, 4, 3), np.uint8), 9, 3)
    generator = np.random.default_rng(0)
    observations, _ = envs.reset(seed=0)
    expected: list[tuple[np.ndarray, np.ndarray]] = []
    for _ in range(100):
        next_observations, rewards, terminated, truncated, infos = envs.step(actions := generator.integers(9, size=3))
        final = final_observations(next_observations, infos)
        memory.append(observations, actions, rewards, terminated, truncated, final)
        expected += [(observations[i].copy(), final[i].copy()) for i in range(lanes)]
        observations = next_observations
    assert memory._arrays()["observations_0"].shape[2:] == (4, 4, 3)  # one frame a step
    assert len(memory) == 90
    for held, (observation, next_observation) in zip(map(memory.__getitem__, range(90)), expected[-90:], strict=True):
        np.testing.assert_array_equal(held.observation, observation, strict=True)
        np.testing.assert_array_equal(held.next_observation, next_observation, strict=True)


@pytest.mark.parametrize(
    "make", [lambda: Config.from_preset(env="CartPole-v1"), lambda: Config.from_preset(env="Odd-v0")]
)
def test_no_step_is_spent_on_resetting(make: Callable[[], Config]) -> None:
    """CartPole-v1 registers a vector environment that knows NEXT_STEP autoreset alone; ours are made of single ones."""
    envs = make_vector_env(make(), 2)
    envs.reset(seed=0)
    lengths, counted = [0, 0], 0
    for _ in range(100):
        _, rewards, terminated, truncated, infos = envs.step(np.zeros(2, np.int64))
        assert rewards.tolist() == [1.0, 1.0]  # a reset's row would give 0
        for i in np.flatnonzero(terminated | truncated):
            assert infos["_final_obs"][i]
            counted += 1
        lengths = [0 if end else length + 1 for length, end in zip(lengths, terminated | truncated, strict=True)]
    assert counted >= 18


def test_options_add_to_the_presets_own() -> None:
    config = Config.from_preset(env="FrozenLake-v1", env_args={"map_name": "8x8"})
    assert config.env_args == {"is_slippery": False, "map_name": "8x8"}
    for option in ("max_episode_steps", "render_mode"):
        with pytest.raises(InputError, match=f"--env-args takes no {option}: use "):
            make_env(Config(env_args={option: 5}))


def test_only_environments_are_called() -> None:
    """A model file names an environment, which must not be a way to call anything else."""
    with pytest.raises(InputError, match=r"os:getcwd: the module has no class getcwd derived from gymnasium.Env"):
        make_env(Config.from_preset(env="os:getcwd"))


def test_somebody_elses_symmetries_are_left_alone() -> None:
    env = make_env(Config.from_preset(env="Odd-v0"))
    env.unwrapped.symmetries = 4  # type: ignore[attr-defined]
    assert symmetries_of(env) == ()
