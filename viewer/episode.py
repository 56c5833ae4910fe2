"""Play one episode, step by step."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

from environments.actions import action_mask, best_actions
from environments.spaces import QValues, batch_of_one


class Episode:
    """Plays one environment, an episode at a time.

    Args:
        env: an environment with discrete actions.
        q_values: from observations (1, ...) to (1, n_actions), to play greedily; None if the caller chooses every
            action.
        name: the player's.

    Attributes:
        total, length: return and steps so far.
        ending: "" until the episode ends, then "timed out", "won" or "lost" if the environment reports success or
            failure, and "terminated" if it does not.
        values: Q-values of the latest observation to act on, float (n_actions,); None without `q_values`.
        greedy: the legal action with the highest Q-value, counted from 0; None without `q_values`.
    """

    def __init__(self, env: gym.Env, q_values: QValues | None, name: str = "") -> None:
        self.env, self.name = env, name
        self._q_values = q_values
        self._n_actions, self._first = int(env.action_space.n), int(env.action_space.start)  # type: ignore[attr-defined]

    def reset(self, seed: int) -> None:
        """Start a new episode."""
        self.total, self.length, self.ending = 0.0, 0, ""
        self.values: np.ndarray | None = None
        self.greedy: int | None = None
        self._observe(*self.env.reset(seed=seed))

    def _observe(self, observation: Any, info: dict[str, Any]) -> None:
        """Note which actions are legal, and value them."""
        self._mask = action_mask(info, self._n_actions)
        if self._q_values:
            values = self._q_values(batch_of_one(observation))
            self.values, self.greedy = values[0], int(best_actions(values, self._mask[None])[0])

    def is_legal(self, action: int) -> bool:
        """Return whether an action, counted from 0, is legal now."""
        return bool(self._mask[action])

    def step(self, action: int | None = None) -> None:
        """Take an action, counted from 0; by default the greedy one."""
        action = self.greedy if action is None else action
        assert action is not None
        observation, reward, terminated, truncated, info = self.env.step(action + self._first)
        self.total += float(reward)
        self.length += 1
        if terminated:
            self.ending = _outcome(info)
        elif truncated:
            self.ending = "timed out"
        else:
            self._observe(observation, info)

    def __str__(self) -> str:
        """Return the result so far."""
        steps = "1 step" if self.length == 1 else f"{self.length} steps"
        return f"return {self.total:g}, {steps}{', ' if self.ending else ''}{self.ending}"


def _outcome(info: dict[str, Any]) -> str:
    """Name the outcome of a terminated episode from its last info."""
    success = info.get("is_success")
    if success is None:
        return "terminated"
    return "won" if success else "lost"
