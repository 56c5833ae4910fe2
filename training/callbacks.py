"""The base class of callbacks that look at a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from training.evaluation import GreedyEvaluation


class RunCallback(keras.callbacks.Callback):
    """A Keras callback that sees the run's agent and its evaluations.

    Keras gives every callback the same `params`; a run puts the two in there. User code may read them the same way.
    """

    @property
    def agent(self) -> Any:
        """The agent in training."""
        return self.params["agent"]

    @property
    def evaluation(self) -> GreedyEvaluation:
        """The run's greedy evaluations."""
        return self.params["evaluation"]
