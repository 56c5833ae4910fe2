"""Draws the plot and the table of `experiments.compare` from its CSV files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from experiments.ablation import Row
from experiments.compare import LEARNERS, LINEAGE, LINEAGE_SIZE

NAMES = {"cells": "table of cells", "offsets": "table of offsets", "network": "network"}
COLOURS = {
    "cells": "tab:blue", "offsets": "tab:green", "network": "tab:orange", "one experience at a time": "tab:red",
    "memory of 1,000": "tab:purple", "no target network": "tab:brown", "a network per action": "tab:gray",
}  # fmt: skip
SMALLEST_GAP = 0.001  # percent; a gap of 0 is drawn here, as the axis is logarithmic


def draw(curves: Sequence[Row], results: Sequence[Row], out: Path) -> None:
    """Draw compare.png: memory, time and gap to the optimum over the board's size, and the curves at 10x10 of the
    network and its ancestors."""
    figure, ((memory, seconds), (share, lineage)) = plt.subplots(2, 2, figsize=(11, 7.5))
    for learner in LEARNERS:
        rows = sorted((row for row in results if row["learner"] == learner), key=lambda row: int(row["size"]))
        style = {"color": COLOURS[learner], "label": NAMES[learner], "marker": "o"}
        sizes = [int(row["size"]) for row in rows]
        memory.plot(sizes, [float(row["bytes"]) for row in rows], **style)
        refused = [row for row in rows if not row["steps"]]
        memory.plot(
            [int(row["size"]) for row in refused], [float(row["bytes"]) for row in refused], "x", ms=14, color="black"
        )
        there = [row for row in rows if row["seconds_to_99"]]
        seconds.plot([int(row["size"]) for row in there], [float(row["seconds_to_99"]) for row in there], **style)
        played = [row for row in rows if row["steps"]]
        share.plot([int(row["size"]) for row in played], [gap(row["percent_of_optimum"]) for row in played], **style)
    memory.set(title="what is learned takes (x: does not fit here)", ylabel="bytes", yscale="log")
    seconds.set(title="time to 99% of the optimum, where it was reached", ylabel="seconds", yscale="log")
    share.set(title="smallest gap to the optimum within the time", ylabel="% of optimum - random", yscale="log")
    for learner in ("network", "cells", *LINEAGE):
        rows = [row for row in curves if (row["learner"], int(row["size"])) == (learner, LINEAGE_SIZE)]
        x, y = [float(row["seconds"]) for row in rows], [gap(row["percent_of_optimum"]) for row in rows]
        lineage.plot(x, y, label=NAMES.get(learner, learner), color=COLOURS.get(learner))
    title = f"{LINEAGE_SIZE}x{LINEAGE_SIZE}: gap to the optimum, with ancestors"
    lineage.set(title=title, xlabel="seconds", ylabel="% of optimum - random", yscale="log")
    for chart in (memory, seconds, share):
        chart.set(xlabel="cells along the board's side")
    for chart in (memory, seconds, share, lineage):
        chart.grid(alpha=0.3)
        chart.legend(fontsize=8, loc=(0.16, 0.05) if chart is lineage else "best")  # where no curve is
    figure.tight_layout()
    figure.savefig(out / "compare.png", dpi=90)
    plt.close(figure)


def gap(percent: Any) -> float:
    """Return the gap to the optimum in percent, at least `SMALLEST_GAP`."""
    return max(100 - float(percent), SMALLEST_GAP)


def markdown_table(results: Sequence[Row]) -> str:
    """Tabulate the learners in Markdown, one row each."""
    lines = [
        "| learner | board | takes | steps | seconds to 99% | best percent of optimum | seconds |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in sorted(results, key=lambda row: (row["learner"] in LINEAGE, int(row["size"]))):
        name, board, size = (
            NAMES.get(row["learner"], row["learner"]),
            f"{row['size']}x{row['size']}",
            float(row["bytes"]),
        )
        takes = f"{size / 1e9:,.1f} GB" if size > 1e8 else f"{size / 1e6:,.2f} MB"
        if not row["steps"]:
            lines.append(f"| {name} | {board} | {takes} | does not fit | | | |")
            continue
        soon = f"{float(row['seconds_to_99']):.1f}" if row["seconds_to_99"] else "not reached"
        percent, seconds = float(row["percent_of_optimum"]), float(row["seconds"])
        lines.append(
            f"| {name} | {board} | {takes} | {float(row['steps']):,.0f} | {soon} | {percent:.3f} | {seconds:.0f} |"
        )
    return "\n".join(lines)
