"""Targets and losses: an update moves what the network says of an action towards its target by minimising a loss.

A loss is a value, so that the update has no branch for it. It decides

- what is learned: the expected return (`ScalarQ`), or its distribution, as probabilities of fixed returns (`C51`) or as
  quantiles (`Quantiles`, for QR-DQN and IQN); the Q-values are its means,
- `targets`, from what the target network says of the next observations,
- the loss of each transition, and how wrong it was, by which the memory draws it again.

Outputs have the actions last: (batch, n_actions), or (batch, k, n_actions) for k probabilities or quantiles.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from blocks.heads import FRACTIONS, LOGITS, QUANTILES, VALUES, atoms, midpoints
from config import Config
from replay_memory import Batch

TEMPERATURE = 0.03  # of the Munchausen policy: tau, alpha and l_0 of Vieillard et al. 2020, table 2
MUNCHAUSEN_SHARE = 0.9
LOWEST_BONUS = -1.0

Outputs = Callable[..., Any]  # from observations to what a loss learns, see `ScalarQ.outputs_of`


class UpdateStats(NamedTuple):
    """The report of one update: the mean loss, and mean and maximum over the batch of max_a Q(observation, a)."""

    loss: float
    q_mean: float
    q_max: float


class ScalarQ:
    """One number for each action: the expected return. All tensors are float32.

    Args:
        config: `double`, `munchausen`, `loss` and `huber_delta`.
    """

    def __init__(self, config: Config) -> None:
        self._double, self._munchausen = config.double, config.munchausen
        if config.loss == "mse":
            self._regression: keras.losses.Loss = keras.losses.MeanSquaredError(reduction=None)
        else:  # grows linearly beyond delta, so that large errors do not drown the small ones (Huber 1964)
            self._regression = keras.losses.Huber(config.huber_delta, reduction=None)

    def outputs_of(self, network: keras.Model) -> Outputs:
        """The network up to what is learned, with the same weights: here all of it, as it ends in the Q-values."""
        return network

    def values(self, outputs: Any) -> tf.Tensor:
        """What is averaged to Q-values, (batch, ..., n_actions): here these themselves."""
        return outputs

    def q_values(self, outputs: Any) -> tf.Tensor:
        """The Q-values (batch, n_actions) in the outputs: here these themselves."""
        return outputs

    def targets(self, online: Outputs, target: Outputs, batch: Batch) -> tf.Tensor:
        """What Q(observation, action) should be, (batch,): n-step return + discount^n * next value."""
        return self._returns(target, batch) + batch.discounts * self.next_values(online, target, batch)

    def next_values(self, online: Outputs, target: Outputs, batch: Batch) -> tf.Tensor:
        """The values of the next observations, (batch,), over the actions that are legal there.

        Plain: max_a Q_target(s, a) (Mnih et al. 2015). Double: Q_target(s, argmax_a Q_online(s, a)) (van Hasselt et al.
        2016, eq. 4), which overestimates less. Munchausen: sum_a pi(a|s) (Q_target(s, a) - tau log pi(a|s)).
        """
        outputs = target(batch.next_observations)
        values, q_values = self.values(outputs), self.q_values(outputs)
        if self._munchausen:
            log_policy, policy = _policy(q_values, batch.next_masks)
            extra_axes = [1] * (len(values.shape) - 2)
            log_policy, policy = (tf.reshape(one, (-1, *extra_axes, one.shape[1])) for one in (log_policy, policy))
            return tf.reduce_sum(policy * (values - log_policy), axis=-1)
        choosing = self.q_values(online(batch.next_observations)) if self._double else q_values
        actions = tf.argmax(tf.where(batch.next_masks, choosing, choosing.dtype.min), axis=1)
        return _of_actions(values, actions)

    def _returns(self, target: Outputs, batch: Batch) -> tf.Tensor:
        """The n-step returns (batch,). With Munchausen, their first step has a bonus of alpha * clip(tau log pi(a|s),
        l_0, 0), which pulls away from actions that the policy would hardly take (Vieillard et al. 2020, eq. 3)."""
        if not self._munchausen:
            return batch.returns
        log_policy, _ = _policy(self.q_values(target(batch.observations)), batch.masks)
        taken = _of_actions(log_policy, batch.actions)
        return batch.returns + MUNCHAUSEN_SHARE * tf.clip_by_value(taken, LOWEST_BONUS, 0.0)

    def td_errors(self, online: keras.Model, target: keras.Model, batch: Batch) -> tf.Tensor:
        """The error of each row, (batch,), without noise and without an update."""
        outputs = self.outputs_of(online)
        targets = self.targets(outputs, self.outputs_of(target), batch)
        return self(outputs(batch.observations), targets, batch.actions)[1]

    def __call__(self, outputs: Any, targets: tf.Tensor, actions: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The loss and the error of each row, (batch,) each: of the action taken alone, as nothing is known of the
        others. The error, here that of the TD, is what prioritized replay goes by (Schaul et al. 2016, section 3.3)."""
        taken = _of_actions(outputs, actions)
        return self._regression(targets[:, None], taken[:, None]), targets - taken


