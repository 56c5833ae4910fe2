"""The callbacks that log Blob's exact answer."""

from contextlib import closing
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from blob import callbacks
from blob.callbacks import MOST_DRAWN, PercentOfOptimum, PolicyMap
from blob_env import BlobVectorEnv
from config import Config
from training.evaluation import EVALUATION_SEED


def logs_after_window(size: int, evaluation: float | None) -> dict[str, Any]:
    """Run a `PolicyMap` for one window with an agent that stays where it is."""
    policy_map = PolicyMap(Config(env_args={"size": size}))
    policy_map.set_params({"agent": SimpleNamespace(q_values=lambda boards: np.eye(9)[np.full(len(boards), 8)])})
    policy_map.on_train_begin()
    logs: dict[str, Any] = {} if evaluation is None else {"evaluation": evaluation}
    policy_map.on_epoch_end(0, logs)
    return logs


def test_policy_is_drawn_in_windows_with_an_evaluation() -> None:
    picture = logs_after_window(5, 3)["see_policy"]
    assert picture.dtype == np.uint8 and picture.ndim == 3
    assert "see_policy" not in logs_after_window(5, None)


def test_large_boards_are_not_drawn() -> None:
    assert "see_policy" not in logs_after_window(MOST_DRAWN + 1, 3)


def test_what_is_possible_is_known_to_the_evaluation_and_the_logs() -> None:
    config = Config(env_args={"size": 3}, evaluate_episodes=20)
    evaluation, judge = SimpleNamespace(possible=None, scores={"episodes": 5}), PercentOfOptimum(config)
    judge.set_params({"evaluation": evaluation})
    judge.on_train_begin()
    with closing(BlobVectorEnv(20, size=3)) as envs:
        envs.reset(seed=EVALUATION_SEED)
        random, optimum = callbacks.start_returns(envs.rules, envs.positions)
    np.testing.assert_array_equal(evaluation.possible, optimum)
    # A look has the first five of the twenty starts.
    best, worst = optimum[:5].mean(), random[:5].mean()
    logs = {"greedy_avg": best}
    judge.on_epoch_end(0, logs)
    assert (logs["greedy_optimum"], logs["greedy_random"], logs["percent_of_optimum"]) == (best, worst, 100)
    assert logs["missing"] == -4
    logs = {"greedy_avg": best - (best - worst) / 1_000}  # a tenth of a percent is missing
    judge.on_epoch_end(0, logs)
    assert logs["percent_of_optimum"] == pytest.approx(99.9) and logs["missing"] == pytest.approx(-1)
    logs = {"greedy_avg": worst}
    judge.on_epoch_end(0, logs)
    assert logs["percent_of_optimum"] == 0 and logs["missing"] == pytest.approx(2)


def test_environments_are_closed_if_solving_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []
    monkeypatch.setattr("blob_env.BlobVectorEnv.close_extras", lambda self, **_: closed.append(self))
    monkeypatch.setattr(callbacks, "start_returns", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        PercentOfOptimum(Config(env_args={"size": 3})).on_train_begin()
    assert len(closed) == 1
