"""Report the user's mistakes in one line and exit code 2, without a traceback."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from console.messages import one_line


class InputError(ValueError):
    """A mistake in the user's input. The message names the input and the fix."""


@contextlib.contextmanager
def exit_on_bad_input(program: str | None = None) -> Iterator[None]:
    """Exit with code 2 and one line on standard error if the block raises an InputError.

    Args:
        program: the name at the start of that line; the script's without it.

    Raises:
        SystemExit: with code 2, in place of the InputError.
    """
    try:
        yield
    except InputError as error:
        print(f"{program or Path(sys.argv[0]).name}: error: {one_line(str(error))}", file=sys.stderr)
        raise SystemExit(2) from error
