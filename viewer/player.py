"""Play episodes side by side, driven by keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from viewer.episode import Episode
from viewer.screen import Screen

FOREVER = 1e9  # seconds


PACE, FASTEST = 1.5, 1000.0  # by which a key makes it faster or slower; steps a second


FRAMES_AT_END = 4  # for which the end of an episode stays


# What keys ask for, by `pygame.key.name`, unless they play an action.
COMMANDS: Mapping[str, str] = {
    "space": "pause", "p": "pause", ".": "step", "-": "slower", "[-]": "slower", "=": "faster", "+": "faster",
    "[+]": "faster", "r": "restart", "n": "next", "q": "quit", "escape": "quit",
}  # fmt: skip


class Player:
    """Plays episodes side by side, from the same seed, as the keys say.

    Args:
        episodes: of one or more players.
        screen: that shows them.
        fps: steps per second.
        actions: what keys play; then a person plays the first episode, and the others wait for every step of it.
    """

    def __init__(
        self, episodes: Sequence[Episode], screen: Screen, fps: float, actions: Mapping[str, int] | None = None
    ) -> None:
        self._episodes, self._screen, self._fps = episodes, screen, fps
        self._actions = actions or {}
        self._commands = {key: command for key, command in COMMANDS.items() if key not in self._actions}
        self._paused = False

    def play(self, seed: int, count: int) -> None:
        """Play from so many seeds, one after the other, and print what each came to."""
        number, command = 0, ""
        while number < count and command != "quit":
            command = self._play_one(seed + number)
            told = "; ".join(f"{e.name}: {e}" if len(self._episodes) > 1 else str(e) for e in self._episodes)
            print(f"episode {number + 1}: {told}{', stopped' if command else ''}")
            number += command != "restart"

    def _play_one(self, seed: int) -> str:
        """Play until all have ended, or a key asks for something else: for what, or ""."""
        for episode in self._episodes:
            episode.reset(seed)
        while True:
            self._screen.show(self._episodes)
            is_over = all(episode.ending for episode in self._episodes)
            waits = self._paused or (self._actions and not self._episodes[0].ending)
            key = self._screen.wait(FOREVER if waits else (FRAMES_AT_END if is_over else 1) / self._fps)
            command = self._commands.get(key, "")
            if command in ("restart", "next", "quit"):
                return "" if is_over and command == "next" else command
            if command in ("slower", "faster"):
                self._fps = min(self._fps * (PACE if command == "faster" else 1 / PACE), FASTEST)
            if command in ("pause", "step"):
                self._paused = command == "step" or not self._paused
            # A key that is held down plays no further than to the end.
            if (key in self._actions and not is_over) or command == "step" or not (key or waits):
                if is_over:
                    return ""
                self._step(self._actions.get(key))

    def _step(self, action: int | None) -> None:
        """Take a step in every episode that goes on, if the person's action is legal."""
        first = self._episodes[0]
        if self._actions and not first.ending and (action is None or not first.is_legal(action)):
            return
        for episode in self._episodes:
            if not episode.ending:
                episode.step(action if self._actions and episode is first else None)
