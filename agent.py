"""The deep Q-network agent: it acts, remembers and learns; it knows spaces, not environments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import gymnasium as gym
import keras
import numpy as np
import numpy.typing as npt
import optree
import psutil
import tensorflow as tf

from config import Config
from console.errors import InputError
from environments.actions import epsilon_greedy
from environments.spaces import Observations, check_like, example_observation
from environments.symmetry import Symmetry, mean_over_symmetries
from networks import batch_signature, build_q_network, compile_q_values, suits_xla
from replay.samplers import PrioritizedReplayMemory
from replay_memory import ReplayMemory


class UpdateStats(NamedTuple):
    """What one update reports: the mean loss, and mean and maximum over the batch of max_a Q(observation, a)."""

    loss: float
    q_mean: float
    q_max: float


class DQNAgent:
    """Deep Q-learning (Mnih et al. 2015) with an online and a target network and a replay memory.

    Args:
        observation_space: of one lane.
        action_space: of one lane.
        config: settings; `config.lanes` transitions are remembered at a time. Seeds Keras's global generator, from
            which weights and dropout are drawn, as well as the agent's own.
        symmetries: changes of view under which the environment is the same (Blob has eight). A random one is
            applied to every batch, so that what is learned in one view is learned in all, and the agent acts by the
            mean of what the network says in all of them.

    Attributes:
        online: the model that acts and learns, compiled with its optimizer.
        target: its older copy, which values the next observations.
        memory: the replay memory.
        q_values: compiled, from observations (batch, ...) to the values by which the agent acts, float32 (batch,
            n_actions): the online network's, in the mean over all views.
        td_errors: of the latest update's batch, float32 (batch,), empty before the first.
        episodes, steps, updates: counted since the start; steps are environment steps of all lanes.

    Raises:
        InputError: no network fits the observations, or the replay memory does not fit in the machine's.
    """

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: Config,
        symmetries: Sequence[Symmetry] = (),
    ) -> None:
        self.config = config
        self._symmetries = symmetries if config.symmetries else ()
        self.n_actions, self._first_action = int(action_space.n), int(action_space.start)  # type: ignore[attr-defined]
        if config.seed is not None:
            keras.utils.set_random_seed(config.seed)
        self._generator = np.random.default_rng(config.seed)
        example = example_observation(observation_space)
        self.online, self.target = (
            build_q_network(observation_space, self.n_actions, config.network, config.dueling, config.frame_stack)
            for _ in range(2)
        )
        self.copy_to_target()
        # Decay apart from the gradient (Loshchilov & Hutter 2019, "Decoupled weight decay regularization").
        optimizer = keras.optimizers.Adam(config.learning_rate, weight_decay=config.weight_decay or None)
        self.online.compile(optimizer=optimizer)
        self.online.optimizer.build(self.online.trainable_variables)
        self.memory = self._new_memory(example)
        self.episodes = self.steps = self.updates = 0
        self.td_errors = tf.zeros([0])
        # One signature for all batch sizes: traced once, never again.
        observations = batch_signature(observation_space)
        numbers, masks = tf.TensorSpec([None]), tf.TensorSpec([None, self.n_actions], tf.bool)
        signature = [observations, tf.TensorSpec([None], tf.int32), numbers, numbers, observations, masks, numbers]
        self.q_values = mean_over_symmetries(compile_q_values(self.online, observation_space), self._symmetries)
        update = tf.function(self._update_eagerly, input_signature=signature, jit_compile=suits_xla(self.online))
        self._update = update.get_concrete_function()  # calls to it are checked less, and so a tenth faster

    def _new_memory(self, example: Observations) -> ReplayMemory:
        config = self.config
        needed = ReplayMemory.bytes_needed(config.memory_size, example, self.n_actions, config.frame_stack)
        free = psutil.virtual_memory().available
        if needed > free:
            raise InputError(
                f"--memory-size {config.memory_size} takes {needed / 1e9:,.1f} GB, this machine has {free / 1e9:,.1f} "
                f"GB free: at most {free * config.memory_size // needed:,} transitions fit"
            )
        size = config.memory_size, config.lanes, example, self.n_actions, config.frame_stack
        return PrioritizedReplayMemory(*size, config.priority_alpha) if config.prioritized else ReplayMemory(*size)

    @property
    def epsilon(self) -> float:
        """The chance of a random action now."""
        return self.config.epsilon(self.episodes, self.steps)

    @property
    def progress(self) -> float:
        """The share of the run that is done, 0 to 1."""
        return self.config.progress(self.episodes, self.steps)

    def act(self, observations: Observations, epsilon: float, masks: np.ndarray | None = None) -> np.ndarray:
        """Pick a legal action for each observation: a random one with chance epsilon, else the one valued highest.

        Args:
            observations: (batch, ...).
            epsilon: in [0, 1].
            masks: bool (batch, n_actions), the actions that are legal; all are without it.

        Returns:
            int64 (batch,), elements of the action space.
        """
        if masks is None:
            masks = np.ones((len(optree.tree_leaves(observations)[0]), self.n_actions), bool)
        actions = epsilon_greedy(self.q_values, observations, masks, epsilon, self._generator)
        return actions + self._first_action

    def remember(
        self,
        observations: Observations,
        actions: npt.ArrayLike,
        rewards: npt.ArrayLike,
        terminated: npt.ArrayLike,
        truncated: npt.ArrayLike,
        next_observations: Observations,
        next_masks: npt.ArrayLike = True,
    ) -> None:
        """Store one step of every lane; see `ReplayMemory.append`. Counts steps and the episodes that ended."""
        actions = np.asarray(actions) - self._first_action
        if self.config.reward_clip:
            rewards = np.clip(rewards, -self.config.reward_clip, self.config.reward_clip)
        self.memory.append(observations, actions, rewards, terminated, truncated, next_observations, next_masks)
        self.steps += self.memory.lanes
        episodes = self.episodes + int(np.logical_or(terminated, truncated).sum())
        every = self.config.target_every
        if self.config.target_update == "episodes" and episodes // every > self.episodes // every:
            self.copy_to_target()
        self.episodes = episodes

    def learn(self) -> list[UpdateStats]:
        """Do the updates that the last `remember` made due: one for every `learn_every` steps after `learn_start`."""
        if len(self.memory) < self.config.learn_start:
            return []
        every = self.config.learn_every
        due = self.steps // every - (self.steps - self.memory.lanes) // every
        return [self.update() for _ in range(due)]

    def update(self) -> UpdateStats:
        """Sample a batch and take one step of gradient descent on it.

        Raises:
            ValueError: the memory is empty.
        """
        config = self.config
        batch = self.memory.sample(config.batch_size, config.n_step, config.discount, self._generator)
        if self._symmetries:
            view = self._symmetries[int(self._generator.integers(len(self._symmetries)))]
            batch = batch._replace(
                # TensorFlow takes arrays that lie in order far faster.
                observations=np.ascontiguousarray(view.observations(batch.observations)),
                actions=view.actions[batch.actions],
                next_observations=np.ascontiguousarray(view.observations(batch.next_observations)),
                next_masks=batch.next_masks[:, np.argsort(view.actions)],
            )
        weights = self._importance_weights(batch.chances)
        stats, td_errors = self._update(*batch[:6], weights)
        if isinstance(self.memory, PrioritizedReplayMemory):
            self.memory.set_priorities(batch.slots, td_errors.numpy())
        self.td_errors = td_errors
        self.updates += 1
        if config.target_update == "updates" and self.updates % config.target_every == 0:
            self.copy_to_target()
        return UpdateStats(*stats.numpy().tolist())

    def _importance_weights(self, chances: np.ndarray) -> np.ndarray:
        """float32 (batch,): w_i = (N P(i)) ** -beta / max_j w_j (Schaul et al. 2016, section 3.4), where beta rises
        linearly from `priority_beta` to 1 over the run. All are 1 for uniform draws."""
        beta = self.config.priority_beta + (1 - self.config.priority_beta) * self.progress
        return ((chances / chances.min()) ** -beta).astype(np.float32)

    def _update_eagerly(
        self,
        observations: tf.Tensor,
        actions: tf.Tensor,
        returns: tf.Tensor,
        discounts: tf.Tensor,
        next_: tf.Tensor,
        next_masks: tf.Tensor,
        weights: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """One update of the online network on the fields of a `Batch`, whose rows count as much as their weights say.
        Returns the three `UpdateStats` as float32 (3,) and the TD errors, float32 (batch,)."""
        targets = returns + discounts * self._bootstrap(next_, next_masks)
        with tf.GradientTape() as tape:
            q_values = self.online(observations, training=True)
            # The loss is on the action taken alone: nothing is known of the others.
            taken = tf.gather(q_values, actions, batch_dims=1)
            losses = td_loss(targets, taken, self.config.loss, self.config.huber_delta)
            loss = tf.reduce_mean(weights * losses)
        variables = self.online.trainable_variables
        gradients = tape.gradient(loss, variables)
        if self.config.gradient_clip:
            gradients, _ = tf.clip_by_global_norm(gradients, self.config.gradient_clip)
        self.online.optimizer.apply(gradients, variables)
        if self.config.target_update == "soft":
            self.copy_to_target(self.config.target_rate)
        best = tf.reduce_max(q_values, axis=1)
        return tf.stack([loss, tf.reduce_mean(best), tf.reduce_max(best)]), targets - taken

    def _bootstrap(self, next_observations: tf.Tensor, masks: tf.Tensor) -> tf.Tensor:
        """float32 (batch,): the target network's value of the next observations, of the legal actions there.

        Plain: max_a Q_target(s, a) (Mnih et al. 2015). Double: Q_target(s, argmax_a Q_online(s, a)) (van Hasselt et al.
        2016, eq. 4), which overestimates less.
        """
        values = self.target(next_observations)
        choosing = self.online(next_observations) if self.config.double else values
        actions = tf.argmax(tf.where(masks, choosing, choosing.dtype.min), axis=1)
        return tf.gather(values, actions, batch_dims=1)

    def recall(self, count: int, generator: np.random.Generator) -> tuple[Observations, np.ndarray]:
        """Observations (count, ...) and the actions taken there, int (count,) counted from 0, for somebody to look at:
        drawn evenly, also from a memory that draws by priority to learn."""
        batch = ReplayMemory.sample(self.memory, count, 1, 1.0, generator)
        return batch.observations, batch.actions

    def cut(self, lane: int) -> None:
        """Let what a lane remembers end here: it starts anew."""
        self.memory.cut(lane)

    def copy_to_target(self, share: float = 1.0) -> None:
        """Move the target network's weights towards the online network's by `share`: 1 copies them."""
        for target, online in zip(self.target.weights, self.online.weights, strict=True):
            target.assign(online if share == 1 else target + share * (online - target))

    def get_state(self) -> dict[str, Any]:
        """All that the agent's future depends on but what `memory.get_steps` gives, for `set_state` of an agent with
        the same settings."""
        return {
            "variables": [np.array(variable) for variable in self._variables()],
            "memory": self.memory.get_state(),
            "generator": self._generator.bit_generator.state,
            "counters": [self.episodes, self.steps, self.updates],
            "td_errors": self.td_errors.numpy(),
        }

    def set_state(self, state: dict[str, Any], segments: Iterable[dict[str, np.ndarray]]) -> None:
        """Go back to where `get_state` and the memory's `get_steps` were called.

        Raises:
            ValueError: the state is of an agent with another network or memory.
        """
        for variable, value in zip(self._variables(), state["variables"], strict=True):
            if (variable.shape, variable.dtype) != (value.shape, value.dtype.name):
                raise ValueError(
                    f"{variable.path} is {variable.dtype} {variable.shape}, not {value.dtype} {value.shape}"
                )
            variable.assign(value)
        self.memory.set_state(state["memory"], segments)
        self._generator.bit_generator.state = state["generator"]
        self.episodes, self.steps, self.updates = map(int, state["counters"])
        batch = self.config.batch_size if self.updates else 0
        check_like("td_errors", state["td_errors"], np.zeros(batch, np.float32))
        self.td_errors = tf.constant(state["td_errors"])

    def _variables(self) -> list[keras.Variable]:
        # Unlike `weights`, a model's `variables` hold the state of dropout's generators too.
        return [*self.online.variables, *self.target.variables, *self.online.optimizer.variables]


def td_loss(targets: tf.Tensor, predictions: tf.Tensor, loss: str, delta: float) -> tf.Tensor:
    """Losses of the TD errors `targets - predictions`, all float32 (batch,).

    "mse" is the square. "huber" is half the square up to an error of `delta` and grows linearly beyond
    (Huber 1964), so that no single error moves the network far.
    """
    if loss == "mse":
        return tf.square(targets - predictions)
    size = tf.abs(targets - predictions)
    return tf.where(size <= delta, 0.5 * tf.square(size), delta * (size - 0.5 * delta))
