"""Compares tables with the network on Blob boards of five sizes, and at 10x10 the network with its ancestors, all for
the same time; writes CSV files and a plot: python -m experiments.compare"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from config import Config
from console.arguments import at_least, check_writable, make_parser
from console.errors import InputError, exit_on_bad_input
from console.signals import end_quietly_on_ctrl_c
from console.tensorflow_import import import_tensorflow
from experiments.ablation import Row, append, check_plots, in_own_process, latest_percent, read

ROOT = Path(__file__).resolve().parent.parent
SIZES = (5, 10, 20, 30, 50)
LEARNERS = ("cells", "offsets", "network")  # two tables and the default agent
# The ancestors of the default agent, each without one of its parts; trained at `LINEAGE_SIZE`.
LINEAGE: dict[str, dict[str, Any]] = {
    "one experience at a time": {
        "memory_size": 1, "learn_start": 1, "batch_size": 1, "prioritized": False, "lanes": 1, "learn_every": 1,
        "evaluate_every": 50,
    },
    "memory of 1,000": {"memory_size": 1_000, "learn_start": 500},
    "no target network": {"target_update": "soft", "target_rate": 1.0},
    "a network per action": {"network": f"{ROOT}/examples/networks.py:per_action"},
}  # fmt: skip
LINEAGE_SIZE = 10
# On larger boards the food is farther away, so its value must reach farther.
DISCOUNT = {5: 0.9, 10: 0.9, 20: 0.95, 30: 0.97, 50: 0.98}
# Steps between the evaluations of a table.
STEPS_BETWEEN = {5: 100_000, 10: 500_000, 20: 10_000_000, 30: 10_000_000, 50: 20_000_000}
LARGE = {  # for the network on boards of 30x30 and more
    "learn_every": 32, "memory_size": 16_000, "n_step": 3, "batch_size": 128, "epsilon_decay": 0.9995,
}  # fmt: skip
ENOUGH = 99.995  # percent of the optimum at which a run ends early
CURVES = ("learner", "size", "seconds", "steps", "percent_of_optimum")
RESULTS = ("learner", "size", "bytes", "resident_bytes", "seconds", "steps", "seconds_to_99", "percent_of_optimum")


def settings(learner: str, size: int) -> dict[str, Any]:
    """Return a learner's settings on a board, without the folders."""
    common = {"seed": 1, "discount": DISCOUNT[size], "checkpoint_every": 0, "learning_rate_schedule": "constant"}
    if learner in ("cells", "offsets"):
        # Offsets do not show the walls, so different positions look alike. The lower rate averages over them.
        rate = {"learning_rate": 0.2} if learner == "offsets" else {}
        given = Config.from_preset(method="q-learning", env_args={"size": size, "observation": learner}).__dict__
        return {**given, **common, **rate, "steps": 10**15, "evaluate_every": STEPS_BETWEEN[size]}
    network = LINEAGE.get(learner, {}) | (LARGE if size >= 30 else {"memory_size": 50_000} if size >= 20 else {})
    evaluations = {"evaluate_every": 250, "evaluate_episodes": 500}
    return {**common, "env_args": {"size": size}, "episodes": 10**9, **evaluations, **network}


def train_once(learner: str, size: int, seconds: float) -> tuple[list[Row], Row]:
    """Train in this process until the time is up or the optimum is reached.

    Returns:
        The rows of the curve, and the row of the result. For a table that does not fit in memory, no curve, and a row
        that holds only the bytes that the table would take.
    """
    import_tensorflow()
    import keras
    import psutil

    from blob.callbacks import PercentOfOptimum
    from q_table import QTableAgent
    from train import train

    curve: list[Row] = []

    class Record(keras.callbacks.Callback):
        """Records the curve, and ends the run."""

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            assert logs
            if "evaluation" in logs:
                point = time.perf_counter() - began, int(logs["steps"]), latest_percent(logs)
                curve.append(dict(zip(CURVES, (learner, size, *point), strict=True)))
            is_late = time.perf_counter() - began > seconds
            self.model.stop_training |= is_late or logs.get("percent_of_optimum", 0) >= ENOUGH

    with tempfile.TemporaryDirectory() as folder:
        config = Config(**settings(learner, size) | {"models_dir": f"{folder}/models", "logs_dir": f"{folder}/logs"})
        callbacks = [PercentOfOptimum(config), Record()]
        began = time.perf_counter()
        try:
            run = train(config, callbacks, quiet=True)
        except InputError as error:
            if "a table of" not in str(error):
                raise
            print(error, flush=True)
            return [], dict.fromkeys(RESULTS, "") | {
                "learner": learner,
                "size": size,
                "bytes": table_bytes(learner, size),
            }
        agent = run.agent
        held = agent.table.nbytes if isinstance(agent, QTableAgent) else 4 * agent.online.count_params()
    there = [row["seconds"] for row in curve if row["percent_of_optimum"] >= 99]
    numbers = held, psutil.Process().memory_info().rss, time.perf_counter() - began, run.steps
    reached = there[0] if there else "", max((row["percent_of_optimum"] for row in curve), default=np.nan)
    return curve, dict(zip(RESULTS, (learner, size, *numbers, *reached), strict=True))


def table_bytes(learner: str, size: int) -> int:
    """Return the size of a board's table: states * 9 actions * 8 bytes."""
    return ((size**2) ** 3 if learner == "cells" else (2 * size - 1) ** 4) * 9 * 8


def train_all(sizes: Sequence[int], seconds: float, out: Path) -> None:
    """Train every learner, one run after another, each in its own process.

    Each result is added to the CSV files when its run ends. Runs that are already there are skipped.
    """
    curves, results = out / "compare_curves.csv", out / "compare.csv"
    done = {(row["learner"], int(row["size"])) for row in read(results)} if results.exists() else set()
    runs = [(learner, size) for size in sizes for learner in LEARNERS]
    runs += [(learner, LINEAGE_SIZE) for learner in LINEAGE if LINEAGE_SIZE in sizes]
    for learner, size in runs:
        if (learner, size) in done:
            print(f"{learner}, {size}x{size}: is in {results} already", flush=True)
            continue
        curve, result = in_own_process(train_once, learner, size, seconds)
        if curve:
            append(curves, CURVES, curve)
            when = f"after {result['seconds_to_99']:.1f} s" if result["seconds_to_99"] else "not reached"
            print(f"{learner}, {size}x{size}: {result['percent_of_optimum']:.3f}%, 99% {when}", flush=True)
        append(results, RESULTS, [result])


def main() -> None:
    """Run the command line."""
    end_quietly_on_ctrl_c()
    parser = make_parser(__doc__ or "")
    parser.add_argument("--sizes", type=int, nargs="+", choices=SIZES, default=list(SIZES), metavar="CELLS")
    parser.add_argument("--seconds", type=at_least(1), default=180, help="for each run (default: %(default)s)")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("logs/compare"),
        help="folder; runs that are in its CSV files are skipped (default: %(default)s)",
    )
    arguments = parser.parse_args()
    with exit_on_bad_input():
        check_writable("--out", str(arguments.out))
        check_plots()
        train_all(arguments.sizes, arguments.seconds, arguments.out)
    from experiments.compare_plot import draw, markdown_table

    draw(read(arguments.out / "compare_curves.csv"), read(arguments.out / "compare.csv"), arguments.out)
    print(markdown_table(read(arguments.out / "compare.csv")))


if __name__ == "__main__":
    main()
