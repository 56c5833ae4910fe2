"""Pictures of an agent in training: films of greedy episodes, and histograms of what it does and expects."""

from __future__ import annotations

import contextlib
from typing import Any

import gymnasium as gym
import numpy as np

from config import Config
from console.errors import InputError
from console.messages import one_line, say
from environments.make import make_env
from environments.spaces import QValues
from training.callbacks import RunCallback
from training.evaluation import EVALUATION_SEED
from viewer.drawing import encode_gif, shrunk
from viewer.episode import Episode

MOST_FRAMES, MOST_STEPS = 60, 1_000  # in a film


class Pictures(RunCallback):
    """Adds pictures to the logs of a window with a greedy evaluation, for TensorBoard.

    Histograms: `see_td_errors` (of the latest update), `see_actions` and `see_q_values` (of transitions in the replay
    memory). GIFs: `see_start` and `see_worst`, greedy episodes from a fixed start and from the one where the evaluation
    went worst; only with evaluations 1, 2, 4, 8 and so on, since most is learned early, and with the last. The first
    window has `see_untrained`, from the fixed start.

    Args:
        config: the run's settings.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        try:
            self._env: gym.Env | None = make_env(config, "rgb_array")
        except InputError:  # it cannot be drawn
            self._env = None
        self._untrained: bytes | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Film the untrained agent. A resumed run's has not been given its weights yet, and plays the same."""
        self._untrained = self._film(EVALUATION_SEED) if self.agent.updates == 0 else None

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Add the pictures."""
        if logs is None:
            return
        if self._untrained and epoch == 0:
            logs["see_untrained"], self._untrained = self._untrained, None
        if "evaluation" not in logs:
            return
        agent, evaluation = self.agent, self.evaluation
        observations, actions = self.sample()
        logs["see_actions"] = actions.astype(float)
        logs["see_q_values"] = agent.q_values(observations).ravel()
        if len(agent.td_errors):
            logs["see_td_errors"] = np.asarray(agent.td_errors)
        if _is_power_of_two(evaluation.count) or agent.progress == 1:
            self._add_films(logs)

    def _add_films(self, logs: dict[str, Any]) -> None:
        for name, seed in (("see_start", EVALUATION_SEED), ("see_worst", self.evaluation.worst_seed)):
            if frames := self._film(seed):
                logs[name] = frames

    def _film(self, seed: int) -> bytes | None:
        if not self._env:
            return None
        try:
            return film(self._env, self.agent.q_values, seed)
        except Exception as error:  # user code may draw anything, and `render` has not been called before
            say(f"warning: no pictures: {one_line(str(error))}")
            self._close()
            return None

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Close the environment."""
        self._close()

    def _close(self) -> None:
        if self._env:
            with contextlib.suppress(Exception):  # user code may raise anything
                self._env.close()
        self._env = None


def _is_power_of_two(number: int) -> bool:
    return number & (number - 1) == 0


def film(env: gym.Env, q_values: QValues, seed: int) -> bytes:
    """Film a greedy episode as a GIF of a few seconds; of a long one, every other frame is left out, or more."""
    frames: list[np.ndarray] = []
    stride = 1
    episode = Episode(env, q_values)
    episode.reset(seed)
    while True:
        is_over = episode.ending or episode.length == MOST_STEPS
        if is_over or episode.length % stride == 0:
            frames.append(np.array(env.render()))  # shrunk at the end, as many are left out
        if is_over:
            return encode_gif([shrunk(frame) for frame in frames], 4 if len(frames) < 20 else 15)
        if len(frames) == MOST_FRAMES:
            del frames[1::2]
            stride *= 2
        episode.step()
