"""The versions of packages that a file was made with."""

from __future__ import annotations

import contextlib
import platform
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from console.messages import one_line


def versions() -> dict[str, str]:
    """Of the packages that shape a model or make its environment, of Python, and the platform."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in ("tensorflow", "keras", "gymnasium", "numpy", "ale-py", "vizdoom", "box2d"):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def warn_of_versions(what: str, then: Mapping[str, Any], now: Mapping[str, str]) -> None:
    """Say on standard error which versions are not those that something was made with."""
    for package in now:
        if then.get(package, now[package]) != now[package]:
            text = f"{what} was made with {package} {then[package]}, this is {now[package]}: numbers may differ"
            print(f"warning: {one_line(text)}", file=sys.stderr)
