"""The interface of an agent: all that the loop and the run use."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import keras
import numpy as np
import numpy.typing as npt

from agent import DQNAgent
from config import Config
from environments.lanes import Lanes, Step
from environments.spaces import Observations
from losses import UpdateStats
from q_table import QTableAgent
from replay_memory import ReplayMemory
from storage.loading import set_weights
from storage.model_file import ModelInfo, read_model


class Agent(Protocol):
    """An agent that can be trained; see `DQNAgent` for what each part means."""

    config: Config
    online: keras.Model
    episodes: int
    steps: int
    updates: int
    td_errors: Any

    @property
    def memory(self) -> ReplayMemory | None:
        """The replay memory, whose segments go with every checkpoint; None if there is none."""

    @property
    def memory_fill(self) -> float:
        """The share of the memory that is filled, 0 to 1."""

    @property
    def epsilon(self) -> np.ndarray:
        """The probability of a random action now, in each lane: float64 (lanes,), rising."""

    @property
    def progress(self) -> float:
        """The share of the run that is done, 0 to 1."""

    def describe(self) -> str:
        """What learns, and on which device."""

    def q_values(self, observations: Observations) -> np.ndarray:
        """The values by which it acts, (batch, n_actions)."""

    def act(
        self, observations: Observations, masks: np.ndarray | None = None, epsilon: npt.ArrayLike | None = None
    ) -> np.ndarray:
        """Pick actions, int64 (batch,), counted from 0."""

    def remember(self, observations: Observations, actions: npt.ArrayLike, step: Step) -> None:
        """Take note of one step of every lane."""

    def learn(self) -> Sequence[UpdateStats]:
        """Do the updates that are due."""

    def memory_use(self) -> tuple[str, int]:
        """What takes its memory, and the bytes in use."""

    def is_finite(self) -> bool:
        """Whether learning has not diverged."""

    def sample_for_display(self, count: int, generator: np.random.Generator) -> tuple[Observations, np.ndarray]:
        """Observations and actions for histograms."""

    def truncate_lane(self, lane: int) -> None:
        """Note that a lane starts a new episode."""

    def get_weights(self) -> list[np.ndarray]:
        """Copy what it acts by: the online network's weights, or the table."""

    def set_weights(self, weights: Sequence[np.ndarray]) -> None:
        """Act by these, which `get_weights` has copied."""

    def save(self, path: Path, info: ModelInfo) -> None:
        """Write it to a file."""

    def get_state(self) -> dict[str, Any]:
        """Save everything its future depends on, except the memory's segments."""

    def set_state(self, state: dict[str, Any], segments: Iterable[dict[str, np.ndarray]]) -> None:
        """Restore what `get_state` and the memory's `get_steps` saved."""


def make_agent(config: Config, envs: Lanes, resumed: bool = False, dqn: Callable[..., DQNAgent] = DQNAgent) -> Agent:
    """Make the agent that `config.method` names, for these environments.

    It starts with the weights that `--init-from` names, unless its run is resumed and so has weights of its own.

    Args:
        config: the settings.
        envs: the environments.
        resumed: whether its run is resumed.
        dqn: makes a DQN agent, from what `DQNAgent` takes.

    Raises:
        InputError: as the agents' constructors and `read_model`.
    """
    if config.method != "dqn":
        return QTableAgent(envs.observation_space, envs.action_space, config, envs.symmetries)
    agent = dqn(envs.observation_space, envs.action_space, config, envs.symmetries)
    if config.init_from and not resumed:
        set_weights(read_model(Path(config.init_from), only_weights=True), agent.online)
        agent.copy_to_target()
    return agent
