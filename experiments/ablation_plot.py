"""Draws the plots and the table of `experiments.ablation` from its CSV files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from blob.solver import start_means
from blob_env import BlobRules
from experiments.ablation import Row

# Student's t for a two-sided 95% interval, by degrees of freedom: seeds - 1 (Student 1908).
T_95 = {1: 12.71, 2: 4.30, 3: 3.18, 4: 2.78, 5: 2.57, 6: 2.45, 7: 2.36, 8: 2.31, 9: 2.26}
SMALLEST_GAP = 0.01  # percent; a gap of 0 is drawn here, as the axis is logarithmic


def draw(curves: Sequence[Row], out: Path) -> None:
    """Draw the gap to the optimum over wall time and over episodes: ablation_seconds.png and ablation_episodes.png.

    Each variant has a panel, in which the default is drawn too.
    """
    variants = list(dict.fromkeys(row["variant"] for row in curves))
    panels = [variant for variant in variants if variant != "default"] or variants
    for axis, label in (("seconds", "seconds"), ("episode", "episodes")):
        columns = min(4, len(panels))
        rows = -(-len(panels) // columns)
        figure, grid = plt.subplots(
            rows, columns, figsize=(3.2 * columns, 2.5 * rows), sharex=True, sharey=True, squeeze=False
        )
        for cell, variant in zip(grid.flat, panels, strict=False):
            draw_band(cell, curves, "default", axis, "tab:gray")
            draw_band(cell, curves, variant, axis, "tab:orange")
            cell.set(yscale="log", title=variant, ylim=(SMALLEST_GAP, 120))
            cell.grid(alpha=0.3)
        for cell in grid.flat[len(panels) :]:
            cell.axis("off")
        figure.supxlabel(label)
        figure.supylabel("gap to the optimum (% of optimum - random)")
        figure.suptitle("Blob 10x10: the default (gray) and the default with one part switched (orange)")
        figure.tight_layout()
        figure.savefig(out / f"ablation_{label}.png", dpi=90)
        plt.close(figure)


def draw_band(cell: Any, curves: Sequence[Row], variant: str, axis: str, colour: str) -> None:
    """Draw a variant's mean gap over seeds, with the 95% confidence band of the mean (Student's t)."""
    seeds = sorted({row["seed"] for row in curves if row["variant"] == variant})
    lines = []
    for seed in seeds:
        rows = [row for row in curves if (row["variant"], row["seed"]) == (variant, seed)]
        x = np.array([float(row[axis]) for row in rows])
        gap = 100 - np.array([float(row["percent_of_optimum"]) for row in rows])
        lines.append((x, np.maximum(gap, SMALLEST_GAP)))
    # Start where all runs have been evaluated. A run that ends before the others keeps its last value.
    ticks = np.linspace(max(x[0] for x, _ in lines), max(x[-1] for x, _ in lines), 100)
    gaps = np.log10(np.array([np.interp(ticks, x, gap) for x, gap in lines]))
    mean = gaps.mean(axis=0)
    cell.plot(ticks, 10**mean, color=colour)
    if len(lines) > 1:
        spread = gaps.std(axis=0, ddof=1) / np.sqrt(len(lines)) * T_95.get(len(lines) - 1, 1.96)
        cell.fill_between(ticks, 10 ** (mean - spread), 10 ** (mean + spread), color=colour, alpha=0.2, linewidth=0)


def markdown_table(results: Sequence[Row]) -> str:
    """Tabulate each variant's exact judgement in Markdown: the mean over seeds, and the worst seed."""
    rules = BlobRules()
    random, optimum = start_means(rules, rules.start_positions(np.arange(rules.n_starts)))
    lines = [
        "| learner | exact mean return | percent of optimum | worst seed | lost | never ending | seconds |",
        "|---|---|---|---|---|---|---|",
        f"| uniform random | {random:.2f} | 0.00 | | | | |",
    ]
    variants = list(dict.fromkeys(row["variant"] for row in results))
    for variant in sorted(variants, key=lambda name: (name == "default", name != "tutorial preset")):
        rows = [row for row in results if row["variant"] == variant]

        def mean(column: str, rows: Sequence[Row] = rows) -> float:
            return float(np.mean([float(row[column]) for row in rows]))

        worst = min(float(row["mean"]) for row in rows)
        lines.append(
            f"| {variant} | {mean('mean'):.3f} | {mean('percent_of_optimum'):.2f} | {worst:.3f} "
            f"| {mean('lost'):,.0f} | {mean('never_ending'):,.0f} | {mean('seconds'):.0f} |"
        )
    return "\n".join([*lines, f"| optimum | {optimum:.3f} | 100.00 | | 0 | 0 | |"])
