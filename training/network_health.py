"""Whether a network is alive: dead units, effective rank, and how far its Q-values depend on what it sees."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import optree

from training.callbacks import RunCallback

KEPT = 0.99  # share of the singular values that the effective rank holds


def effective_rank(features: np.ndarray) -> int:
    """How many directions hold nearly all of the features (samples, units): of the singular values, the fewest that add
    up to 99% of all (Kumar et al. 2021, "Implicit under-parameterization inhibits data-efficient deep reinforcement
    learning", eq. 1); 0 if all are zero."""
    # Not NumPy's: its threads wait for those of TensorFlow, for seconds where both want all cores.
    values = np.asarray(keras.ops.svd(features, compute_uv=False))
    return int(np.searchsorted(np.cumsum(values), KEPT * values.sum()) + 1) if values.any() else 0


def dead_share(activations: Sequence[np.ndarray]) -> float:
    """The share of units that are zero for every sample: those of ReLU layers (samples, ..., units), where a channel of
    a convolution is one unit."""
    alive = np.concatenate([layer.reshape(-1, layer.shape[-1]).any(axis=0) for layer in activations])
    return float(1 - alive.mean())


def q_spread(q_values: np.ndarray) -> float:
    """How far Q-values (samples, actions) depend on the observation: their standard deviation over samples, averaged
    over the actions."""
    return float(q_values.astype(float).std(axis=0).mean())


class NetworkHealth(RunCallback):
    """Adds to the logs of a window with a greedy evaluation what the network does with observations from the memory.

    `dead_units` (0 to 1), `effective_rank` (of the last layer of ReLUs, as a share of what is possible, 0 to 1) and
    `q_spread` (in units of Q-values). A user's own network may have no ReLU layers that Keras knows of, and then has
    only the last; a table has only that, too. Nothing is added where all observations are the same.
    """

    adds = ("dead_units", "effective_rank", "q_spread")

    def __init__(self) -> None:
        super().__init__()
        self._activations: keras.Model | None = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Find the layers of ReLUs."""
        inputs, outputs = getattr(self.model, "input", None), _relu_outputs(self.model)
        if inputs is not None and outputs:
            self._activations = keras.Model(inputs, outputs)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Add the numbers."""
        if logs is None or "evaluation" not in logs:
            return
        observations, _ = self.sample()
        if all((array == array[:1]).all() for array in optree.tree_leaves(observations)):
            return
        logs["q_spread"] = q_spread(self.agent.q_values(observations))
        if self._activations:
            activations = [np.asarray(layer) for layer in optree.tree_leaves(self._activations(observations))]
            last = activations[-1].reshape(len(activations[-1]), -1)
            logs["dead_units"] = dead_share(activations)
            logs["effective_rank"] = effective_rank(last) / min(last.shape)


def _relu_outputs(model: keras.Model) -> list[keras.KerasTensor]:
    """The outputs of a functional model's ReLU layers, from the input on."""
    relu = keras.activations.relu
    return [layer.output for layer in model.layers if getattr(layer, "activation", None) is relu]
