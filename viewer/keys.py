"""Which key plays which action."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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


def action_keys(names: Sequence[str]) -> dict[str, int]:
    """The action, counted from 0, that each key plays: directions lie as on a keypad and on the arrows; actions without
    such a name are played by their number, if no direction has that key."""
    numbers = {str(i): i for i, name in enumerate(names[:10]) if name not in KEYS}
    return numbers | {key: i for i, name in enumerate(names) for key in KEYS.get(name, ())}
