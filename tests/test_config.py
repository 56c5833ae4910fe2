"""Facts about settings, and the clipping of rewards."""

import numpy as np
import pytest

from config import Config, fields_with


def test_facts_about_settings() -> None:
    assert fields_with("may_change") == {"episodes", "steps"}
    assert fields_with("may_repeat") == {"env", "env_args", "network", "logs_dir", "models_dir"}
    assert fields_with("compared", False) == {"seed", "models_dir", "logs_dir", "checkpoint_every"}


@pytest.mark.parametrize(("clip", "expected"), [(25.0, [-25, -1, 25]), (0.5, [-0.5, -0.5, 0.5]), (0.0, [-300, -1, 25])])
def test_rewards_are_clipped_for_learning(clip: float, expected: list[float]) -> None:
    clipped = Config(reward_clip=clip).clip_rewards([-300.0, -1.0, 25.0])
    np.testing.assert_array_equal(clipped, np.array(expected, float), strict=True)
