"""Ctrl-C and SIGTERM: end at once, or end a run in order."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any, Self


def end_quietly_on_ctrl_c() -> None:
    """End the program on Ctrl-C without a traceback, with the exit code that shells expect."""
    signal.signal(signal.SIGINT, lambda *_: sys.exit(130))


def end_quietly() -> None:
    """For scripts that only print: as `end_quietly_on_ctrl_c`, and also when nobody reads on, as in `| head`."""
    end_quietly_on_ctrl_c()
    if hasattr(signal, "SIGPIPE"):  # Windows has none
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)


class StopOnSignal:
    """Turns the first Ctrl-C or SIGTERM inside the block into `received`; a second one ends the program at once.

    Attributes:
        received: the signal's number, 0 before there was one.
    """

    def __init__(self) -> None:
        self.received = 0

    def __enter__(self) -> Self:
        self._previous: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():  # no other thread may handle signals
            self._previous = {
                number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)
            }
        return self

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        for each in self._previous:
            signal.signal(each, signal.SIG_DFL)
        with contextlib.suppress(
            OSError
        ):  # not print, which must not be used inside a print that the signal broke into
            os.write(2, b"\nending the run and saving it; once more ends at once\n")

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
