"""Measures the worth of each part of the learner: trains Blob with one part switched at a time, and plots and tabulates
how close to the optimum each variant comes: python -m experiments.ablation"""

from __future__ import annotations

import csv
import multiprocessing
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from config import Config
from console.arguments import at_least, check_writable, make_parser
from console.errors import InputError, exit_on_bad_input
from console.signals import end_quietly_on_ctrl_c
from console.tensorflow_import import import_tensorflow
from presets import PRESETS

NETWORKS = Path(__file__).with_name("ablated_networks.py")
VARIANTS: dict[str, dict[str, Any]] = {
    "default": {},
    "double": {"double": True},
    "without prioritized replay": {"prioritized": False},
    "without symmetries": {"symmetries": False},
    "without reward clip": {"reward_clip": 0.0},
    "without weight decay": {"weight_decay": 0.0},
    "few lanes at random": {"epsilon_spread": 1.0, "learn_every": 32, "memory_size": 100_000},  # as many updates
    "without exploring late": {"epsilon_min": 0.001, "epsilon_spread": 0.0},
    "lanes that explore equally": {"epsilon_min": 0.5, "epsilon_spread": 0.0},
    "draws corrected by their weights": {"priority_beta": 1.0},
    "without the grid network": {"network": "dense"},
    "without the convolution": {"network": f"{NETWORKS}:without_convolution"},
    "pixels for the convolution": {"network": f"{NETWORKS}:pixels_for_convolution"},
    "without the attention": {"network": f"{NETWORKS}:without_attention"},
    "without normalization": {"network": f"{NETWORKS}:without_normalization"},
    "two dense layers": {"network": f"{NETWORKS}:with_two_layers"},
    "constant learning rate": {"learning_rate_schedule": "constant"},
    "mean squared error": {"loss": "mse"},
    "soft target": {"target_update": "soft"},
    "3-step returns": {"n_step": 3},
    "without dueling": {"dueling": False},
    "gradient clip": {"gradient_clip": 10.0},
    # It gets as many seconds as the default took, though it would need far more.
    "tutorial preset": {"preset": "tutorial", **PRESETS["tutorial"]},
}
CURVES = ("variant", "seed", "episode", "seconds", "percent_of_optimum")
RESULTS = (
    *("variant", "seed", "episodes", "updates", "seconds", "mean", "percent_of_optimum"),
    *("won", "lost", "never_ending", "starts"),
)
Row = dict[str, Any]


def train_once(variant: str, seed: int, episodes: int, seconds: float | None) -> tuple[list[Row], Row]:
    """Train a variant in this process and judge its best model.

    Args:
        variant: a key of `VARIANTS`.
        seed, episodes: of the run.
        seconds: after which the run is ended; None for no limit.

    Returns:
        The rows of its curve, and the row of its result.
    """
    import_tensorflow()
    import keras

    from blob.callbacks import PercentOfOptimum
    from blob.judge import judge_model
    from storage.model_file import read_model
    from storage.trust import untrusted_settings
    from train import train

    curve: list[Row] = []

    class Record(keras.callbacks.Callback):
        """Records the curve, and ends the run when its time is up."""

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            assert logs
            took = time.perf_counter() - began
            if (percent := latest_percent(logs)) is not None:
                point = int(logs["episode"]), took, percent
                curve.append(dict(zip(CURVES, (variant, seed, *point), strict=True)))
            self.model.stop_training = seconds is not None and took > seconds

    with tempfile.TemporaryDirectory() as folder:
        folders = {"models_dir": f"{folder}/models", "logs_dir": f"{folder}/logs"}
        config = Config(**{**VARIANTS[variant], **folders, "seed": seed, "episodes": episodes})
        began = time.perf_counter()
        run = train(config, [PercentOfOptimum(config), Record()])
        took = time.perf_counter() - began
        assert run.best
        verdict = judge_model(read_model(run.best.path, untrusted_settings(config)))
    counts = run.episodes, run.updates, took, verdict.mean, verdict.percent_of_optimum
    outcomes = verdict.won, verdict.lost, verdict.never_ending, verdict.n_starts
    return curve, dict(zip(RESULTS, (variant, seed, *counts, *outcomes), strict=True))


def latest_percent(logs: Mapping[str, float]) -> float | None:
    """The percentage of the optimum in the logs of a window with an evaluation or a look at greedy play."""
    return logs.get("percent_of_optimum", logs.get("look_percent_of_optimum"))


def in_own_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a new process, so that its memory is freed and no run slows the next."""
    spawn = multiprocessing.get_context("spawn")  # a fork would share TensorFlow's threads
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(function, *arguments).result()


def train_all(variants: Sequence[str], seeds: int, episodes: int, out: Path) -> None:
    """Train every variant with every seed, one run after another, each in its own process.

    Each result is added to the CSV files when its run ends. Runs that are already there are skipped.

    Raises:
        InputError: the tutorial preset is among the variants without the default, whose time it gets.
    """
    if "tutorial preset" in variants and "default" not in variants:
        raise InputError('--variants "tutorial preset" needs the default too, whose time it gets')
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
    """Return the seconds that the default took with this seed."""
    found = [row for row in read(results) if (row["variant"], int(row["seed"])) == ("default", seed)]
    return float(found[0]["seconds"])


def read(path: Path) -> list[Row]:
    """Read the rows of a CSV file, with all values as text."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def append(path: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Add rows to a CSV file. A new file gets a header."""
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        if is_new:
            writer.writeheader()
        writer.writerows(
            {key: round(value, 4) if isinstance(value, float) else value for key, value in row.items()} for row in rows
        )


def check_plots() -> None:
    """Raise InputError if matplotlib is missing, before the hours that the runs take."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise InputError("the plots need matplotlib: pip install -r requirements-extra.txt") from error


def main() -> None:
    """Run the command line."""
    end_quietly_on_ctrl_c()
    parser = make_parser(__doc__ or "")
    parser.add_argument("--seeds", type=at_least(1), default=3, help="seeds 1, 2, ... (default: %(default)s)")
    parser.add_argument("--episodes", type=at_least(1), default=10_000, help="in each run (default: %(default)s)")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="NAME")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("logs/ablation"),
        help="folder; runs that are in its CSV files are skipped (default: %(default)s)",
    )
    arguments = parser.parse_args()
    with exit_on_bad_input():
        check_writable("--out", str(arguments.out))
        check_plots()
        train_all(arguments.variants, arguments.seeds, arguments.episodes, arguments.out)
    from experiments.ablation_plot import draw, markdown_table

    draw(read(arguments.out / "ablation_curves.csv"), arguments.out)
    print(markdown_table(read(arguments.out / "ablation.csv")))


if __name__ == "__main__":
    main()
