"""Looking at an agent while it trains: greedy episodes as GIFs, and histograms of what it does and knows."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from PIL import Image

from config import Config
from console.errors import InputError
from console.messages import one_line, say
from environments.make import make_env
from environments.spaces import QValues
from training.callbacks import RunCallback
from training.greedy_play import EVALUATION_SEED
from viewer.drawing import encode_gif, shrunk
from viewer.episode import Episode

MOST_FRAMES, MOST_STEPS = 60, 1_000  # of a filmed episode


SAMPLE = 512  # transitions of the replay memory that histograms are made of


class Pictures(RunCallback):
    """Adds to the logs of a window with a greedy evaluation, for TensorBoard: `see_td_errors` (of the latest update),
    `see_actions` and `see_q_values` (of transitions in the replay memory); and, with the evaluations 1, 2, 4, 8 and so
    on, since most is learned early, and the last, `see_start` and `see_worst`, GIFs of greedy episodes from a fixed
    start and from the one where the evaluation went worst.

    Args:
        config: the run's settings.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self._config = config
        try:
            self._env: gym.Env | None = make_env(config, "rgb_array")
        except InputError:  # it cannot be drawn
            self._env = None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Add them."""
        if logs is None or not np.isfinite(logs["evaluation"]):
            return
        agent, evaluation = self.agent, self.evaluation
        generator = np.random.default_rng(evaluation.count)
        observations, actions = agent.recall(SAMPLE, generator)
        logs["see_actions"] = actions.astype(float)
        logs["see_q_values"] = agent.q_values(observations).ravel()
        if len(agent.td_errors):
            logs["see_td_errors"] = np.asarray(agent.td_errors)
        if self._env and (evaluation.count & (evaluation.count - 1) == 0 or agent.progress == 1):
            try:
                logs["see_start"] = film(self._env, agent.q_values, EVALUATION_SEED)
                logs["see_worst"] = film(self._env, agent.q_values, evaluation.worst_seed)
            except Exception as error:  # somebody else's `render` may raise anything, and nobody has looked at it yet
                say(f"warning: no pictures of {self._config.env}: {one_line(f'{type(error).__name__}: {error}')}")
                self._env = None

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Close the environment that was drawn."""
        if self._env:
            self._env.close()


def film(env: gym.Env, q_values: QValues, seed: int) -> bytes:
    """A greedy episode as a GIF of a few seconds: of a long one only every so many steps are shown."""
    frames: list[Image.Image] = []
    stride = 1
    episode = Episode(env, q_values)
    episode.reset(seed)
    while True:
        is_over = episode.ending or episode.length == MOST_STEPS
        if is_over or episode.length % stride == 0:
            frames.append(shrunk(np.asarray(env.render())))
        if is_over:
            return encode_gif(frames, 4 if len(frames) < 20 else 15)
        if len(frames) == MOST_FRAMES:
            del frames[1::2]
            stride *= 2
        episode.step()
