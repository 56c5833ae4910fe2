"""Callbacks that log Blob's exact answer beside what the agent does."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import closing
from typing import Any

import numpy as np

from blob.policy_map import example_game, policy_map
from blob.solver import Games, is_solvable, percent_of_optimum, start_returns
from blob_env import BlobRules, BlobVectorEnv
from config import Config
from environments.spaces import QValues
from training.callbacks import RunCallback
from training.evaluation import EVALUATION_SEED
from training.greedy_play import MOST_VECTOR_LANES
from training.tags import LOOK

NOTHING = -4.0  # less than one step too many from one of 2,000 starts
OF_OPTIMUM = ("percent_of_optimum", "missing", "greedy_optimum", "greedy_random")
MOST_DRAWN = 50  # a board with more cells along a side is not drawn


class PercentOfOptimum(RunCallback):
    """Adds to the logs of windows with a greedy evaluation how far that is from the optimum. The learner never sees it.

    `greedy_optimum` and `greedy_random` are the mean returns of optimal and of random play from the evaluation's
    starts; `percent_of_optimum` places the evaluation's between random play (0) and optimal play (100). `missing` is
    what is missing to 100, as a power of ten: 2 is random play, -2 a hundredth of a percent, and `NOTHING` nothing.
    Those of a look at greedy play are named "look_percent_of_optimum" and so on.

    Args:
        config: the settings of the run, with a solvable Blob.
    """

    adds = (*OF_OPTIMUM, *(LOOK + name for name in OF_OPTIMUM))

    def __init__(self, config: Config) -> None:
        super().__init__()
        self._config = config

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Solve the games of the evaluation's starts."""
        n_starts = min(self._config.evaluate_episodes, MOST_VECTOR_LANES)
        with closing(BlobVectorEnv(n_starts, **self._config.env_args)) as envs:
            envs.reset(seed=EVALUATION_SEED)
            self._random, self._optimum = start_returns(envs.rules, envs.positions)
        if n_starts == self._config.evaluate_episodes:
            self.evaluation.possible = self._optimum

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Add the percentage to the logs, where callbacks later in the list see it too."""
        kind = next((kind for kind in ("", LOOK) if f"{kind}greedy_avg" in (logs or {})), None)
        if logs is None or kind is None:
            return
        played = int(self.evaluation.scores["episodes"])  # from the first of the starts
        random, optimum = float(self._random[:played].mean()), float(self._optimum[:played].mean())
        percent = percent_of_optimum(logs[f"{kind}greedy_avg"], random, optimum)
        numbers = percent, math.log10(max(100 - percent, 10**NOTHING)), optimum, random
        logs.update(zip((kind + name for name in OF_OPTIMUM), numbers, strict=True))


class PolicyMap(RunCallback):
    """Adds `see_policy` to the logs of every window with a greedy evaluation.

    The picture shows the greedy action on every cell of one example game, beside the optimal one (see
    `blob.policy_map.policy_map`).

    Args:
        config: the settings of the run, with a solvable Blob.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self._config = config

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Solve the example game, unless the board is too large to draw."""
        rules = BlobRules(**self._config.env_args)
        self._draw = _solve_example(rules) if rules.size <= MOST_DRAWN else None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Add the picture."""
        if logs is not None and self._draw and "evaluation" in logs:
            logs["see_policy"] = self._draw(self.agent.q_values)


def judges(config: Config) -> list[RunCallback]:
    """Make both callbacks; none where the optimum is not known."""
    return [PercentOfOptimum(config), PolicyMap(config)] if is_solvable(config) else []


def _solve_example(rules: BlobRules) -> Callable[[QValues], np.ndarray]:
    """Solve the example game. Returns a function that draws the policy map of Q-values."""
    food, enemy = example_game(rules.size)
    returns = Games(rules, np.array([food]), np.array([enemy])).optimal_q_values(1.0)[:, :, 0]
    return lambda q_values: policy_map(rules, q_values, food, enemy, returns)
