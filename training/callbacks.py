"""The base class of callbacks that look at a run."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import keras
import numpy as np

from environments.spaces import Observations
from training.agents import Agent
from training.evaluation import GreedyEvaluation

N_SAMPLES = 512  # transitions that speak for the memory


class RunCallback(keras.callbacks.Callback):
    """A Keras callback that sees the run's agent, its greedy evaluations and its folder.

    Keras hands every callback the same `params`, and the run puts these in there. That is the one channel from a run to
    its callbacks; your own may use it too, with this class or without. A subclass keeps no state that a resumed run
    would need.

    Attributes:
        adds: names of the numbers that it adds to the logs of some windows.
    """

    adds: ClassVar[tuple[str, ...]] = ()

    @property
    def agent(self) -> Agent:
        """The agent in training."""
        return self.params["agent"]

    @property
    def evaluation(self) -> GreedyEvaluation:
        """The run's greedy evaluations."""
        return self.params["evaluation"]

    @property
    def log_dir(self) -> Path:
        """The run's folder in the logs, whose name is the run's."""
        return self.params["log_dir"]

    def sample(self) -> tuple[Observations, np.ndarray]:
        """Observations (512, ...) from the memory and the actions taken there, int (512,): the same until the next
        evaluation's; fewer from a table, which knows only the latest step."""
        return self.agent.sample_for_display(N_SAMPLES, np.random.default_rng(self.evaluation.count))
