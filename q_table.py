"""The table before the network: five rules that learn Q(state, action), a number for each, with no network at all.

What `DQNAgent` does with a network, this does with an array of one row for every state, so it is the place to see what
the network, the replay memory and the target network are for. `python train.py --method q-learning`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import gymnasium as gym
import keras
import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Discrete, MultiDiscrete

from agent import DQNAgent, UpdateStats
from config import Config
from environments.actions import epsilon_greedy
from environments.spaces import Observations, check_like, example_observation
from environments.symmetry import Symmetry
from environments.table_rows import rows_of, table_shape
from replay_memory import ReplayMemory

ON_POLICY = ("sarsa", "sarsa-lambda")  # learn from the next action that is taken
WITH_TRACES = ("sarsa-lambda", "q-lambda")
FAINTEST = 1e-8  # eligibility that is forgotten


class QTableAgent:
    """Learns a table of Q(state, action) from every step once, as it happens: no network, no memory, no target.

    Every rule moves Q(S, A) towards R + discount * V(S') by a share alpha, the learning rate, of the TD error, and they
    differ in V(S'), in what the next state is held to be worth (0 where the episode terminated):

    - `q-learning`: max_a Q(S', a) (Watkins & Dayan 1992, eq. 1; Sutton & Barto 2018, eq. 6.8)
    - `sarsa`: Q(S', A') of the action that is taken next (Rummery & Niranjan 1994; Sutton & Barto, eq. 6.7)
    - `expected-sarsa`: the sum of pi(a | S') Q(S', a) over the actions, pi being epsilon-greedy (eq. 6.9)
    - `sarsa-lambda`, `q-lambda`: as the first two, and every TD error also moves the pairs before (S, A), each by its
      eligibility, which is 1 when the pair is visited (a replacing trace, Singh & Sutton 1996; eq. 12.12) and falls by
      discount * lambda every step (eq. 12.6 and 12.7, for pairs as in section 12.7; section 12.10 for Watkins's
      Q(lambda), which forgets what led to an action that was not greedy)

    Lanes share the table. Where several change the same pair in one step, the last of them counts.

    Args:
        observation_space: of one lane, Discrete or MultiDiscrete.
        action_space: of one lane.
        config: settings; those of networks, replay and targets do not matter here.
        symmetries: views under which the environment is the same: what is learned in one is written into all.

    Attributes:
        table: float64 (states, n_actions), zeros at first.
        online: a Keras model without weights, for callbacks: they may stop the run or set its optimizer's learning
            rate, which is the alpha of all rules.
        memory: a replay memory that stays empty.
        td_errors: of the latest step, float64 (lanes,), empty before the first.
        episodes, steps, updates: counted since the start; steps are environment steps of all lanes, and an update is of
            one step.

    Raises:
        InputError: states cannot be counted, or the table does not fit in the machine's memory.
    """

    def __init__(
        self,
        observation_space: gym.Space,
        action_space: gym.Space,
        config: Config,
        symmetries: Sequence[Symmetry] = (),
    ) -> None:
        self.config = config
        shape = table_shape(observation_space, action_space, config.checkpoint_every > 0)
        assert isinstance(observation_space, Discrete | MultiDiscrete)
        self._space = observation_space
        self._symmetries = list(symmetries) if config.symmetries else []
        self.n_actions, self._first_action = shape[1], int(action_space.start)  # type: ignore[attr-defined]
        self._generator = np.random.default_rng(config.seed)
        self.table = np.zeros(shape)
        self.online = keras.Sequential(name="table")
        self.online.compile(optimizer=keras.optimizers.SGD(config.learning_rate))
        self.memory = ReplayMemory(config.lanes, config.lanes, example_observation(observation_space), self.n_actions)
        self.episodes = self.steps = self.updates = 0
        self.td_errors = np.zeros(0)
        self._latest: tuple[np.ndarray, ...] = ()  # the step to learn from
        self._masks = np.ones((config.lanes, self.n_actions), bool)  # the actions that were legal in it
        self._next_actions = np.full(config.lanes, -1)  # what on-policy rules have chosen already, else -1
        length = trace_length(config) if config.method in WITH_TRACES else 0
        # The pairs visited last, in all views, at step t in column t % length; and how eligible they are.
        self._pairs = np.zeros((max(1, len(self._symmetries)), config.lanes, length), np.int64)
        self._eligibility = np.zeros((config.lanes, length))

    @property
    def epsilon(self) -> float:
        """The chance of a random action now."""
        return self.config.epsilon(self.episodes, self.steps)

    @property
    def progress(self) -> float:
        """The share of the run that is done, 0 to 1."""
        return self.config.progress(self.episodes, self.steps)

    def q_values(self, observations: np.ndarray) -> np.ndarray:
        """Look observations (batch, ...) up: float64 (batch, n_actions)."""
        return self.table[rows_of(observations, self._space)]

    def act(self, observations: Observations, epsilon: float, masks: np.ndarray | None = None) -> np.ndarray:
        """Pick a legal action for each observation, as `DQNAgent.act`; on-policy rules keep to what they learned
        from."""
        if masks is None:
            masks = np.ones((len(observations), self.n_actions), bool)
        self._masks = masks
        actions = epsilon_greedy(self.q_values, observations, masks, epsilon, self._generator)
        return np.where(self._next_actions >= 0, self._next_actions, actions) + self._first_action

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
        """Keep one step of every lane until `learn`; see `ReplayMemory.append`. Counts steps and the episodes that
        ended."""
        if self.config.reward_clip:
            rewards = np.clip(rewards, -self.config.reward_clip, self.config.reward_clip)
        rewards, terminated, ended = np.asarray(rewards), np.asarray(terminated), np.logical_or(terminated, truncated)
        masks = np.broadcast_to(next_masks, (len(ended), self.n_actions))
        actions = np.asarray(actions) - self._first_action
        self._latest = observations, actions, rewards, terminated, ended, next_observations, masks
        self.steps += len(ended)
        self.episodes += int(ended.sum())

    def learn(self) -> list[UpdateStats]:
        """Learn from the step that was remembered last."""
        observations, actions, rewards, terminated, ended, next_observations, masks = self._latest
        values = self.table[rows_of(observations, self._space)]
        taken, best = values[np.arange(len(actions)), actions], np.where(self._masks, values, -np.inf).max(axis=1)
        targets = rewards + self.config.discount * ~terminated * self._bootstrap(next_observations, masks, ended)
        self.td_errors = targets - taken
        pairs = self._pairs_in_all_views(observations, actions)
        alpha, table = float(self.online.optimizer.learning_rate), self.table.ravel()
        # Not by `td_errors`: where lanes met in one pair, it may not be the same in all views any more.
        moves = alpha * (targets - table[pairs])
        if self.config.method in WITH_TRACES:
            self._move_along_traces(pairs, moves, taken == best, ended)
        else:
            table[pairs] += moves
        self.updates += len(actions)
        return [UpdateStats(float(np.square(self.td_errors).mean()), float(best.mean()), float(best.max()))]

    def _bootstrap(self, observations: np.ndarray, masks: np.ndarray, ended: np.ndarray) -> np.ndarray:
        """float64 (lanes,): what the next states are held to be worth, by the rule."""
        values = np.where(masks, self.table[rows_of(observations, self._space)], -np.inf)
        if self.config.method in ON_POLICY:
            actions = epsilon_greedy(self.q_values, observations, masks, self.epsilon, self._generator)
            self._next_actions = np.where(ended, -1, actions)
            return values[np.arange(len(actions)), actions]
        if self.config.method == "expected-sarsa":
            mean = np.where(masks, values, 0).sum(axis=1) / masks.sum(axis=1)
            return self.epsilon * mean + (1 - self.epsilon) * values.max(axis=1)
        return values.max(axis=1)

    def _pairs_in_all_views(self, observations: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """int64 (views, lanes): where Q(observation, action) lies in the flattened table, as seen in every view."""
        if not self._symmetries:
            return rows_of(observations, self._space)[None] * self.n_actions + actions
        return np.stack(
            [
                rows_of(view.observations(observations), self._space) * self.n_actions + view.actions[actions]
                for view in self._symmetries
            ]
        )

    def _move_along_traces(self, pairs: np.ndarray, moves: np.ndarray, greedy: np.ndarray, ended: np.ndarray) -> None:
        """Move the pairs visited last by `moves` times their eligibility.

        Args:
            pairs: int (views, lanes), visited now.
            moves: float (views, lanes), alpha times the TD errors there.
            greedy: bool (lanes,), whether the actions were.
            ended: bool (lanes,), whether this was the episode's last step.
        """
        eligibility, column = self._eligibility, (self.steps // self.config.lanes) % self._eligibility.shape[1]
        eligibility *= self.config.discount * self.config.trace_decay
        if self.config.method == "q-lambda":
            eligibility[~greedy] = 0  # what led here led not to what the rule holds the state to be worth
        # Replaced by what follows, in whatever view it was visited before.
        eligibility[(self._pairs == pairs[0][:, None]).any(axis=0)] = 0
        eligibility[:, column] = 1
        self._pairs[:, :, column] = pairs
        lanes, columns = np.nonzero(eligibility > FAINTEST)
        self.table.ravel()[self._pairs[:, lanes, columns]] += moves[:, lanes] * eligibility[lanes, columns]
        eligibility[ended] = 0

    def recall(self, count: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Observations and actions of the latest step, `count` at most, for somebody to look at."""
        return self._latest[0][:count], self._latest[1][:count]

    def cut(self, lane: int) -> None:
        """Forget what led to where a lane stands: it starts anew."""
        self._next_actions[lane] = -1
        self._eligibility[lane] = 0

    def get_state(self) -> dict[str, Any]:
        """As `DQNAgent.get_state`."""
        return {
            "variables": [self.table],
            "memory": self.memory.get_state(),
            "generator": self._generator.bit_generator.state,
            "counters": [self.episodes, self.steps, self.updates],
            "learning_rate": float(self.online.optimizer.learning_rate),
            "td_errors": self.td_errors,
            "latest": list(self._latest[:2]),
            "rest": self._rest(),
        }

    def _rest(self) -> list[np.ndarray]:
        return [self._next_actions, self._pairs, self._eligibility]

    def set_state(self, state: dict[str, Any], segments: Iterable[dict[str, np.ndarray]]) -> None:
        """As `DQNAgent.set_state`.

        Raises:
            ValueError: the state is of another table.
        """
        for array, value in zip([self.table, *self._rest()], [*state["variables"], *state["rest"]], strict=True):
            check_like("the table and its traces", value, array)
            array[...] = value
        self.memory.set_state(state["memory"], segments)
        self._generator.bit_generator.state = state["generator"]
        self.episodes, self.steps, self.updates = map(int, state["counters"])
        self._set_latest_step(state["latest"], state["td_errors"])
        self.online.optimizer.learning_rate = float(state["learning_rate"])

    def _set_latest_step(self, latest: Sequence[np.ndarray], td_errors: np.ndarray) -> None:
        if self.updates:
            observations, actions = latest
            check_like("the latest actions", actions, np.zeros(self.config.lanes, np.int64))
            check_like("td_errors", td_errors, np.zeros(len(self.q_values(observations))))
        self._latest, self.td_errors = tuple(latest), td_errors


Agent = DQNAgent | QTableAgent


def trace_length(config: Config) -> int:
    """Steps after which an eligibility is too faint to matter, or 1,000 if it hardly falls."""
    decay = config.discount * config.trace_decay
    return 1 if decay == 0 else int(min(1_000, 1 + np.ceil(np.log(FAINTEST) / np.log(decay)))) if decay < 1 else 1_000
