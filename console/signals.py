"""Handle Ctrl-C and SIGTERM: exit at once without a traceback, or finish a run in order."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any, Self


def end_quietly_on_ctrl_c() -> None:
    """Exit on Ctrl-C without a traceback, with code 130, as shells expect."""
    signal.signal(signal.SIGINT, lambda *_: sys.exit(130))


def end_quietly() -> None:
    """Exit quietly on Ctrl-C or when the reader of our output is gone, as in `| head`. For scripts that only print."""
    end_quietly_on_ctrl_c()
    if hasattr(signal, "SIGPIPE"):  # not on Windows
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)


def leave_signals_to_parent() -> None:
    """In a process that another one has started: let Ctrl-C, which reaches both, end that one, in order. In the main
    process this does nothing."""
    if multiprocessing.parent_process():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


class StopOnSignal:
    """A context manager that records the first Ctrl-C or SIGTERM. A second one ends the program at once, or raises
    KeyboardInterrupt where Python itself handles Ctrl-C, as in a notebook, whose variables should survive.

    Attributes:
        received: the number of the signal, 0 if none has come.
    """

    def __init__(self) -> None:
        self.received = 0
        self._previous: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():  # Python lets no other thread set handlers
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous[number] = signal.signal(number, self._receive)
        return self

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        for each, previous in self._previous.items():
            signal.signal(each, previous if previous is signal.default_int_handler else signal.SIG_DFL)
        with contextlib.suppress(OSError):  # standard error may be closed
            # Not print: the signal may have interrupted a print, which cannot be called again within itself.
            os.write(2, b"\nstopping and saving the run; a second Ctrl-C stops at once\n")

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
