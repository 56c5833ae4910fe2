"""Blob's curves and pictures in TensorBoard."""

from __future__ import annotations

from typing import Any

import numpy as np

from blob.policy_map import example_game, policy_map
from blob.solver import Games, percent_of_optimum, start_means
from blob_env import BlobRules
from config import Config
from training.callbacks import RunCallback
from training.evaluation import EVALUATION_SEED
from training.greedy_play import make_evaluation_lanes as make_evaluation_envs

MOST_DRAWN = 50  # cells along a board whose policy is drawn


class PercentOfOptimum(RunCallback):
    """Adds `percent_of_optimum` to the logs of every window: of the latest greedy evaluation, from 0 (random play from
    the same starts) to 100. The learner sees nothing of it.

    Args:
        config: the run's settings, of a solvable Blob.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self._config = config

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Solve the games from these starts."""
        envs = make_evaluation_envs(self._config, self._config.evaluate_episodes)

        envs.reset(EVALUATION_SEED)
        envs = envs._envs
        self._random, self._optimum = start_means(envs.rules, envs.positions)
        envs.close()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Add the number to the logs, which callbacks later in the list see too."""
        if logs is not None:
            logs["percent_of_optimum"] = percent_of_optimum(logs["greedy_avg"], self._random, self._optimum)


class PolicyMap(RunCallback):
    """Adds `see_policy` to the logs of a window with a greedy evaluation: the greedy action on every cell for one food
    and one enemy, beside the best (`drawing.policy_map`).

    Args:
        config: the run's settings, of a solvable Blob.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self._config = config

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Solve the game that is drawn."""
        self._rules = BlobRules(**self._config.env_args)
        if self._rules.size > MOST_DRAWN:
            return
        self._food, self._enemy = example_game(self._rules.size)
        game = Games(self._rules, np.array([self._food]), np.array([self._enemy]))
        self._returns = game.optimal_q_values(1.0)[:, :, 0]

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Add the picture."""
        if logs is not None and np.isfinite(logs["evaluation"]) and self._rules.size <= MOST_DRAWN:
            q_values = self.agent.q_values
            logs["see_policy"] = policy_map(self._rules, q_values, self._food, self._enemy, self._returns)
