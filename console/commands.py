"""Commands to print: they can be pasted where they are printed, with or without an activated environment."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from console import PROJECT


def script(name: str, *arguments: str) -> str:
    """A command that runs one of this project's scripts, such as "play.py", with the Python that runs now."""
    return shlex.join([_tool("python"), _path(PROJECT / name), *arguments])


def tool(name: str, *arguments: str) -> str:
    """A command that runs a program of the environment that runs now, such as "tensorboard"."""
    return shlex.join([_tool(name), *arguments])


def _tool(name: str) -> str:
    """A program's name, where the shell finds the one of this environment by it; else its path."""
    own = Path(sys.executable).with_name(name)
    found = shutil.which(name)
    return name if found and Path(found).parent.resolve() == own.parent.resolve() else _path(own)


def _path(path: Path) -> str:
    """A path as short as it can be: relative to the current folder if it is below, else absolute."""
    here = Path.cwd()
    return os.fspath(path.relative_to(here)) if path.is_relative_to(here) else os.fspath(path)
