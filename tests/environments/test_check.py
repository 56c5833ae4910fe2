"""Checking environments: a sound one passes, and each fault is refused with its reason."""

from typing import Any

import gymnasium as gym
import numpy as np
import odd_env  # noqa: F401 (registers Odd-v0)
import pytest
from gymnasium.spaces import Discrete

import console.messages as messages
from config import Config
from console.errors import InputError
from environments.check import check_env
from environments.make import make_env


def test_a_sound_environment_passes_and_warnings_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    check_env(Config.from_preset(env="Odd-v0", max_episode_steps=100))
    assert capsys.readouterr().err == ""
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
        ("shape", r"observation is float32 \(3,\), its space has float32 \(2,\)"),
        ("mask", r"gives the action_mask array\(\[1, 1\].*: it must hold 3 numbers, 1 for a legal action and 0 for"),
        ("logits", r"gives the action_mask \[0.0, -inf, 0.0\]: it must hold 3 numbers"),
        ("reward", r"gave the reward inf: a reward must be one finite number"),
        ("no reward", r"gave the reward None: a reward must be one finite number"),
        ("infinite", r"observation\[0\] is inf \(float32\): observations must be finite numbers"),
        ("nan", r"observation\[0\] is nan \(float32\): observations must be finite numbers"),
        ("flag", r"gave truncated='no': it must be True or False"),
        ("info", r"gave the info None: Gymnasium's reset and step return a dictionary last"),
        ("old reset", r"returned one ndarray from reset: Gymnasium's reset returns \(observation, info\)"),
        ("old step", r"returned 4 values from step: Gymnasium's step returns .*, old Gym's one flag less"),
        ("raise", r"--env Odd-v0 fails in step: RuntimeError: out of order \(odd_env.py, line \d+\)"),
        ("exit", r"fails in step: SystemExit: 5"),
        ("close", r"--env Odd-v0 fails: RuntimeError: it does not close"),
        ("end", r"did not end in 10,000 random steps and has no time limit of its own: set --max-episode-steps"),
    ],
)
def test_every_fault_is_named(wrong: str, message: str) -> None:
    config = Config.from_preset(env="Odd-v0", env_args={"wrong": wrong})
    with pytest.raises(InputError, match=message):
        check_env(config)


def test_a_limit_of_steps_makes_an_endless_environment_acceptable() -> None:
    check_env(Config.from_preset(env="Odd-v0", env_args={"wrong": "end"}, max_episode_steps=25))


def test_a_run_too_short_to_learn_is_refused() -> None:
    with pytest.raises(InputError, match="--learn-start 1000 is more than the 500 steps that --episodes 1 can take"):
        check_env(Config.from_preset(env="CartPole-v1", episodes=1))
    with pytest.raises(InputError, match="--learn-start 1000 is more than --steps 900"):
        Config.from_preset(env="CartPole-v1", steps=900)


@pytest.mark.parametrize(
    ("wrong", "warning"),
    [
        # Sound, though Gymnasium's checker refuses them.
        ("list mask", ""),
        ("scalars", ""),
        ("buffer", ""),
        ("infos", ""),
        # Trained on, with a warning.
        ("late", "observation[0] is 2.5 (float32), beyond its space's bound 1.0; such numbers are learned from as"),
        (
            "rounding",
            "observation[0] is 1.0000001192092896 (float32), a rounding beyond its space's bound 1.0: clipped",
        ),
        ("float64", "observation is float64, its space says float32: it is converted"),
        ("random", "draws random numbers elsewhere than from its self.np_random: two runs of one seed differ, and a"),
        ("no legal action", "goes on with an action_mask in which no action is legal: all count as legal there"),
    ],
)
def test_what_can_be_trained_on_is_not_refused(
    wrong: str, warning: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "_said", set())
    check_env(Config.from_preset(env="Odd-v0", env_args={"wrong": wrong}))
    said = capsys.readouterr().err.splitlines()
    assert warning in said[0] and len(said) == 1 if warning else not said


def test_of_an_info_only_what_is_read_is_kept() -> None:
    env = make_env(Config.from_preset(env="Odd-v0", env_args={"wrong": "infos"}))
    assert env.reset(seed=0)[1] == {} == env.step(0)[4]


class DiscretePendulum(gym.ActionWrapper):
    """Five torques in place of a continuous one."""

    def __init__(self) -> None:
        super().__init__(gym.make("Pendulum-v1"))
        self.action_space = Discrete(5)

    def action(self, action: int) -> np.ndarray:
        return np.array([action - 2], np.float32)


class Repeated(gym.Wrapper):
    """Acts twice."""

    def __init__(self) -> None:
        super().__init__(gym.make("CartPole-v1"))

    def step(self, action: int) -> tuple:
        *_, terminated, truncated, _ = step = self.env.step(action)
        return step if terminated or truncated else self.env.step(action)


@pytest.mark.parametrize("env", [DiscretePendulum, Repeated])
def test_an_environment_is_checked_as_it_is_trained_on(env: Any) -> None:
    """Whether a class or a function made it of wrappers."""
    check_env(Config.from_preset(env=f"{__name__}:{env.__name__}", max_episode_steps=100))
    gym.register("Made-v0", lambda **options: env(**options), max_episode_steps=100)
    try:
        check_env(Config.from_preset(env="Made-v0"))
    finally:
        del gym.registry["Made-v0"]
