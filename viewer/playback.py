"""Play episodes side by side, controlled by keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from viewer.episode import Episode
from viewer.keys import COMMANDS
from viewer.screen import Screen

FOREVER = 1e9  # seconds
FASTER = 1.5  # the factor by which a key changes the speed
MAX_FPS = 1000.0
FRAMES_AT_END = 4  # an episode's last frame stays this long


class Playback:
    """Plays episodes side by side, all from the same seed, controlled by keys.

    Args:
        episodes: one for each player.
        screen: shows the episodes and reads the keys.
        fps: steps per second.
        actions: the action that each key plays. If there are any, a person plays the first episode, and the others
            take one step after each of the person's.
    """

    def __init__(
        self, episodes: Sequence[Episode], screen: Screen, fps: float, actions: Mapping[str, int] | None = None
    ) -> None:
        self._episodes, self._screen, self._fps = episodes, screen, fps
        self._actions = actions or {}
        self._commands = {key: command for key, command in COMMANDS.items() if key not in self._actions}
        self._paused = False

    def play(self, seed: int, count: int) -> None:
        """Play `count` consecutive seeds, and print each result."""
        number, command = 0, ""
        while number < count and command != "quit":
            command = self._play_one(seed + number)
            results = "; ".join(f"{e.name}: {e}" if len(self._episodes) > 1 else str(e) for e in self._episodes)
            print(f"episode {number + 1}: {results}{', stopped' if command else ''}")
            number += command != "restart"

    def _play_one(self, seed: int) -> str:
        """Play one seed.

        Returns:
            "" if all episodes ended, else the command that cut them short: "restart", "next" or "quit".
        """
        for episode in self._episodes:
            episode.reset(seed)
        while True:
            self._screen.show(self._episodes)
            is_over = all(episode.ending for episode in self._episodes)
            needs_key = self._paused or self._awaits_person
            key = self._screen.wait(FOREVER if needs_key else (FRAMES_AT_END if is_over else 1) / self._fps)
            command = self._commands.get(key, "")
            if command in ("restart", "next", "quit"):
                return "" if is_over and command == "next" else command
            self._obey(command)
            if not self._goes_on(key, needs_key, is_over):
                continue
            if is_over:
                return ""
            self._step(self._actions.get(key))

    @property
    def _awaits_person(self) -> bool:
        """Whether it is a person's turn."""
        return bool(self._actions) and not self._episodes[0].ending

    def _obey(self, command: str) -> None:
        """Change the speed, or pause."""
        if command in ("slower", "faster"):
            self._fps = min(self._fps * (FASTER if command == "faster" else 1 / FASTER), MAX_FPS)
        elif command == "pause":
            self._paused = not self._paused
        elif command == "step":
            self._paused = True

    def _goes_on(self, key: str, needs_key: bool, is_over: bool) -> bool:
        """Return whether to take the next step, or to leave the last frame."""
        if key in self._actions:
            return not is_over  # holding a key down must not skip the last frame
        if key:
            return self._commands.get(key) == "step"
        return not needs_key

    def _step(self, action: int | None) -> None:
        """Take one step in every unfinished episode, but in none if the person's action is missing or illegal."""
        first = self._episodes[0]
        if self._awaits_person and (action is None or not first.is_legal(action)):
            return
        for episode in self._episodes:
            if not episode.ending:
                episode.step(action if self._actions and episode is first else None)
