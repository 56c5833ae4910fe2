"""The statistics of few runs, as Agarwal et al. 2021 recommend ("Deep reinforcement learning at the edge of the
statistical precipice")."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RESAMPLES = 2_000


def interquartile_mean(values: np.ndarray) -> float:
    """Return the mean of the values, float (runs,), without the lowest and the highest quarter."""
    cut = len(values) // 4
    return float(np.sort(values)[cut : len(values) - cut].mean())


def interval(groups: Sequence[np.ndarray], generator: np.random.Generator) -> tuple[float, float]:
    """Return the 95% interval of the interquartile mean over the runs of all groups, float (runs,) each, by a bootstrap
    that draws the runs of each group anew (section 4)."""
    drawn = [
        interquartile_mean(np.concatenate([generator.choice(runs, len(runs)) for runs in groups]))
        for _ in range(RESAMPLES)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)
