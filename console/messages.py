"""Print messages: safe for the terminal, and without failing when the terminal is gone."""

from __future__ import annotations

import os
import sys
from typing import TextIO

if sys.stderr is None:  # it was closed. Open something now, before another file takes its number, 2
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (for as long as the program runs)


def one_line(text: str) -> str:
    """Make untrusted text safe to print: one line, at most about 1,000 characters, no terminal control codes."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= 1_000 else f"{line[:500]} ... {line[-500:]}"


def say(text: str, file: TextIO | None = None) -> None:
    """Print a line above the progress bar, by default on standard error.

    If the stream is closed (the terminal or the pipe is gone), write to /dev/null from now on: training continues.
    """
    from tqdm import tqdm  # not at the top: `make` imports this module before it installs anything

    file = file or sys.stderr
    try:
        tqdm.write(text, file=file)
        file.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())


_said: set[str] = set()  # a process says it once, in however many lanes it happens


def say_once(text: str, key: str | None = None) -> None:
    """Print a line on standard error, unless one of the same key (by default the text) was printed before."""
    if (key or text) not in _said:
        _said.add(key or text)
        say(text)
