"""Greedy evaluations: when they are due, from how many starts, and what was possible there."""

from collections.abc import Iterator
from contextlib import closing

import numpy as np
import pytest

from config import Config
from training.evaluation import LOOK, GreedyEvaluation
from training.greedy_play import GreedyPlayer


@pytest.fixture
def evaluation() -> Iterator[GreedyEvaluation]:
    config = Config(env_args={"size": 3}, evaluate_every=1_000, evaluate_episodes=150)
    with closing(GreedyEvaluation(config, GreedyPlayer(config, bool))) as made:
        yield made


def stay(observations: np.ndarray) -> np.ndarray:
    return np.tile(np.eye(9)[8], (len(observations), 1))


def test_looks_are_each_twice_as_late_as_the_one_before(evaluation: GreedyEvaluation) -> None:
    """Windows of 50 episodes: looks in the first, then at 100, 200, 400 and 800, and evaluations every 1,000."""
    found = []
    for now in range(50, 3_001, 50):
        if evaluation.is_due(now):
            found.append((now, len(evaluation.evaluate(stay, now).returns)))
            assert evaluation.is_look == (now < 1_000)
    looks = [(now, LOOK) for now in (50, 100, 200, 400, 800)]
    assert found == looks + [(now, 150) for now in (1_000, 2_000, 3_000)]


def test_the_last_evaluation_is_no_look(evaluation: GreedyEvaluation) -> None:
    evaluation.evaluate(stay, 300)
    assert not evaluation.is_up_to_date(300)
    assert len(evaluation.evaluate(stay, 300, is_last=True).returns) == 150
    assert evaluation.is_up_to_date(300)


def test_what_is_possible_is_of_the_starts_that_were_played(evaluation: GreedyEvaluation) -> None:
    evaluation.possible = np.arange(150.0)
    evaluation.evaluate(stay, 100)
    assert evaluation.scores["possible"] == 15.5  # of 0 to 31
    evaluation.evaluate(stay, 1_000)
    assert evaluation.scores["possible"] == 74.5
