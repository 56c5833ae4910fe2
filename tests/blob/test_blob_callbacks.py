"""The callbacks that log Blob's exact answer."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from blob import callbacks
from blob.callbacks import MOST_DRAWN, PercentOfOptimum, PolicyMap
from config import Config


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


def test_environments_are_closed_if_solving_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []
    monkeypatch.setattr("blob_env.BlobVectorEnv.close_extras", lambda self, **_: closed.append(self))
    monkeypatch.setattr(callbacks, "start_means", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        PercentOfOptimum(Config(env_args={"size": 3})).on_train_begin()
    assert len(closed) == 1
