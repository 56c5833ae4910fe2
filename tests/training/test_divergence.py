"""Which rewards and updates stop a run, with limits worked out by hand, and what the message says."""

import numpy as np
import pytest

from config import Config
from console.errors import InputError
from losses import UpdateStats
from training.divergence import DivergenceGuard

# Rewards of 3 in size at most, worth 3 + 1.5 + 0.75 + ... = 6 in sum. Q-values are allowed 2 * 6 + 10 = 22.
CONFIG = Config(discount=0.5, reward_clip=3.0)


def guard_after(config: Config, *rewards: float) -> DivergenceGuard:
    guard = DivergenceGuard(config)
    guard.check(np.array(rewards), [], 0)
    return guard


def update(q_mean: float, loss: float = 1.0) -> list[UpdateStats]:
    return [UpdateStats(loss, q_mean, q_mean)]


def test_the_limit_by_hand() -> None:
    guard = DivergenceGuard(CONFIG)
    assert guard.q_limit == 0
    guard.check(np.array([1.0, -2.0]), [], 0)
    assert guard.q_limit == 4  # 2 / (1 - 0.5)
    guard.check(np.array([0.5, 0.5]), [], 0)
    assert guard.q_limit == 4
    guard.check(np.array([0.0, -100.0]), [], 0)  # is learned from as -3
    assert guard.q_limit == 6


def test_without_a_discount_there_is_no_limit() -> None:
    guard = guard_after(Config(discount=1.0), 1.0)
    assert guard.q_limit == np.inf
    guard.check(np.ones(1), update(1e30), 0)


@pytest.mark.parametrize("reward", [np.nan, np.inf, -np.inf])
def test_a_reward_that_is_not_finite(reward: float) -> None:
    with pytest.raises(InputError) as caught:
        DivergenceGuard(CONFIG).check(np.array([1.0, reward]), [], 0)
    assert str(caught.value) == (
        "Blob-v0 gave a reward that is not a finite number, so the run was stopped: look in its step for a division by "
        "zero or an overflow"
    )


def test_a_loss_that_is_not_finite() -> None:
    with pytest.raises(InputError) as caught:
        guard_after(CONFIG, 3.0).check(np.ones(1), [*update(0.0), *update(0.0, loss=np.nan)], 1_234)
    assert str(caught.value) == (
        "the loss became nan after 1,234 episodes, so the run was stopped: lower --learning-rate 0.003 or set "
        "--gradient-clip"
    )


def test_q_values_that_ran_away() -> None:
    guard = guard_after(CONFIG, 3.0)
    for q_mean in (22.0, -22.0):
        guard.check(np.ones(1), update(q_mean), 0)
    with pytest.raises(InputError, match=r"average -22\.1 after"):
        guard.check(np.ones(1), update(-22.1), 0)
    with pytest.raises(InputError) as caught:
        guard.check(np.ones(1), update(22.1), 1_234)
    assert str(caught.value) == (
        "Q-values average 22.1 after 1,234 episodes, so the run was stopped: rewards up to 3 and --discount 0.5 allow "
        "at most 6.0. They ran away: lower --learning-rate 0.003 or set --gradient-clip, copy to the target network "
        "less often (--target-every) or try --double"
    )


def test_a_table_gets_no_advice_for_networks() -> None:
    config = Config(method="q-learning", discount=0.5, reward_clip=3.0, learning_rate=0.9)
    with pytest.raises(InputError, match=r"They ran away: lower --learning-rate 0\.9$"):
        guard_after(config, 3.0).check(np.ones(1), update(22.1), 0)


def test_a_reward_counts_before_the_updates_of_its_step() -> None:
    DivergenceGuard(CONFIG).check(np.full(1, 3.0), update(22.0), 0)
    with pytest.raises(InputError):
        DivergenceGuard(CONFIG).check(np.zeros(1), update(22.0), 0)


def test_state_round_trip() -> None:
    restored = DivergenceGuard(CONFIG)
    restored.set_state(guard_after(CONFIG, -2.0).get_state())
    assert restored.q_limit == 4
