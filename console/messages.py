"""Messages for the user that outlive a closed terminal and cannot steer it."""

from __future__ import annotations

import os
import sys
from typing import TextIO


def one_line(text: str) -> str:
    """A text of somebody else's as one line of at most 1,000 characters, none of which steers a terminal."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= 1_000 else f"{line[:500]} ... {line[-500:]}"


def say(text: str, file: TextIO | None = None) -> None:
    """Print a line, on standard error above tqdm's bar. If nobody reads there any more, this and all to come go
    nowhere: a run outlives the terminal and the `| tee` that it was started with."""
    from tqdm import tqdm  # `make` runs this file before anything is installed

    file = file or sys.stderr
    try:
        tqdm.write(text, file=file)
        file.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())
