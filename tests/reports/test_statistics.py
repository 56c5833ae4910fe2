"""Interquartile means and their intervals, by hand."""

import numpy as np
import pytest

from reports.statistics import interquartile_mean, interval


def test_an_interquartile_mean_by_hand() -> None:
    """Of eight values two are cut on each side: 2, 3, 4, 5 are left. Of three none is."""
    assert interquartile_mean(np.array([99, 1, 2, -99, 3, 4, 5, 70])) == pytest.approx(3.5)
    assert interquartile_mean(np.array([1, 2, 9])) == pytest.approx(4)


def test_an_interval_by_hand() -> None:
    """Two runs of one group, 0 and 1: their mean is 0, 0.5 or 1 with probabilities 1/4, 1/2, 1/4. Alike runs leave no
    doubt."""
    generator = np.random.default_rng(1)
    assert interval([np.array([0.0, 1.0])], generator) == (0, 1)
    assert interval([np.array([3.0, 3.0]), np.array([3.0])], generator) == (3, 3)
