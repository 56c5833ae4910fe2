"""The base class of callbacks that look at a run."""

from __future__ import annotations

from typing import ClassVar

import keras

from training.agents import Agent
from training.evaluation import GreedyEvaluation


class RunCallback(keras.callbacks.Callback):
    """A Keras callback that sees the run's agent and its greedy evaluations.

    Keras hands every callback the same `params`, and the run puts both in there. That is the one channel from a run to
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
