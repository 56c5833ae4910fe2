"""Start Ray so that nobody outside this machine reaches it, or join a cluster."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from console import PROJECT
from console.errors import InputError
from console.messages import one_line
from console.ray_installation import check_ray

# They must stand in the environment before Ray is imported.
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # tells nobody
    "RAY_AUTH_MODE": "token",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # --env own_game.py:Game and relative paths mean the current folder
    "RAY_AIR_NEW_OUTPUT": "0",  # tune.py prints scores itself
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # a run has its own logs
}
FOLDER = "FOLDER_OF_THE_COMMAND"  # a variable for the processes that are started
# Without a cluster all listen on loopback only. Its name says nothing of that; a test looks at the listeners.
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


def available_cpus() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def ray_session(address: str | None, environment: Mapping[str, str], cpus: int = 0) -> Iterator[None]:
    """Start Ray on this machine, or join a cluster, until the block ends.

    On this machine everything listens on loopback, and lets in none but the holder of a token, which lies in a folder
    that only this user reads, with Ray's own files. All of it is gone at the end. A cluster's token is in the file that
    `RAY_AUTH_TOKEN_PATH` names.

    Args:
        address: of the cluster; None to start Ray here.
        environment: variables for the processes that it starts.
        cpus: that Ray may give out on this machine, even if it has fewer.

    Raises:
        InputError: as `check_ray`; or the cluster refuses this user.
    """
    check_ray(address)
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        before = dict(os.environ)
        os.environ.update(QUIET)
        if not address:
            os.environ.update(LOOPBACK)
            token = Path(folder, "token")
            token.touch(mode=0o600)
            token.write_text(_token())
            os.environ["RAY_AUTH_TOKEN_PATH"] = str(token)
        try:
            import ray

            here: dict[str, Any] = {
                "num_cpus": max(cpus, available_cpus()),
                "include_dashboard": False,
                "_temp_dir": folder,
            }
            try:
                ray.init(
                    address=address,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    runtime_env={"env_vars": {"PYTHONPATH": _path(), FOLDER: os.getcwd(), **environment}},
                    **({} if address else here),
                )
            except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
                where = f"--address {address}" if address else "Ray on this machine"
                raise InputError(f"{where} cannot be reached: {one_line(str(error))}") from error
            try:
                yield
            finally:
                ray.shutdown()
        finally:
            os.environ.clear()
            os.environ.update(before)


def go_to_folder() -> None:
    """In a process of Ray's, go to the command's folder, which relative paths mean, if this machine has it."""
    with contextlib.suppress(OSError, KeyError):
        os.chdir(os.environ[FOLDER])


@functools.cache
def _token() -> str:
    """The same in all sessions of a process, as Ray reads it once."""
    return secrets.token_hex(32)


def _path() -> str:
    """Where processes on all machines find the project: it lies under the same path."""
    return os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
