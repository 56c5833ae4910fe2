"""The time that a run takes."""

from __future__ import annotations

import time
from typing import Any


class Clock:
    """Counts the seconds of a run, over all its starts, and the speed of each window."""

    def __init__(self) -> None:
        self._before = 0.0  # seconds before the run was resumed
        self._window_steps, self._speed = 0, 0.0
        self.start()

    def start(self) -> None:
        """Start counting."""
        self._began = self._window_began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """How long the run has taken, before it was resumed included."""
        return self._before + self.seconds_since_start

    @property
    def seconds_since_start(self) -> float:
        """How long the run has taken since it was started or resumed."""
        return time.perf_counter() - self._began

    def end_window(self, steps: int) -> float:
        """The environment steps per second since the last window began.

        A window that ends in the same step as the one before has its speed.

        Args:
            steps: taken so far.
        """
        if steps > self._window_steps:
            self._speed = (steps - self._window_steps) / (time.perf_counter() - self._window_began)
        return self._speed

    def begin_window(self, steps: int) -> None:
        """Begin a window after so many steps."""
        self._window_began, self._window_steps = time.perf_counter(), steps

    def get_state(self) -> dict[str, Any]:
        """Save the seconds and the speed."""
        return {"seconds": self.seconds, "window_steps": self._window_steps, "speed": self._speed}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` saved."""
        self._before, self._speed = float(state["seconds"]), float(state["speed"])
        self._window_steps = int(state["window_steps"])
