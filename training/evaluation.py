"""Greedy evaluations during training: from fixed starts, they choose the best model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from config import Config
from environments.spaces import QValues, check_like
from training.greedy_play import make_evaluation_lanes, play_greedily

# Every run is judged from the same starts, far from those that evaluate.py uses by default.
EVALUATION_SEED = 1_000_000_000


class GreedyEvaluation:
    """Plays greedily from fixed starts, and compares models by the returns.

    Args:
        config: the run's settings.
        should_stop: asked at every step; if it says so, an evaluation raises `InterruptedPlay`.

    Attributes:
        scores: of the latest evaluation, see `GreedyEpisodes.scores`; empty before the first.
        count: evaluations so far.
        worst_seed: of the episode with the lowest return in the latest evaluation, among the first of each lane, as
            only these have a seed of their own.
    """

    def __init__(self, config: Config, should_stop: Callable[[], object]) -> None:
        self._config, self._should_stop = config, should_stop
        self._envs = make_evaluation_lanes(config, config.evaluate_episodes)
        self.scores: dict[str, float] = {}
        self.count, self.worst_seed = 0, EVALUATION_SEED
        self._best_returns: np.ndarray | None = None
        self._evaluated_at = 0

    def is_due(self, now: int) -> bool:
        """Whether a multiple of `evaluate_every` was passed since the latest evaluation.

        Args:
            now: episodes so far, or steps if these limit the run.
        """
        every = self._config.evaluate_every
        return now // every > self._evaluated_at // every

    def is_up_to_date(self, now: int) -> bool:
        """Whether the latest evaluation was at this time."""
        return self._evaluated_at == now

    def is_best(self, q_values: QValues, now: int) -> bool:
        """Evaluate a model. Returns whether no earlier one was better by more than chance.

        Late in a run models differ in a few starts of a hundred thousand, and no affordable number of starts tells them
        apart. So of all models within two standard errors of the highest score (of the mean difference, from the same
        starts), the one trained longest is the best.

        Raises:
            InterruptedPlay: `should_stop` said so.
        """
        config = self._config
        episodes = play_greedily(
            self._envs, q_values, config.evaluate_episodes, EVALUATION_SEED, config, self._should_stop
        )
        self._evaluated_at = now
        self.count += 1
        self.worst_seed = EVALUATION_SEED + int(episodes.returns[: self._envs.count].argmin())
        self.scores = episodes.scores()
        if self._best_returns is None or episodes.returns.mean() >= self._best_returns.mean():
            self._best_returns = episodes.returns
        shortfall = self._best_returns - episodes.returns
        return bool(shortfall.mean() <= 2 * shortfall.std() / np.sqrt(len(shortfall)))

    def get_state(self) -> dict[str, Any]:
        """Save everything that later evaluations depend on."""
        return {
            "scores": self.scores,
            "best_returns": self._best_returns,
            "evaluated_at": self._evaluated_at,
            "count": self.count,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` saved.

        Raises:
            ValueError: it is of other settings.
        """
        if state["best_returns"] is not None:
            check_like("best_returns", state["best_returns"], np.zeros(self._config.evaluate_episodes))
        self.scores, self._best_returns = dict(state["scores"]), state["best_returns"]
        self._evaluated_at, self.count = int(state["evaluated_at"]), int(state["count"])

    def close(self) -> None:
        """Close the environments."""
        self._envs.close()
