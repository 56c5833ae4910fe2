"""When a search stops a run."""

from types import SimpleNamespace
from typing import Any

import pytest

from cluster.trial import SCORE
from cluster.tuner import asha


def test_the_worse_half_is_stopped_early_and_nothing_at_the_end() -> None:
    """Eight runs of 1,000 steps that report every 100: at 300 and 600 those below the median so far are stopped, and
    whoever is left reports its last score, overshooting by a step of all lanes, and goes on to save its models."""
    schedulers = pytest.importorskip("ray.tune.schedulers")
    scheduler = asha("steps", 1_000)
    scheduler.set_search_properties(SCORE, "max")
    trials = [SimpleNamespace(trial_id=str(score), config={}) for score in (1, 8, 2, 7, 3, 6, 4, 5)]
    for trial in trials:
        scheduler.on_trial_add(None, trial)
    left, stopped = list(trials), {}
    for steps in (*range(100, 1_000, 100), 1_008):
        for trial in list(left):
            report: dict[str, Any] = {SCORE: float(trial.trial_id), "steps": steps, "training_iteration": steps // 100}
            if scheduler.on_trial_result(None, trial, report) == schedulers.TrialScheduler.STOP:
                stopped[trial.trial_id] = steps
                left.remove(trial)
    assert set(stopped.values()) == {300, 600}
    assert "8" not in stopped and {"2", "3"} <= set(stopped)
    assert 1 <= len(left) <= 4
