"""How far a learner is from Blob's optimum: a curve while it trains, a table for a saved model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import keras
import numpy as np

from blob_env import BlobEnv, BlobRules, BlobVectorEnv
from blob_solver import Games, Judgement, cells_of, is_solvable, judge, percent_of_optimum, start_means
from config import Config
from drawing import policy_map
from greedy_play import EVALUATION_SEED, make_evaluation_envs
from model_file import load_one_view, make_saved_env, read_saved_agent
from spaces import Observations, QValues
from startup import InputError

HAIR = 1e-6  # of reward, for a step
MOST_DRAWN = 50  # cells along a board whose policy is drawn


class PercentOfOptimum(keras.callbacks.Callback):
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
        assert isinstance(envs, BlobVectorEnv)
        envs.reset(seed=EVALUATION_SEED)
        self._random, self._optimum = start_means(envs.rules, envs.positions)
        envs.close()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Add the number to the logs, which callbacks later in the list see too."""
        if logs is not None:
            logs["percent_of_optimum"] = percent_of_optimum(logs["greedy_avg"], self._random, self._optimum)


def example_game(size: int) -> tuple[int, int]:
    """The cells of the food and the enemy in a picture of a policy."""
    return size // 3 * (size + 1), size // 2 * size + size - 1


class PolicyMap(keras.callbacks.Callback):
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
            q_values = self.params["q_values"]
            logs["see_policy"] = policy_map(self._rules, q_values, self._food, self._enemy, self._returns)


def best_q_values(env: gym.Env) -> QValues:
    """The Q-values of the best play, not discounted, on the board that a solvable Blob is on now, whatever it shows. Of
    moves that are worth the same, those that end sooner are ahead by a hair."""
    blob = env.unwrapped
    assert isinstance(blob, BlobEnv)
    solved: dict[tuple[int, int], np.ndarray] = {}

    def q_values(observations: Observations) -> np.ndarray:
        player, *others = cells_of(blob.rules, blob.positions)[0].tolist()
        if tuple(others) not in solved:
            solved.clear()  # the game before is over
            game = Games(blob.rules, *np.array(others)[:, None])
            values = game.optimal_q_values(1.0)
            solved[tuple(others)] = (values - HAIR * game.steps_after(values).astype(float))[:, :, 0]
        return solved[tuple(others)][player][None]

    return q_values


def judge_model(path: Path, repeated: Mapping[str, Any] | None = None) -> Judgement:
    """Judge a saved model over all starts of its board, or over a sample where these are too many.

    Args:
        path: the file.
        repeated: as `model_file.read_saved_agent` takes it.

    Raises:
        InputError: it is no model of a Blob whose food and enemy stand still.
    """
    saved = read_saved_agent(path, repeated)
    if not is_solvable(saved.config):
        options = f" with {saved.config.env_args}" if saved.config.env_args else ""
        raise InputError(
            "--exact needs a Blob-v0 of 200 steps whose food and enemy stand still, "
            f"{path} plays {saved.config.env}{options}"
        )
    env = make_saved_env(path, saved)
    blob = env.unwrapped
    assert isinstance(blob, BlobEnv)
    q_values = load_one_view(path, env, saved.config)
    env.close()
    return judge(blob.rules, q_values, saved.config.discount, saved.config.reward_clip, saved.config.symmetries)
