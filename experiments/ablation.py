"""What each part of the learner is worth: `python -m experiments.ablation` trains with every one switched, and draws
and tabulates how near to Blob's optimum that comes."""

from __future__ import annotations

import csv
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from config import Config
from console.arguments import at_least, check_writable, make_parser
from console.errors import InputError, exit_on_bad_input
from console.signals import end_quietly_on_ctrl_c
from console.tensorflow_import import import_tensorflow
from presets import PRESETS

VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "double": {"double": True},
    "without prioritized replay": {"prioritized": False},
    "without symmetries": {"symmetries": False},
    "without reward clip": {"reward_clip": 0.0},
    "without weight decay": {"weight_decay": 0.0},
    "without exploring late": {"epsilon_min": 0.001},
    "without the grid network": {"network": "dense"},
    "constant learning rate": {"learning_rate_schedule": "constant"},
    "mean squared error": {"loss": "mse"},
    "soft target": {"target_update": "soft"},
    "3-step returns": {"n_step": 3},
    "dueling": {"dueling": True},
    "gradient clip": {"gradient_clip": 10.0},
    # Given the seconds that the default took, of which it needs many more.
    "tutorial preset": {"preset": "tutorial", **PRESETS["tutorial"]},
}
CURVES = ("variant", "seed", "episode", "seconds", "percent_of_optimum")
RESULTS = (
    *("variant", "seed", "episodes", "updates", "seconds", "mean", "percent_of_optimum"),
    *("won", "lost", "never_ending", "starts"),
)
Row = dict[str, Any]


def train_once(variant: str, seed: int, episodes: int, seconds: float | None) -> tuple[list[Row], Row]:
    """Train a variant in this process and judge its best model: the rows of its curve, and that of its result.

    Args:
        variant: a key of `VARIANTS`.
        seed: of the run.
        episodes: of the run.
        seconds: after which it is ended, or None.
    """
    import_tensorflow()
    import keras

    from blob.callbacks import PercentOfOptimum
    from blob.judge import judge_model
    from storage.model_file import read_model
    from train import train

    curve: list[Row] = []

    class Record(keras.callbacks.Callback):
        """Keeps the curve, and ends the run when its time is up."""

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            assert logs
            point = int(logs["episode"]), time.perf_counter() - began, logs["percent_of_optimum"]
            # No evaluation yet, or none since the last.
            if np.isfinite(point[2]) and (not curve or point[2] != curve[-1]["percent_of_optimum"]):
                curve.append(dict(zip(CURVES, (variant, seed, *point), strict=True)))
            self.model.stop_training = seconds is not None and point[1] > seconds

    with tempfile.TemporaryDirectory() as folder:
        folders = {"models_dir": f"{folder}/models", "logs_dir": f"{folder}/logs"}
        config = Config(**{**VARIANTS[variant], **folders, "seed": seed, "episodes": episodes})
        began = time.perf_counter()
        run = train(config, [PercentOfOptimum(config), Record()])
        took = time.perf_counter() - began
        assert run.best
        verdict = judge_model(read_model(run.best))
    counts = run.episode, run.agent.updates, took, verdict.mean, verdict.percent_of_optimum
    outcomes = verdict.won, verdict.lost, verdict.never_ending, verdict.n_starts
    return curve, dict(zip(RESULTS, (variant, seed, *counts, *outcomes), strict=True))


def in_own_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a new process: what it holds is given back, and no run slows the next."""
    spawn = multiprocessing.get_context("spawn")  # a fork would share TensorFlow's threads
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(function, *arguments).result()


def train_all(variants: Sequence[str], seeds: int, episodes: int, out: Path) -> None:
    """Train every variant with every seed, each run in a process of its own, one after the other, and write the CSV
    files as they come. Runs that are in the files already are not done again.

    Raises:
        InputError: the tutorial preset, which gets the seconds that the default took, without the default.
    """
    if "tutorial preset" in variants and "default" not in variants:
        raise InputError('--variants "tutorial preset" needs the default too, whose time it is given')
    curves, results = out / "ablation_curves.csv", out / "ablation.csv"
    done = {(row["variant"], int(row["seed"])) for row in read(results)} if results.exists() else set()
    for seed in range(1, seeds + 1):
        for variant in sorted(variants, key=list(VARIANTS).index):  # the default first
            if (variant, seed) in done:
                print(f"{variant}, seed {seed}: is in {results} already", flush=True)
                continue
            limit = default_seconds(results, seed) if variant == "tutorial preset" else None
            curve, result = in_own_process(train_once, variant, seed, episodes, limit)
            append(curves, CURVES, curve)
            append(results, RESULTS, [result])
            print(f"{variant}, seed {seed}: mean {result['mean']:.4f} after {result['seconds']:.0f} s", flush=True)


def default_seconds(results: Path, seed: int) -> float:
    """The seconds that the default took with this seed."""
    found = [row for row in read(results) if (row["variant"], int(row["seed"])) == ("default", seed)]
    return float(found[0]["seconds"])


def read(path: Path) -> list[Row]:
    """The rows of a CSV file, their values as text."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def append(path: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Add rows to a CSV file, which is begun with its columns."""
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        if is_new:
            writer.writeheader()
        writer.writerows(
            {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()} for row in rows
        )


def main() -> None:
    """The command line."""
    end_quietly_on_ctrl_c()
    parser = make_parser("Train Blob-v0 with every part of the learner switched; write CSV files, plots and a table.")
    parser.add_argument("--seeds", type=at_least(1), default=3, help="seeds 1, 2, ... (default: %(default)s)")
    parser.add_argument("--episodes", type=at_least(1), default=10_000, help="of a run (default: %(default)s)")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="NAME")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("logs/ablation"),
        help="folder; runs in its CSV files are not done again (default: %(default)s)",
    )
    arguments = parser.parse_args()
    with exit_on_bad_input():
        check_writable("--out", str(arguments.out))
        try:
            import matplotlib  # noqa: F401
        except ImportError as error:
            raise InputError("the plots need matplotlib: pip install -r requirements-extra.txt") from error
        train_all(arguments.variants, arguments.seeds, arguments.episodes, arguments.out)
    from experiments.ablation_plot import draw, markdown_table

    draw(read(arguments.out / "ablation_curves.csv"), arguments.out)
    print(markdown_table(read(arguments.out / "ablation.csv")))


if __name__ == "__main__":
    main()
