"""Which parts of a run a checkpoint restores."""

from collections.abc import Callable

import pytest
from interruptions import interrupted_after

from config import Config
from train import train
from training.clock import Clock
from training.contest import Contest
from training.divergence import DivergenceGuard
from training.epochs import Epochs
from training.evaluation import GreedyEvaluation
from training.models import ModelKeeper
from training.windows import EpisodeWindows

PARTS: set[type] = {EpisodeWindows, DivergenceGuard, GreedyEvaluation, Contest, ModelKeeper, Clock, Epochs}


def test_every_part_of_a_run_is_restored(small_config: Callable[..., Config], monkeypatch: pytest.MonkeyPatch) -> None:
    with interrupted_after(5):
        run = train(small_config())
    restored: set[type] = set()
    for part in PARTS:
        monkeypatch.setattr(part, "set_state", lambda self, state: restored.add(type(self)))
    train(run.config, resume=run.log_dir)
    assert restored == PARTS