class C51(ScalarQ):
    """A probability for each of 51 returns between -v_max and v_max (Bellemare et al. 2017, "A distributional
    perspective on reinforcement learning"). Outputs are logits (batch, 51, n_actions).

    Args:
        config: `double` and `v_max`.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._atoms = atoms(config.v_max)

    def outputs_of(self, network: keras.Model) -> Outputs:
        """The network up to its logits."""
        return keras.Model(network.input, network.get_layer(LOGITS).output)

    def values(self, outputs: tf.Tensor) -> tf.Tensor:
        """The probabilities (batch, 51, n_actions)."""
        return tf.nn.softmax(outputs, axis=1)

    def q_values(self, outputs: tf.Tensor) -> tf.Tensor:
        """The mean returns (batch, n_actions)."""
        return tf.reduce_sum(self.values(outputs) * self._atoms[:, None], axis=1)

    def targets(self, online: Outputs, target: Outputs, batch: Batch) -> tf.Tensor:
        """The probabilities (batch, 51) that the action's should be: those of the next observation, their returns
        discounted and shifted by the rewards, each shared between its two neighbours among the atoms (algorithm 1)."""
        probabilities, last = self.next_values(online, target, batch), self._atoms[-1]
        shifted = batch.returns[:, None] + batch.discounts[:, None] * self._atoms
        shifted = tf.clip_by_value(shifted, -last, last)
        steps_apart = tf.abs(shifted[:, None] - self._atoms[:, None]) / (self._atoms[1] - self._atoms[0])
        return tf.reduce_sum(tf.maximum(1 - steps_apart, 0) * probabilities[:, None], axis=2)

    def __call__(self, outputs: tf.Tensor, targets: tf.Tensor, actions: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The cross entropy and the Kullback-Leibler divergence of each row, (batch,) each. They differ by what no
        update can change; by the latter Rainbow draws again (Hessel et al. 2018, "The integrated agent")."""
        log_probabilities = tf.nn.log_softmax(_of_actions(outputs, actions))
        losses = -tf.reduce_sum(targets * log_probabilities, axis=1)
        return losses, losses + tf.reduce_sum(tf.math.xlogy(targets, targets), axis=1)


class Quantiles(ScalarQ):
    """Quantiles of the return: at fixed fractions (QR-DQN, Dabney et al. 2018, "Distributional reinforcement learning
    with quantile regression"), or at fractions drawn anew for every observation (IQN, Dabney et al. 2018b, "Implicit
    quantile networks"). Outputs are the quantiles (batch, k, n_actions) and their fractions (batch, k) or (1, k).

    Args:
        config: `double`, `munchausen`, `loss` and `huber_delta`.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._draws, self._delta = config.loss == "iqn", config.huber_delta

    def outputs_of(self, network: keras.Model) -> Outputs:
        """The network up to its quantiles, and their fractions."""
        quantiles = network.get_layer(VALUES).output
        if self._draws:
            return keras.Model(network.input, [quantiles, network.get_layer(FRACTIONS).output])
        model = keras.Model(network.input, quantiles)
        return lambda observations, **settings: (model(observations, **settings), midpoints(QUANTILES)[None])

    def values(self, outputs: Any) -> tf.Tensor:
        """The quantiles (batch, k, n_actions)."""
        return outputs[0]

    def q_values(self, outputs: Any) -> tf.Tensor:
        """Their means (batch, n_actions)."""
        return tf.reduce_mean(outputs[0], axis=1)

    def targets(self, online: Outputs, target: Outputs, batch: Batch) -> tf.Tensor:
        """Samples (batch, k) of the return: n-step return + discount^n * quantiles of the next observation."""
        return self._returns(target, batch)[:, None] + batch.discounts[:, None] * self.next_values(
            online, target, batch
        )

    def __call__(self, outputs: Any, targets: tf.Tensor, actions: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The quantile Huber loss of each row (Dabney et al. 2018, eq. 10), the sum over its quantiles of the mean over
        the targets, and the TD error of its mean, (batch,) each."""
        taken, fractions = _of_actions(outputs[0], actions), outputs[1]
        errors = targets[:, None] - taken[:, :, None]  # (batch, k quantiles, k targets)
        size, delta = tf.abs(errors), self._delta
        huber = tf.where(size <= delta, 0.5 * errors**2, delta * (size - 0.5 * delta)) / delta
        # A quantile at fraction f lies below a share f of the targets: being too high costs 1 - f, too low f.
        weights = tf.abs(fractions[:, :, None] - tf.cast(errors < 0, tf.float32))
        losses = tf.reduce_sum(tf.reduce_mean(weights * huber, axis=2), axis=1)
        return losses, tf.reduce_mean(targets, axis=1) - tf.reduce_mean(taken, axis=1)


def make_loss(config: Config) -> ScalarQ:
    """The loss that the settings ask for."""
    return {"c51": C51, "qr": Quantiles, "iqn": Quantiles}.get(config.loss, ScalarQ)(config)


def _of_actions(values: tf.Tensor, actions: tf.Tensor) -> tf.Tensor:
    """Those of the actions (batch,): (batch, ...) from (batch, ..., n_actions)."""
    return tf.gather(values, actions, axis=-1, batch_dims=1)


def _policy(q_values: tf.Tensor, masks: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """tau log pi and pi, (batch, n_actions) each, of pi = softmax(Q / tau) over the legal actions; 0 for the others."""
    legal = tf.where(masks, q_values, q_values.dtype.min)
    scaled = (legal - tf.reduce_max(legal, axis=1, keepdims=True)) / TEMPERATURE
    log_policy = TEMPERATURE * (scaled - tf.reduce_logsumexp(scaled, axis=1, keepdims=True))
    return tf.where(masks, log_policy, 0), tf.nn.softmax(scaled)
