"""Check, as the first thing a script does, that this Python can run it. Importing this checks.

Like `console.python_version`, this file must run on Python 3.8 with the standard library alone.
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

from console import PROJECT
from console.errors import InputError, exit_on_bad_input
from console.python_version import check_python

NEEDED = ("numpy", "gymnasium", "tensorflow", "keras", "optree", "psutil", "safetensors", "filelock", "tqdm", "PIL")


def check_requirements() -> None:
    """Check the version of Python and that the packages of requirements.txt are there.

    Raises:
        InputError: they are not; the message says which Python to use, or what to install.
    """
    own = PROJECT / ".venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    instead = f"use {own}" if own.exists() else ""
    try:
        check_python()
    except InputError as error:
        raise InputError("; ".join(filter(None, [str(error), instead]))) from error
    missing = [name for name in NEEDED if not find_spec(name)]
    if missing:
        what = f"the package {missing[0]} is" if len(missing) == 1 else "the packages of this project are"
        install = f"{sys.executable} -m pip install -r {PROJECT / 'requirements.txt'}"
        raise InputError(f"{what} not installed for this Python: {instead or install}")


with exit_on_bad_input():
    check_requirements()
