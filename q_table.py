"""The same loop with a table: five rules that learn Q(state, action), a number for each pair, without a network.

`QTableAgent` does with an array what `DQNAgent` does with a network, so it shows what network, replay memory and target
network are for. `python train.py --method q-learning`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import keras
import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Discrete, MultiDiscrete

from config import Config
from environments.actions import epsilon_greedy, legal_values, one_each
from environments.lanes import Step
from environments.reused import ActedOn
from environments.spaces import Observations, check_like
from environments.symmetry import Symmetry
from environments.table_rows import rows_of, table_shape
from losses import UpdateStats
from storage.model_file import ModelInfo, save_table

ON_POLICY = ("sarsa", "sarsa-lambda")  # they learn from the next action taken
WITH_TRACES = ("sarsa-lambda", "q-lambda")
FAINTEST = 1e-8  # an eligibility below it is forgotten
LONGEST_TRACE = 1_000  # steps


class QTableAgent:
    """Learns a table of Q(state, action) from every step once, as it happens.

    Every rule moves Q(S, A) towards R + discount * V(S') by alpha, the learning rate, times the TD error. The rules
    differ in V(S'), the value of the next state (0 where the episode terminated):

    - `q-learning`: max_a Q(S', a) (Watkins & Dayan 1992, eq. 1; Sutton & Barto 2018, eq. 6.8)
    - `sarsa`: Q(S', A'), A' being the next action taken (Rummery & Niranjan 1994; Sutton & Barto, eq. 6.7)
    - `expected-sarsa`: the sum over actions of pi(a | S') Q(S', a), pi being epsilon-greedy (eq. 6.9)
    - `sarsa-lambda`, `q-lambda`: as the first two, and each TD error also moves the earlier pairs, in proportion to
      their eligibility. It is 1 when a pair is visited (replacing traces, Singh & Sutton 1996; eq. 12.12) and falls by
      discount * lambda each step (eq. 12.6 and 12.7, for pairs as in section 12.7). In Watkins's Q(lambda) a non-greedy
      action cuts the traces (section 12.10).

    Lanes share the table. If several change the same pair in one step, the last one counts.

    Args:
        observation_space: of one lane, Discrete or MultiDiscrete.
        action_space: of one lane.
        config: settings; those of networks, replay and targets are ignored.
        symmetries: of the environment; what is learned in one view is written into all.

    Attributes:
        table: float64 (states, n_actions), zeros at first.
        online: a Keras model without weights, for callbacks: they may stop the run or set its optimizer's learning
            rate, which is alpha.
        memory: None; a table needs no replay memory.
        td_errors: of the latest step, float64 (lanes,); empty before the first.
        episodes, steps, updates: counts since the start; steps of all lanes together, and an update for each step.

    Raises:
        InputError: states cannot be counted, or the table does not fit in the machine's memory.
    """

    memory = None
    memory_fill = 0.0

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
        self._space, self.n_actions = observation_space, shape[1]
        self._symmetries = list(symmetries) if config.symmetries else []
        self._generator = np.random.default_rng(config.seed)
        self.table = np.zeros(shape)
        self.online = keras.Sequential(name="table")
        self.online.compile(optimizer=keras.optimizers.SGD(config.learning_rate))
        self.episodes = self.steps = self.updates = 0
        self.td_errors = np.zeros(0)
        self._acted_on = ActedOn()
        self._latest: tuple[np.ndarray, ...] = ()  # observations and actions of the step to learn from
        self._masks = np.ones((config.lanes, self.n_actions), bool)  # the legal actions in it
        self._next_actions = np.full(config.lanes, -1)  # chosen already, by on-policy rules; else -1
        length = trace_length(config) if config.method in WITH_TRACES else 0
        # The pairs visited last, in all views, with step t in column t % length; and their eligibility.
        self._pairs = np.zeros((max(1, len(self._symmetries)), config.lanes, length), np.int64)
        self._eligibility = np.zeros((config.lanes, length))

    @property
    def epsilon(self) -> np.ndarray:
        """The probability of a random action now, in each lane: float64 (lanes,), rising."""
        return self.config.epsilon(self.episodes, self.steps)

    @property
    def progress(self) -> float:
        """The share of the run that is done, 0 to 1."""
        return self.config.progress(self.episodes, self.steps)

    def q_values(self, observations: np.ndarray) -> np.ndarray:
        """Look up observations (batch, ...): float64 (batch, n_actions)."""
        return self.table[rows_of(observations, self._space)]

    def act(
        self, observations: Observations, masks: np.ndarray | None = None, epsilon: npt.ArrayLike | None = None
    ) -> np.ndarray:
        """Pick actions as `DQNAgent.act`; on-policy rules take the action they have learned from."""
        if masks is None:
            masks = np.ones((len(observations), self.n_actions), bool)
        self._acted_on.keep(observations)
        self._masks = np.array(masks)
        epsilon = one_each(self.epsilon, len(observations)) if epsilon is None else epsilon
        actions = epsilon_greedy(self.q_values(observations), masks, epsilon, self._generator)
        return np.where(self._next_actions >= 0, self._next_actions, actions)

    def remember(self, observations: Observations, actions: npt.ArrayLike, step: Step) -> None:
        """Keep one step of every lane until `learn`; see `DQNAgent.remember`."""
        masks = np.broadcast_to(step.successor_masks, (len(step.ended), self.n_actions))
        rewards, terminated = self.config.clip_rewards(step.rewards), np.asarray(step.terminated)
        step = step._replace(rewards=rewards, terminated=terminated, successor_masks=masks)
        self._latest, self._step = (self._acted_on.restore(observations), np.asarray(actions)), step
        self.steps += len(step.ended)
        self.episodes += int(step.ended.sum())

    def learn(self) -> list[UpdateStats]:
        """Learn from the step remembered last."""
        (observations, actions), step = self._latest, self._step
        values = self.q_values(observations)
        taken, best = values[np.arange(len(actions)), actions], legal_values(values, self._masks).max(axis=1)
        targets = step.rewards + self.config.discount * ~step.terminated * self._next_values(step)
        self.td_errors = targets - taken
        pairs = self._pairs_in_all_views(observations, actions)
        alpha, table = float(self.online.optimizer.learning_rate), self.table.ravel()
        # Not from `td_errors`: where lanes met in one pair, the views may differ by now.
        moves = alpha * (targets - table[pairs])
        if self.config.method in WITH_TRACES:
            self._move_along_traces(pairs, moves, taken == best, step.ended)
        else:
            table[pairs] += moves
        self.updates += len(actions)
        return [UpdateStats(float(np.square(self.td_errors).mean()), float(best.mean()), float(best.max()))]

    def _next_values(self, step: Step) -> np.ndarray:
        """float64 (lanes,): the values of the next states, by the rule."""
        masks = step.successor_masks
        values = legal_values(self.q_values(step.successors), masks)
        if self.config.method in ON_POLICY:
            actions = epsilon_greedy(values, masks, self.epsilon, self._generator)
            self._next_actions = np.where(step.ended, -1, actions)
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
                rows_of(symmetry.observations(observations), self._space) * self.n_actions + symmetry.actions[actions]
                for symmetry in self._symmetries
            ]
        )

    def _move_along_traces(self, pairs: np.ndarray, moves: np.ndarray, greedy: np.ndarray, ended: np.ndarray) -> None:
        """Move the pairs visited last by `moves` times their eligibility.

        Args:
            pairs: int (views, lanes), visited now.
            moves: float (views, lanes), alpha times the TD errors there.
            greedy: bool (lanes,), whether the action was greedy.
            ended: bool (lanes,), whether this was the episode's last step.
        """
        eligibility, column = self._eligibility, (self.steps // self.config.lanes) % self._eligibility.shape[1]
        eligibility *= self.config.discount * self.config.trace_decay
        if self.config.method == "q-lambda":
            eligibility[~greedy] = 0  # a non-greedy action cuts the traces
        # The new trace replaces an older one of the same pair, in whichever view it was visited.
        eligibility[(self._pairs == pairs[0][:, None]).any(axis=0)] = 0
        eligibility[:, column] = 1
        self._pairs[:, :, column] = pairs
        lanes, columns = np.nonzero(eligibility > FAINTEST)
        self.table.ravel()[self._pairs[:, lanes, columns]] += moves[:, lanes] * eligibility[lanes, columns]
        eligibility[ended] = 0

    def describe(self) -> str:
        """What learns, and on which device."""
        states, actions = self.table.shape
        return f"table of {states:,} states x {actions} actions, on the CPU"

    def memory_use(self) -> tuple[str, int]:
        """What takes the agent's memory, and how many bytes of it are in use."""
        return "the table", self.table.nbytes

    def is_finite(self) -> bool:
        """Whether learning has not diverged: no value is infinite or nan."""
        return bool(np.isfinite(self.table).all())

    def sample_for_display(self, count: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Observations and actions of the latest step, at most `count`, for histograms."""
        observations, actions = self._latest
        return observations[:count], actions[:count]

    def truncate_lane(self, lane: int) -> None:
        """Forget a lane's traces: it starts a new episode."""
        self._next_actions[lane] = -1
        self._eligibility[lane] = 0

    def get_weights(self) -> list[np.ndarray]:
        """Copy the table."""
        return [self.table.copy()]

    def set_weights(self, weights: Sequence[np.ndarray]) -> None:
        """Set the table to one that `get_weights` has copied."""
        self.table[...] = weights[0]

    def save(self, path: Path, info: ModelInfo) -> None:
        """Write an `.npz` file.

        Raises:
            OSError: it cannot be written.
        """
        save_table(path, self.table, info)

    def get_state(self) -> dict[str, Any]:
        """Save everything the agent's future depends on."""
        return {
            "table": self.table,
            "traces": self._traces(),
            "generator": self._generator.bit_generator.state,
            "counters": [self.episodes, self.steps, self.updates],
            "learning_rate": float(self.online.optimizer.learning_rate),
            "td_errors": self.td_errors,
            "latest": list(self._latest),
        }

    def _traces(self) -> list[np.ndarray]:
        return [self._next_actions, self._pairs, self._eligibility]

    def set_state(self, state: dict[str, Any], segments: Iterable[dict[str, np.ndarray]]) -> None:
        """Restore what `get_state` saved.

        Raises:
            ValueError: the state is of another table.
        """
        for array, value in zip([self.table, *self._traces()], [state["table"], *state["traces"]], strict=True):
            check_like("the table and its traces", value, array)
            array[...] = value
        self._generator.bit_generator.state = state["generator"]
        self.episodes, self.steps, self.updates = map(int, state["counters"])
        self.online.optimizer.learning_rate = float(state["learning_rate"])
        if self.updates:  # histograms of a finished run need its last step
            observations, actions = state["latest"]
            check_like("the latest actions", actions, np.zeros(self.config.lanes, np.int64))
            check_like("td_errors", state["td_errors"], np.zeros(len(self.q_values(observations))))
            self._latest, self.td_errors = (observations, actions), state["td_errors"]


def trace_length(config: Config) -> int:
    """The steps after which an eligibility is too faint to matter, `LONGEST_TRACE` at most."""
    decay = config.discount * config.trace_decay
    if decay == 0:
        return 1
    if decay == 1:
        return LONGEST_TRACE
    return int(min(LONGEST_TRACE, 1 + np.ceil(np.log(FAINTEST) / np.log(decay))))
