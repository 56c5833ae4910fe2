"""Targets and losses: an update moves Q-values towards targets by minimising a loss of the TD errors.

A loss is a value with three methods, so the update has no branch for it. A distributional one (C51, QR-DQN, IQN) would
be another class here, with other outputs of the network; `networks.mean_q_values` would act by its `q_values`.
"""

from __future__ import annotations

from typing import NamedTuple

import keras
import tensorflow as tf

from config import Config
from replay_memory import Batch


class UpdateStats(NamedTuple):
    """The report of one update: the mean loss, and mean and maximum over the batch of max_a Q(observation, a)."""

    loss: float
    q_mean: float
    q_max: float


class ScalarQ:
    """One number for each action: the expected return. All tensors are float32.

    Args:
        config: `double`, `loss` and `huber_delta`.
    """

    def __init__(self, config: Config) -> None:
        self._double = config.double
        if config.loss == "mse":
            self._regression: keras.losses.Loss = keras.losses.MeanSquaredError(reduction=None)
        else:  # grows linearly beyond delta, so that large errors do not drown the small ones (Huber 1964)
            self._regression = keras.losses.Huber(config.huber_delta, reduction=None)

    def q_values(self, outputs: tf.Tensor) -> tf.Tensor:
        """The Q-values (batch, n_actions) in the network's outputs: these themselves."""
        return outputs

    def targets(self, online: keras.Model, target: keras.Model, batch: Batch) -> tf.Tensor:
        """The values (batch,) that Q(observation, action) should have: n-step return + discount^n * next value."""
        return batch.returns + batch.discounts * self.next_values(online, target, batch)

    def next_values(self, online: keras.Model, target: keras.Model, batch: Batch) -> tf.Tensor:
        """The value (batch,) of the next observations, over the actions that are legal there.

        Plain: max_a Q_target(s, a) (Mnih et al. 2015). Double: Q_target(s, argmax_a Q_online(s, a)) (van Hasselt et al.
        2016, eq. 4), which overestimates less.
        """
        values = target(batch.next_observations)
        choosing = online(batch.next_observations) if self._double else values
        actions = tf.argmax(tf.where(batch.next_masks, choosing, choosing.dtype.min), axis=1)
        return tf.gather(values, actions, batch_dims=1)

    def __call__(self, outputs: tf.Tensor, targets: tf.Tensor, actions: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The loss and the TD error of each row, (batch,) each: of the action taken alone, as nothing is known of the
        others."""
        taken = tf.gather(outputs, actions, batch_dims=1)
        return self._regression(targets[:, None], taken[:, None]), targets - taken
