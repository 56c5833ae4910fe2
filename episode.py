"""One episode, step by step: who plays it, what it came to, and what its actions are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import optree

from spaces import MASK, QValues, action_masks, best_actions

# Gymnasium's own environments do not say; the documentation's words.
KNOWN: Mapping[str, Sequence[str]] = {
    "CartPole-v1": ("left", "right"),
    "MountainCar-v0": ("left", "stay", "right"),
    "Acrobot-v1": ("left", "stay", "right"),
    "LunarLander-v3": ("stay", "left", "up", "right"),
    "FrozenLake-v1": ("left", "down", "right", "up"),
    "CliffWalking-v1": ("up", "right", "down", "left"),
    "Taxi-v4": ("down", "up", "right", "left", "pick up", "drop off"),
}
# As a keypad lies, so that all nine directions have one; names as `pygame.key.name` has them.
KEYS: Mapping[str, Sequence[str]] = {
    "up": ("up", "8", "[8]"),
    "down": ("down", "2", "[2]"),
    "left": ("left", "4", "[4]"),
    "right": ("right", "6", "[6]"),
    "up left": ("7", "[7]"),
    "up right": ("9", "[9]"),
    "down left": ("1", "[1]"),
    "down right": ("3", "[3]"),
    "stay": ("5", "[5]"),
    "fire": ("space",),
    "pick up": ("7", "[7]"),
    "drop off": ("1", "[1]"),
}
_OF_ATARI = {
    "noop": "stay", "upright": "up right", "upleft": "up left", "downright": "down right", "downleft": "down left",
}  # fmt: skip


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


def action_names(env: gym.Env) -> list[str]:
    """Of every action, counted from 0: as the environment's `get_action_meanings` says (a method that Atari's have), as
    Gymnasium's documentation does, or its number."""
    n_actions = int(env.action_space.n)  # type: ignore[attr-defined]
    says = getattr(env.unwrapped, "get_action_meanings", None)
    names = [str(name).lower() for name in says()] if says else KNOWN.get(env.spec.id if env.spec else "", ())
    if len(names) != n_actions:
        return [f"action {i}" for i in range(n_actions)]
    return [_OF_ATARI.get(name, name) for name in names]


def action_keys(names: Sequence[str]) -> dict[str, int]:
    """The action, counted from 0, that each key plays: directions lie as on a keypad and on the arrows; actions without
    such a name are played by their number, if no direction has that key."""
    numbers = {str(i): i for i, name in enumerate(names[:10]) if name not in KEYS}
    return numbers | {key: i for i, name in enumerate(names) for key in KEYS.get(name, ())}
