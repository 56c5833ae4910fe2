"""TensorFlow is imported once for all tests, quietly."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from startup import import_tensorflow

import_tensorflow()

from config import Config  # noqa: E402


@pytest.fixture
def small_config(tmp_path: Path) -> Callable[..., Config]:
    """Settings of a run of a second or two on a 4x4 board, which leaves its files in the test's own folder."""

    def make(**settings: Any) -> Config:
        defaults: dict[str, Any] = {
            "env_args": {"size": 4},
            "episodes": 60,
            "seed": 7,
            "lanes": 4,
            "aggregate_every": 20,
            "evaluate_every": 20,
            "evaluate_episodes": 20,
            "batch_size": 16,
            "learn_start": 50,
            "models_dir": str(tmp_path / "models"),
            "logs_dir": str(tmp_path / "logs"),
        }
        return Config(**{**defaults, **settings})

    return make
