"""Check that Ray is there, before the seconds that other checks take."""

from __future__ import annotations

import os
from importlib.util import find_spec

from console.errors import InputError


def check_ray(address: str | None) -> None:
    """Check that Ray is installed and may be started.

    Args:
        address: of a cluster that the command names.

    Raises:
        InputError: it is not, or the environment names a cluster that the command does not.
    """
    if not all(find_spec(name) for name in ("ray", "optuna")):
        raise InputError("this needs Ray and Optuna: pip install -r requirements-ray.txt")
    if not address and (found := os.environ.get("RAY_ADDRESS")):
        raise InputError(f"RAY_ADDRESS={found} is set: unset it, or name the cluster with --address")
