"""Python's and NumPy's global generators, from which an environment may draw."""

from __future__ import annotations

import random
from typing import Any

import numpy as np


def get_state() -> dict[str, Any]:
    """Save both."""
    return {"random": random.getstate(), "numpy": np.random.get_state(legacy=False)}


def set_state(state: dict[str, Any]) -> None:
    """Restore both, from what `get_state` saved or a checkpoint holds of it."""
    kind, numbers, gauss = state["random"]
    random.setstate((kind, tuple(numbers), gauss))
    np.random.set_state(state["numpy"])
