"""What tests do with the processes of a program that has started Ray."""

import contextlib
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil


def wait_for(found: Callable[[], Any], job: subprocess.Popen[str]) -> Any:
    """Wait until something is found, at most two minutes."""
    for _ in range(1_200):
        if there := found():
            return there
        assert job.poll() is None, "the job ended"
        time.sleep(0.1)
    raise AssertionError("waited in vain")


def ray_processes(job: subprocess.Popen[str], name: str = "") -> list[psutil.Process]:
    """All processes that a program has started, or those of this name."""
    found = []
    for each in psutil.Process(job.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has just died
            if " ".join(each.cmdline()).startswith(name):
                found.append(each)
    return found


def assert_only_this_user_reaches(job: subprocess.Popen[str], workers: Sequence[psutil.Process]) -> None:
    """All that it started listens on loopback, and asks for a token that no other user can read."""
    listeners = [c for each in ray_processes(job) for c in each.net_connections("tcp") if c.status == "LISTEN"]
    assert listeners and {c.laddr.ip for c in listeners} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    (token,) = {each.environ()["RAY_AUTH_TOKEN_PATH"] for each in workers}
    assert Path(token).stat().st_mode & 0o777 == 0o600
