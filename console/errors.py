"""Errors of the user's: one line and exit code 2 instead of a traceback."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from console.messages import one_line


class InputError(ValueError):
    """Something the user gave cannot work; the message names it and says what would."""


@contextlib.contextmanager
def exit_on_bad_input(program: str | None = None) -> Iterator[None]:
    """End the program with one line on standard error and exit code 2 when an InputError is raised inside."""
    try:
        yield
    except InputError as error:
        print(f"{program or Path(sys.argv[0]).name}: error: {one_line(str(error))}", file=sys.stderr)
        raise SystemExit(2) from error
