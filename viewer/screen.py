"""Where episodes are shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from viewer.episode import Episode
from viewer.film import Film


class Screen(Protocol):
    """Where episodes are shown."""

    def show(self, episodes: Sequence[Episode]) -> None:
        """Show where they stand."""

    def wait(self, seconds: float) -> str:
        """The name of the key that was pressed within so many seconds, "" if none was."""

    def close(self) -> None:
        """Show no more."""


class Recorded:
    """A screen for `play.py` that is filmed.

    Args:
        screen: with the keys.
        film: that sees all that it shows.
    """

    def __init__(self, screen: Screen, film: Film) -> None:
        self._screen, self._film = screen, film

    def show(self, episodes: Sequence[Episode]) -> None:
        """Show where the episodes stand, and film it."""
        self._screen.show(episodes)
        self._film.show(episodes)

    def wait(self, seconds: float) -> str:
        """What the screen's keys say."""
        return self._screen.wait(seconds)

    def close(self) -> None:
        """Close the screen and write the file."""
        self._screen.close()
        self._film.close()
