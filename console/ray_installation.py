"""Check that Ray is there, before the seconds that other checks take."""

from __future__ import annotations

import os
import socket
from importlib.util import find_spec

from console.errors import InputError


def check_ray(address: str | None) -> None:
    """Check that Ray is installed and may be started.

    Args:
        address: of a cluster that the command names.

    Raises:
        InputError: it is not, the environment names a cluster that the command does not, or nothing listens at the
            address.
    """
    if not all(find_spec(name) for name in ("ray", "optuna")):
        raise InputError("this needs Ray and Optuna: pip install -r requirements-ray.txt")
    if not address and (found := os.environ.get("RAY_ADDRESS")):
        raise InputError(f"RAY_ADDRESS={found} is set: unset it, or name the cluster with --address")
    if address:
        _check_address(address)


def _check_address(address: str) -> None:
    """Raise InputError if nothing listens there: Ray would try again and again, for minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise InputError(f"--address {address}: write HOST:PORT, as `ray start --head` prints it")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise InputError(f"--address {address}: nothing answers there ({error})") from error
