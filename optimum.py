"""How far a learner is from Blob's optimum: a curve while it trains, a table for a saved model."""

from __future__ import annotations

from pathlib import Path

import keras

from blob_env import BlobEnv, BlobVectorEnv
from blob_solver import MAX_STEPS, Judgement, judge, percent_of_optimum, start_means
from config import Config
from evaluate import EVALUATION_SEED, make_evaluation_envs
from model_file import load_network, make_saved_env, read_saved_agent
from networks import compile_q_values
from startup import InputError


def is_solvable(config: Config) -> bool:
    """Whether the optimum of the settings' environment is known: Blob's is, as long as food and enemy stand still."""
    moving = config.env_args.get("food_moves") or config.env_args.get("enemy_moves")
    seen_and_timed_as_solved = config.frame_stack == 1 and config.max_episode_steps in (None, MAX_STEPS)
    return config.env == "Blob-v0" and not moving and seen_and_timed_as_solved


class PercentOfOptimum(keras.callbacks.Callback):
    """Adds `percent_of_optimum` to the logs of every window: of the latest greedy evaluation, from 0 (random play from
    the same starts) to 100. The learner sees nothing of it.

    Args:
        config: the run's settings, of a solvable Blob.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        envs = make_evaluation_envs(config, config.evaluate_episodes)
        assert isinstance(envs, BlobVectorEnv)
        envs.reset(seed=EVALUATION_SEED)
        self._random, self._optimum = start_means(envs.rules, envs.positions)
        envs.close()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Add the number to the logs, which callbacks later in the list see too."""
        if logs is not None:
            logs["percent_of_optimum"] = percent_of_optimum(logs["greedy_avg"], self._random, self._optimum)


def judge_model(path: Path) -> Judgement:
    """Judge a saved model over all starts of its board, or over a sample where these are too many.

    Raises:
        InputError: it is no model of a Blob whose food and enemy stand still.
    """
    saved = read_saved_agent(path)
    if not is_solvable(saved.config):
        options = f" with {saved.config.env_args}" if saved.config.env_args else ""
        raise InputError(
            "--exact needs a Blob-v0 of 200 steps whose food and enemy stand still, "
            f"{path} plays {saved.config.env}{options}"
        )
    env = make_saved_env(path, saved)
    blob = env.unwrapped
    assert isinstance(blob, BlobEnv)
    q_values = compile_q_values(load_network(path, env, saved.config), env.observation_space)
    env.close()
    return judge(blob.rules, q_values, saved.config.discount, saved.config.reward_clip, saved.config.symmetries)
