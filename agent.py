"""The deep Q-network agent: it acts, remembers and learns. It knows spaces, not environments."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import keras
import numpy as np
import numpy.typing as npt
import optree
import tensorflow as tf

from config import Config
from environments.actions import epsilon_greedy, legal_values, one_each
from environments.lanes import Step
from environments.reused import ActedOn
from environments.spaces import Observations, QValues, check_like, example_observation
from environments.symmetry import Symmetry
from losses import UpdateStats, make_loss
from networks import batch_signature, build_q_network, compile_q_values, suits_xla
from replay.frames import Frames
from replay.rings import check_fits
from replay_memory import Batch, ReplayMemory
from storage.model_file import ModelInfo, save_model

AT_ONCE = 8  # updates whose batches are drawn together
_BUILDING = threading.Lock()  # Keras draws weights from one generator for all threads


class DQNAgent:
    """Deep Q-learning (Mnih et al. 2015).

    Q(observation, action) is the discounted sum of the rewards that follow an action. The online network learns it for
    every action from transitions in the replay memory; acting greedily is taking the action of the highest. The target
    network, an older copy of the online one, values the next observations.

    Args:
        observation_space, action_space: of one lane.
        config: settings; `config.lanes` transitions are remembered at a time. The seed also seeds Keras's global
            generator, from which weights and dropout are drawn.
        symmetries: of the environment (Blob has eight). A random one is applied to each batch, so that what is learned
            in one view is learned in all, and the agent plays by the mean of the Q-values in all views.

    Attributes:
        online, target: the networks. `online` is compiled with the optimizer, for Keras's callbacks.
        memory: the replay memory.
        q_values: compiled, from observations (batch, ...) to the values by which the agent plays, float32 (batch,
            n_actions): the online network's, averaged over all views.
        td_errors: of the latest update, float32 (batch,); empty before the first.
        episodes, steps, updates: counts since the start; steps of all lanes together.

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
        self.n_actions = int(action_space.n)  # type: ignore[attr-defined]
        self._symmetries = symmetries if config.symmetries else ()
        self._generator = np.random.default_rng(config.seed)
        self._loss = make_loss(config)
        self.episodes = self.steps = self.updates = self._updates_due = 0
        self.td_errors = tf.zeros([0])
        self._acted_on = ActedOn()
        self._masks: np.ndarray | None = None  # the legal actions in the observations acted on last, if given
        self._values: np.ndarray | None = None  # those by which it acted on them in training
        self._build_networks(observation_space)
        self.memory = self._build_memory(example_observation(observation_space))
        self._compile(observation_space)

    def _build_networks(self, observation_space: gym.Space) -> None:
        config = self.config
        settings = config.network_settings()
        with _BUILDING:
            if config.seed is not None:
                keras.utils.set_random_seed(config.seed)
            self.online = build_q_network(observation_space, self.n_actions, **settings)
            self.target = build_q_network(observation_space, self.n_actions, **settings)
        self.copy_to_target()
        # Decoupled weight decay (Loshchilov & Hutter 2019).
        optimizer = keras.optimizers.Adam(config.learning_rate, weight_decay=config.weight_decay or None)
        self.online.compile(optimizer=optimizer)
        self.online.optimizer.build(self.online.trainable_variables)

    def _build_memory(self, example: Observations) -> ReplayMemory:
        config = self.config
        needed = Frames.bytes_needed(config.memory_size, example, self.n_actions, config.frame_stack)
        check_fits(config.memory_size, needed)
        alpha = config.priority_alpha if config.prioritized else None
        return ReplayMemory(config.memory_size, config.lanes, example, self.n_actions, config.frame_stack, alpha)

    def _compile(self, observation_space: gym.Space) -> None:
        """Compile acting and learning, once for batches of any size."""
        batch = update_signature(observation_space, self.n_actions)
        update = tf.function(self._gradient_step, input_signature=[batch], jit_compile=suits_xla(self.online))
        self._update = update.get_concrete_function()  # its calls are checked less, and so a tenth faster
        self.q_values: QValues = compile_q_values(self.online, observation_space, self._symmetries)
        # An eighth of the work. What it gets wrong that the other views get right is one more way to explore.
        self._values_in_one_view = (
            compile_q_values(self.online, observation_space, in_bulk=True, is_noisy=self.config.noisy)
            if self._symmetries or self.config.noisy
            else self.q_values
        )
        if self.config.prioritized:
            self._target_values = compile_q_values(self.target, observation_space, in_bulk=bool(self._symmetries))

    def learn(self) -> list[UpdateStats]:
        """Do the updates that have become due since the last call: one for every `learn_every` steps remembered."""
        due, self._updates_due = self._updates_due, 0
        return [stats for done in range(0, due, AT_ONCE) for stats in self.update(min(AT_ONCE, due - done))]

    def update(self, count: int = 1) -> list[UpdateStats]:
        """Move Q towards its targets by steps of gradient descent, each on a batch from the memory.

        All batches are drawn before the first step, which takes less time than to draw each by itself.

        Args:
            count: how many steps.

        Raises:
            ValueError: the memory is empty.
        """
        config = self.config
        # Where nothing is random, all targets can be met at once, and the bias of prioritized draws does no harm.
        drawn = self.memory.sample(
            count * config.batch_size, config.n_step, config.discount, self._generator, config.priority_beta
        )
        stats, td_errors = [], np.zeros(len(drawn.slots), np.float32)
        for i in range(count):
            stats.append(self._update_on(_every(drawn, i, count)))
            td_errors[i::count] = self.td_errors.numpy()
        self.memory.set_priorities(drawn.slots, td_errors)
        return stats

    def _update_on(self, batch: Batch) -> UpdateStats:
        """Take one step, on this batch, seen through a random symmetry."""
        if self._symmetries:
            symmetry = self._symmetries[int(self._generator.integers(len(self._symmetries)))]
            batch = _transformed(batch, symmetry)
        stats, self.td_errors = self._update(batch)
        self.updates += 1
        self._copy_to_target_every("updates", self.updates - 1, self.updates)
        return UpdateStats(*stats.numpy().tolist())

    def _gradient_step(self, batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        """Update the online network. This function is compiled.

        Returns:
            The three `UpdateStats`, float32 (3,), and the TD errors, float32 (batch,).
        """
        loss_of, noisy = self._loss, self.config.noisy
        online, target = loss_of.outputs_of(self.online), loss_of.outputs_of(self.target)
        # In targets, both networks have noise of their own, if they have any (Fortunato et al. 2018, eq. 13).
        choosing, valuing = (functools.partial(network, training=noisy) for network in (online, target))
        targets = loss_of.targets(choosing, valuing, batch)  # reward + discount * max_a Q_target(next, a)
        with tf.GradientTape() as tape:
            outputs = online(batch.observations, training=True)
            losses, td_errors = loss_of(outputs, targets, batch.actions)
            loss = tf.reduce_mean(batch.weights * losses)
        variables = self.online.trainable_variables
        gradients = tape.gradient(loss, variables)
        if self.config.gradient_clip:
            gradients, _ = tf.clip_by_global_norm(gradients, self.config.gradient_clip)
        self.online.optimizer.apply(gradients, variables)
        if self.config.target_update == "soft":
            self.copy_to_target(self.config.target_rate)
        q_values = loss_of.q_values(outputs)
        best = tf.reduce_max(tf.where(batch.masks, q_values, q_values.dtype.min), axis=1)
        return tf.stack([loss, tf.reduce_mean(best), tf.reduce_max(best)]), td_errors

    def _copy_to_target_every(self, unit: str, before: int, now: int) -> None:
        """Update the target network every N episodes or updates: when a count passes a multiple of `target_every`."""
        every = self.config.target_every
        if unit == self.config.target_update and now // every > before // every:
            self.copy_to_target()

    def copy_to_target(self, share: float = 1.0) -> None:
        """Move the target network's weights towards the online network's by `share`; 1 copies them."""
        for target, online in zip(self.target.weights, self.online.weights, strict=True):
            target.assign(online if share == 1 else target + share * (online - target))

    def act(
        self, observations: Observations, masks: np.ndarray | None = None, epsilon: npt.ArrayLike | None = None
    ) -> np.ndarray:
        """Pick a legal action for each observation: a random one with probability epsilon, else the greedy one.

        Args:
            observations: (batch, ...).
            masks: bool (batch, n_actions), the legal actions; without it all are.
            epsilon: in [0, 1], one or (batch,). Without it the agent explores as it does in training: with its own of
                the moment, if there is an observation for each lane, or else the lowest of those; and it looks at the
                observations in one view only.

        Returns:
            int64 (batch,), counted from 0.
        """
        self._acted_on.keep(observations)
        self._masks = np.array(masks) if masks is not None and len(masks) == self.memory.lanes else None
        batch = len(optree.tree_leaves(observations)[0])
        if masks is None:
            masks = np.ones((batch, self.n_actions), bool)
        if epsilon is not None:
            self._values = None
            return epsilon_greedy(self.q_values(observations), masks, epsilon, self._generator)
        self._values = self._values_in_one_view(observations)
        return epsilon_greedy(self._values, masks, one_each(self.epsilon, batch), self._generator)

    def remember(self, observations: Observations, actions: npt.ArrayLike, step: Step) -> None:
        """Store one step of every lane.

        Args:
            observations: (lanes, ...), acted on; the environment may have overwritten them since. A lane whose
                observation is not the last step's successor was reset without being marked as truncated, and counts as
                truncated.
            actions: int (lanes,), counted from 0.
            step: what they led to.
        """
        observations = self._acted_on.restore(observations)
        clipped = step._replace(rewards=self.config.clip_rewards(step.rewards))
        jumps = self.memory.append(observations, actions, clipped, self._masks)
        if self.config.prioritized and (td_errors := self._first_td_errors(actions, clipped)) is not None:
            self.memory.set_priorities(self.memory.newest, td_errors)
        steps, every = self.steps, self.config.learn_every
        self.steps += self.memory.lanes
        if len(self.memory) >= self.config.learn_start:
            self._updates_due += self.steps // every - steps // every
        episodes, self.episodes = self.episodes, self.episodes + jumps + int(step.ended.sum())
        self._copy_to_target_every("episodes", episodes, self.episodes)

    def _first_td_errors(self, actions: npt.ArrayLike, step: Step) -> np.ndarray | None:
        """The TD errors of a new step, float (lanes,), from the values by which it was acted on; None without them.

        By these, new transitions are drawn like all others (Horgan et al. 2018, section 3). If they were drawn before
        all others (Schaul et al. 2016), their first draws would be two of five in a run of Blob.
        """
        values, lanes = self._values, np.arange(self.memory.lanes)
        if values is None or len(values) != len(lanes):
            return None
        masks = np.broadcast_to(step.successor_masks, values.shape)
        following = legal_values(self._target_values(step.successors), masks).max(axis=1)
        targets = np.asarray(step.rewards) + self.config.discount * ~np.asarray(step.terminated, bool) * following
        return targets - values[lanes, np.asarray(actions)]

    @property
    def epsilon(self) -> np.ndarray:
        """The probability of a random action now, in each lane: float64 (lanes,), rising."""
        return self.config.epsilon(self.episodes, self.steps)

    @property
    def progress(self) -> float:
        """The share of the run that is done, 0 to 1."""
        return self.config.progress(self.episodes, self.steps)

    @property
    def memory_fill(self) -> float:
        """The share of the replay memory that is filled, 0 to 1."""
        return len(self.memory) / self.memory.maxlen

    def describe(self) -> str:
        """What learns, and on which device."""
        gpus = len(tf.config.list_logical_devices("GPU"))
        return f"network of {self.online.count_params():,} weights, on {'the GPU' if gpus else 'the CPU'}"

    def memory_use(self) -> tuple[str, int]:
        """What takes the agent's memory, and how many bytes of it are in use."""
        return "replay", int(self.memory.nbytes * self.memory_fill)

    def is_finite(self) -> bool:
        """Whether learning has not diverged: no weight is infinite or nan."""
        return all(np.isfinite(variable).all() for variable in self._variables())

    def sample_for_display(self, count: int, generator: np.random.Generator) -> tuple[Observations, np.ndarray]:
        """Draw observations (count, ...) and the actions taken there, int (count,), for histograms."""
        return self.memory.sample_uniformly(count, generator)

    def truncate_lane(self, lane: int) -> None:
        """Count a lane's newest step as truncated: the lane starts a new episode."""
        self.memory.truncate_lane(lane)

    def get_weights(self) -> list[np.ndarray]:
        """Copy the online network's weights."""
        return self.online.get_weights()

    def set_weights(self, weights: Sequence[np.ndarray]) -> None:
        """Give the online network weights that `get_weights` has copied. The target network stays."""
        self.online.set_weights(weights)

    def save(self, path: Path, info: ModelInfo) -> None:
        """Write a `.model` file.

        Raises:
            OSError: it cannot be written.
        """
        save_model(path, self.online, info)

    def get_state(self) -> dict[str, Any]:
        """Save everything the agent's future depends on, except the memory's segments (`memory.get_steps`)."""
        return {
            "variables": [np.array(variable) for variable in self._variables()],
            "memory": self.memory.get_state(),
            "generator": self._generator.bit_generator.state,
            "counters": [self.episodes, self.steps, self.updates],
            "td_errors": self.td_errors.numpy(),
        }

    def set_state(self, state: dict[str, Any], segments: Iterable[dict[str, np.ndarray]]) -> None:
        """Restore what `get_state` and the memory's `get_steps` saved.

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
        # A model's `variables` hold the state of dropout's generators too, its `weights` do not.
        return [*self.online.variables, *self.target.variables, *self.online.optimizer.variables]


def update_signature(observation_space: gym.Space, n_actions: int) -> Batch:
    """The TensorSpecs of batches of any size, as updates take them."""
    observations = batch_signature(observation_space)
    numbers, integers = tf.TensorSpec([None]), tf.TensorSpec([None], tf.int32)
    masks, slots = tf.TensorSpec([None, n_actions], tf.bool), tf.TensorSpec([None], tf.int64)
    return Batch(observations, masks, integers, numbers, numbers, observations, masks, numbers, slots)


def _every(batch: Any, first: int, stride: int) -> Any:
    """Take every `stride`-th transition: neighbours are alike, as prioritized draws are in the order of the memory."""
    return optree.tree_map(lambda array: np.ascontiguousarray(array[first::stride]), batch)


def _transformed(batch: Batch, symmetry: Symmetry) -> Batch:
    """See a batch through a symmetry of the environment."""
    return batch._replace(
        observations=symmetry.observations(batch.observations),
        masks=batch.masks[:, np.argsort(symmetry.actions)],
        actions=symmetry.actions[batch.actions],
        next_observations=symmetry.observations(batch.next_observations),
        next_masks=batch.next_masks[:, np.argsort(symmetry.actions)],
    )
