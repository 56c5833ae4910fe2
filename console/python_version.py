"""Check the version of Python.

`make` runs this file before it installs anything, perhaps with a Python that is too old. So this file and everything it
imports must run on Python 3.8 with the standard library alone.
"""

from __future__ import annotations

import sys

from console.errors import InputError, exit_on_bad_input


def check_python() -> None:
    """Check that TensorFlow supports this version of Python.

    Raises:
        InputError: it does not.
    """
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        raise InputError(f"this is Python {sys.version.split()[0]}: use Python 3.11, 3.12 or 3.13")


if __name__ == "__main__":
    with exit_on_bad_input("make"):
        check_python()
