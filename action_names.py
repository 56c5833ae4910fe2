"""What an environment's actions are called, and the keys with which a person plays them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import gymnasium as gym

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
