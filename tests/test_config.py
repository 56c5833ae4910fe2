"""Facts about settings, and the clipping of rewards."""

import numpy as np
import pytest

from config import Config, fields_with


def test_facts_about_settings() -> None:
    assert fields_with("may_change") == {"episodes", "steps"}
    assert fields_with("may_repeat") == {"env", "env_args", "network", "logs_dir", "models_dir"}
    assert fields_with("compared", False) == {"seed", "models_dir", "logs_dir", "checkpoint_every", "processes"}


@pytest.mark.parametrize(("clip", "expected"), [(25.0, [-25, -1, 25]), (0.5, [-0.5, -0.5, 0.5]), (0.0, [-300, -1, 25])])
def test_rewards_are_clipped_for_learning(clip: float, expected: list[float]) -> None:
    clipped = Config(reward_clip=clip).clip_rewards([-300.0, -1.0, 25.0])
    np.testing.assert_array_equal(clipped, np.array(expected, float), strict=True)


def test_what_sets_a_run_apart() -> None:
    config = Config.from_preset(env="CartPole-v1", env_args={"sutton_barto_reward": True}, learning_rate=0.5, seed=3)
    assert config.differences() == {"env_args": {"sutton_barto_reward": True}, "learning_rate": 0.5}
    assert Config(seed=3, logs_dir="elsewhere").differences() == {}
    # A preset's own options of the environment are no difference, and the size that chose the preset is one.
    assert Config.from_preset(env="FrozenLake-v1").differences() == {}
    assert Config.from_preset(env_args={"size": 50}).differences() == {"env_args": {"size": 50}}
