"""Runs that a signal interrupts in the middle of a window."""

import contextlib
import itertools
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from training.run import Run


@contextlib.contextmanager
def interrupted_after(steps: int, number: int = signal.SIGINT) -> Iterator[None]:
    """Send a signal in the middle of a window, after this many vector steps."""
    count, calls = Run.count, itertools.count(1)

    def counting(run: Run, *step: Any) -> None:
        count(run, *step)
        if next(calls) == steps:
            signal.raise_signal(number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "count", counting)
        yield
