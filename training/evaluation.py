"""Greedy evaluations during training, which choose the best model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from config import Config
from environments.spaces import QValues, check_like
from training.greedy_play import EVALUATION_SEED, make_evaluation_envs, play_greedily


class GreedyEvaluation:
    """Plays greedily from fixed starts and says whether this is the best model so far.

    Args:
        config: the run's settings.
        should_stop: asked at every step of an evaluation; if so, it raises `BrokenOffError`.

    Attributes:
        scores: of the latest evaluation, as `Episodes.scores`; empty before the first.
        count: evaluations so far.
        worst_seed: of the episode that returned least in the latest one, among the first of every lane, which alone
            have a seed of their own.
    """

    def __init__(self, config: Config, should_stop: Callable[[], object]) -> None:
        self._config, self._should_stop = config, should_stop
        self._envs = make_evaluation_envs(config, config.evaluate_episodes)
        self.scores: dict[str, float] = {}
        self.count, self.worst_seed = 0, EVALUATION_SEED
        self._best_returns: np.ndarray | None = None
        self._evaluated = 0  # on the clock

    @property
    def spaces(self) -> tuple[str, str]:
        """The text of the observation and of the action space."""
        return str(self._envs.single_observation_space), str(self._envs.single_action_space)

    def is_due(self, clock: int) -> bool:
        """Whether a multiple of `evaluate_every` was passed since the last one, on a clock that counts episodes, or
        steps where these limit the run."""
        every = self._config.evaluate_every
        return clock // every > self._evaluated // every

    def has_seen(self, clock: int) -> bool:
        """Whether there was an evaluation at this time."""
        return self._evaluated == clock

    def is_best(self, q_values: QValues, clock: int) -> bool:
        """Evaluate, and tell whether no earlier model was better by more than chance.

        Late in a run models differ in a few starts of a hundred thousand, which no affordable number of starts tells
        apart. So of models that are as good as the highest scorer, within two standard errors of the mean difference
        from the same starts, the one that has learned longest is the best.
        """
        config = self._config
        episodes = play_greedily(
            self._envs,
            q_values,
            config.evaluate_episodes,
            EVALUATION_SEED,
            config.discount,
            config.reward_clip,
            self._should_stop,
        )
        self._evaluated = clock
        self.count += 1
        self.worst_seed = EVALUATION_SEED + int(episodes.returns[: self._envs.num_envs].argmin())
        self.scores = episodes.scores()
        if self._best_returns is None or episodes.returns.mean() >= self._best_returns.mean():
            self._best_returns = episodes.returns
        shortfall = self._best_returns - episodes.returns
        return bool(shortfall.mean() <= 2 * shortfall.std() / np.sqrt(len(shortfall)))

    def get_state(self) -> dict[str, Any]:
        """All that later evaluations depend on, for `set_state`."""
        return {
            "scores": self.scores,
            "best_returns": self._best_returns,
            "evaluated": self._evaluated,
            "count": self.count,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go back to where `get_state` was called.

        Raises:
            ValueError: the state is of other settings.
        """
        if state["best_returns"] is not None:
            check_like("best_returns", state["best_returns"], np.zeros(self._config.evaluate_episodes))
        self.scores, self._best_returns = state["scores"], state["best_returns"]
        self._evaluated, self.count = int(state["evaluated"]), int(state["count"])

    def close(self) -> None:
        """Close its environments."""
        self._envs.close()
