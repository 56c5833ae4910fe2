"""What the keys do: play actions, and control the playback. Keys have the names of `pygame.key.name`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# Directions lie as on a numeric keypad, so that all nine have a key.
KEYS_OF_ACTIONS: Mapping[str, Sequence[str]] = {
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

# A key that plays an action loses its command.
COMMANDS: Mapping[str, str] = {
    "space": "pause", "p": "pause", ".": "step", "-": "slower", "[-]": "slower", "=": "faster", "+": "faster",
    "[+]": "faster", "r": "restart", "n": "next", "q": "quit", "escape": "quit",
}  # fmt: skip
COMMANDS_HELP = "keys: space or p pauses, . steps, - slower, + faster, r restarts, n next seed, q quits"


def action_keys(names: Sequence[str]) -> dict[str, int]:
    """Map keys to the actions that they play, counted from 0.

    Args:
        names: of the actions. A direction gets its arrow key and its place on the keypad, any other action its number
            as a digit, unless a direction has that digit.
    """
    digits = {str(i): i for i, name in enumerate(names[:10]) if name not in KEYS_OF_ACTIONS}
    return digits | {key: i for i, name in enumerate(names) for key in KEYS_OF_ACTIONS.get(name, ())}


def actions_help(names: Sequence[str], keys: Mapping[str, int]) -> list[str]:
    """List each action with its keys, one line each."""
    keys_of = [[key for key, played in keys.items() if played == action] for action in range(len(names))]
    spoken = [", ".join(f"keypad {key[1:-1]}" if key[0] == "[" else key for key in each) for each in keys_of]
    return [f"{name}: {of_action or 'has no key'}" for name, of_action in zip(names, spoken, strict=True)]
