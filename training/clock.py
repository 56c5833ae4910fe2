"""The time that a run takes."""

from __future__ import annotations

import time
from typing import Any


class Clock:
    """Counts the seconds of a run, over all its starts, and the speed of each window."""

    def __init__(self) -> None:
        self._before, self._speed = 0.0, 0.0  # seconds before the run was resumed; speed of the latest window
        self.start(steps=0)

    def start(self, steps: int) -> None:
        """Start counting, when `steps` have been taken."""
        self._began = time.perf_counter()
        self.begin_window(steps)

    @property
    def seconds(self) -> float:
        """How long the run has taken, before it was resumed included."""
        return self._before + self.seconds_since_start

    @property
    def seconds_since_start(self) -> float:
        """How long the run has taken since it was started or resumed."""
        return time.perf_counter() - self._began

    def window_speed(self, steps: int) -> float:
        """The environment steps per second since the window began.

        A window that ends in the same step as the one before has its speed.

        Args:
            steps: taken so far.
        """
        if steps > self._window_steps:
            self._speed = (steps - self._window_steps) / (time.perf_counter() - self._window_began)
        return self._speed

    def begin_window(self, steps: int) -> None:
        """Begin a window, when `steps` have been taken."""
        self._window_began, self._window_steps = time.perf_counter(), steps

    def get_state(self) -> dict[str, Any]:
        """Save the seconds and the speed."""
        return {"seconds": self.seconds, "speed": self._speed}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` saved."""
        self._before, self._speed = float(state["seconds"]), float(state["speed"])
