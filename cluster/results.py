"""What came out of many runs: a table, a CSV file, and what they say together."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cluster.trial import SCORE
from reports.statistics import interquartile_mean, interval
from storage.atomic import atomic_write

Row = dict[str, Any]


def write_csv(rows: Sequence[Row], path: Path) -> None:
    """Write the rows, the best first, each with the same columns."""
    with atomic_write(path) as to, to.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def table(rows: Sequence[Row]) -> str:
    """Return the rows as lines of aligned columns."""
    names = list(rows[0])
    lines = [names, *([_cell(row[name]) for name in names] for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(names))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _cell(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def over_seeds(rows: Sequence[Row]) -> str:
    """Say how well runs that differ in their seeds did together."""
    scores = np.array([row[SCORE] for row in rows if math.isfinite(row[SCORE])])
    if len(scores) == 0:
        return "no run has a score"
    low, high = interval([scores], np.random.default_rng(0))
    return (
        f"{len(scores)} seeds: mean {scores.mean():.2f}, deviation {scores.std():.2f}, interquartile mean "
        f"{interquartile_mean(scores):.2f} (95%: {low:.2f} to {high:.2f})"
    )
