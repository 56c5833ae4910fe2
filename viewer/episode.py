"""One episode, step by step: who plays it, what it came to, and what its actions are called."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import optree

from environments.actions import MASK, action_masks, best_actions
from environments.spaces import QValues


class Episode:
    """Plays one environment, an episode at a time.

    Args:
        env: an environment with discrete actions.
        q_values: from observations (1, ...) to (1, n_actions), by which it plays; None where somebody else says what
            to do.
        name: of who plays.

    Attributes:
        total, length: return and steps so far.
        ending: "" while it goes on, then "won" or "lost" where the environment says, else "terminated" or "timed out".
        values: the Q-values of the latest observation to act on, float (n_actions,); None without `q_values`.
        greedy: the legal action of the highest, counted from 0; None without `q_values`.
    """

    def __init__(self, env: gym.Env, q_values: QValues | None, name: str = "") -> None:
        self.env, self.name = env, name
        self._q_values = q_values
        self._n_actions, self._first = int(env.action_space.n), int(env.action_space.start)  # type: ignore[attr-defined]

    def reset(self, seed: int) -> None:
        """Begin a new one."""
        self.total, self.length, self.ending = 0.0, 0, ""
        self.values: np.ndarray | None = None
        self.greedy: int | None = None
        self._see(*self.env.reset(seed=seed))

    def _see(self, observation: Any, info: dict[str, Any]) -> None:
        self._mask = action_masks({MASK: info[MASK][None]} if MASK in info else {}, (1, self._n_actions))
        if self._q_values:
            values = self._q_values(optree.tree_map(lambda array: np.asarray(array)[None], observation))
            self.values, self.greedy = values[0], int(best_actions(values, self._mask)[0])

    def is_legal(self, action: int) -> bool:
        """Whether an action, counted from 0, may be taken now."""
        return bool(self._mask[0, action])

    def step(self, action: int | None = None) -> None:
        """Take an action, counted from 0: the greedy one if none is given."""
        action = self.greedy if action is None else action
        assert action is not None
        observation, reward, terminated, truncated, info = self.env.step(action + self._first)
        self.total += float(reward)
        self.length += 1
        if terminated:
            self.ending = {True: "won", False: "lost", None: "terminated"}[info.get("is_success")]
        elif truncated:
            self.ending = "timed out"
        if not self.ending:
            self._see(observation, info)

    def __str__(self) -> str:
        """What it came to so far."""
        return f"return {self.total:g}, {self.length} steps{', ' if self.ending else ''}{self.ending}"
