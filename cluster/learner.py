"""What `train.py` makes its lanes and its agent with: in this process, or played by actors."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import numpy.typing as npt

from agent import DQNAgent
from cluster.actors import Actors
from cluster.crew import Crew
from config import Config
from environments import lanes
from environments.lanes import Lanes, Step
from environments.spaces import Observations
from training import agents
from training.agents import Agent


class Learner(DQNAgent):
    """A DQN agent that learns from what actors play.

    Args:
        actors: that play.
        settings: as `DQNAgent` takes them.
    """

    def __init__(self, *settings: Any, actors: Actors) -> None:
        super().__init__(*settings)
        self._actors = actors
        actors.learner = self

    def act(
        self, observations: Observations, masks: np.ndarray | None = None, epsilon: npt.ArrayLike | None = None
    ) -> np.ndarray:
        """Return what the actors have done already in the lanes that they play; act elsewhere as `DQNAgent` does."""
        if observations is not self._actors.observations or self._actors.is_closed:
            return super().act(observations, masks, epsilon)
        self._masks = masks
        return self._actors.next_actions()

    def _first_td_errors(self, actions: npt.ArrayLike, step: Step) -> np.ndarray | None:
        """Return the actors' own."""
        return super()._first_td_errors(actions, step) if self._actors.is_closed else self._actors.td_errors


def make_lanes(config: Config, address: str | None = None) -> Lanes:
    """Make the lanes of a run.

    Args:
        config: the settings.
        address: of the Ray cluster where actors play; None for this machine.

    Raises:
        InputError: as `environments.lanes.make_lanes`, `Crew` and `Actors`.
    """
    if not config.actors:
        return lanes.make_lanes(config, config.lanes, resumable=True)
    crew = Crew(config, address)
    try:
        return Actors(config, crew)
    except BaseException:
        crew.close()
        raise


def make_agent(config: Config, envs: Lanes, resumed: bool) -> Agent:
    """Make the agent of a run; see `training.agents.make_agent`."""
    dqn = functools.partial(Learner, actors=envs) if isinstance(envs, Actors) else DQNAgent
    return agents.make_agent(config, envs, resumed, dqn)
