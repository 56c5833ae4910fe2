"""Checking environments: a sound one passes, and each fault is refused with its reason."""

import odd_env  # noqa: F401 (registers Odd-v0)
import pytest

from config import Config
from console.errors import InputError
from environments.check import check_env


def test_a_sound_environment_passes_and_warnings_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    check_env(Config.from_preset(env="Odd-v0", max_episode_steps=100))
    assert capsys.readouterr().err == ""
    check_env(Config.from_preset(env="Odd-v0"))
    assert "Odd-v0 has no time limit: greedy play that never ends is cut after 27,000 steps" in capsys.readouterr().err
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
