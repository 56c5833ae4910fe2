"""The versions of packages that a file was made with."""

from __future__ import annotations

import contextlib
import os
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from console.messages import one_line, say


def versions() -> dict[str, str]:
    """Return the versions of Python, of the platform, and of the packages that shape a model or its environment."""
    found = {"python": platform.python_version(), "platform": f"{platform.platform()}, {os.cpu_count()} cores"}
    for package in ("tensorflow", "keras", "gymnasium", "numpy", "ale-py", "vizdoom", "box2d"):
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def warn_of_versions(name: str, then: Mapping[str, Any], now: Mapping[str, str]) -> None:
    """Warn on standard error of every version in `now` that differs from the one with which `name` was made."""
    for package in now:
        if then.get(package, now[package]) != now[package]:
            text = f"{name} was made with {package} {then[package]}, this is {now[package]}: numbers may differ"
            say(f"warning: {one_line(text)}")
