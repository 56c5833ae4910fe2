"""Check the version of Python before anything else is installed or imported."""

from __future__ import annotations

import sys

from console.errors import InputError, exit_on_bad_input


def check_python() -> None:
    """Raise InputError unless TensorFlow supports this Python."""
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        raise InputError(f"Python 3.11, 3.12 or 3.13 is needed, this is {sys.version.split()[0]}")


if __name__ == "__main__":  # `make` asks before it installs anything
    with exit_on_bad_input("make"):
        check_python()
