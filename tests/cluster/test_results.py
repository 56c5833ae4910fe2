"""The table of a job's runs, and what they say together."""

import csv
import math
from pathlib import Path

from cluster.results import over_seeds, table, write_csv

ROWS = [
    {"seed": seed, "greedy_avg": score, "run": f"run{seed}"} for seed, score in ((3, 4.0), (1, 2.0), (2, -math.inf))
]


def test_a_table() -> None:
    assert table(ROWS).splitlines() == ["seed  greedy_avg  run", "3     4           run3", "1     2           run1",
                                        "2     -inf        run2"]  # fmt: skip


def test_seeds_by_hand() -> None:
    """Of 2 and 4: mean 3, deviation 1; two runs drawn from them have means of 2, 3 or 4."""
    assert over_seeds(ROWS) == "2 seeds: mean 3.00, deviation 1.00, interquartile mean 3.00 (95%: 2.00 to 4.00)"
    assert over_seeds(ROWS[2:]) == "no run has a score"


def test_a_csv_file(tmp_path: Path) -> None:
    write_csv(ROWS, tmp_path / "results.csv")
    rows = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert [row["run"] for row in rows] == ["run3", "run1", "run2"] and rows[0]["greedy_avg"] == "4.0"
