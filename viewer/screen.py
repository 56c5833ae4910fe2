"""The interface of every screen, and a screen that is filmed as well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from viewer.episode import Episode
from viewer.film import Film


class Screen(Protocol):
    """Shows episodes: a window, a terminal or a film."""

    def show(self, episodes: Sequence[Episode]) -> None:
        """Show the current state of the episodes."""

    def wait(self, seconds: float) -> str:
        """Wait for a key. Returns its name, or "" if none was pressed in time."""

    def close(self) -> None:
        """Stop showing."""


class FilmedScreen:
    """A screen whose pictures are filmed as well.

    Args:
        screen: shows the episodes and reads the keys.
        film: records them.
    """

    def __init__(self, screen: Screen, film: Film) -> None:
        self._screen, self._film = screen, film

    def show(self, episodes: Sequence[Episode]) -> None:
        """Show and film the current state of the episodes."""
        self._screen.show(episodes)
        self._film.show(episodes)

    def wait(self, seconds: float) -> str:
        """Wait for a key on the screen. Returns its name, or "" if none was pressed in time."""
        return self._screen.wait(seconds)

    def close(self) -> None:
        """Close the screen and write the film."""
        self._screen.close()
        self._film.close()
