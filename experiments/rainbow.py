"""Measures what each part of Rainbow is worth on MinAtar's games, on top of the generic preset, and plots interquartile
means with 95% intervals: pip install minatar, then python -m experiments.rainbow"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from config import Config
from console.arguments import at_least, check_writable, make_parser
from console.errors import exit_on_bad_input
from console.signals import end_quietly_on_ctrl_c
from console.tensorflow_import import import_tensorflow
from experiments.ablation import Row, append, check_plots, in_own_process, read
from presets import PRESETS
from reports.statistics import interquartile_mean, interval

GAMES = ("Breakout", "SpaceInvaders")
PLAIN = "generic preset"
V_MAX = 50.0  # of both games' discounted returns


def part(*beginnings: str) -> dict[str, Any]:
    """Those of the rainbow preset's settings whose names begin so."""
    return {name: value for name, value in PRESETS["rainbow"].items() if name.startswith(beginnings)}


VARIANTS: dict[str, dict[str, Any]] = {
    PLAIN: {},
    "without double": {"double": False},
    "prioritized": part("priorit"),
    "dueling": {"dueling": True},
    "3-step returns": {"n_step": 3},
    "noisy": part("noisy", "epsilon_"),
    "C51": {"loss": "c51", "v_max": V_MAX},
    "QR-DQN": {"loss": "qr"},
    "IQN": {"loss": "iqn"},
    "Munchausen": {"munchausen": True, "double": False},
    "Rainbow": {"preset": "rainbow", "v_max": V_MAX},
    "Rainbow with IQN": {"preset": "rainbow", "loss": "iqn"},
}
CURVES = ("game", "variant", "seed", "steps", "seconds", "greedy_avg")
LAST = 3  # evaluations whose mean is a run's score


def train_once(game: str, variant: str, seed: int, steps: int) -> list[Row]:
    """Train in this process. Returns the rows of the run's curve, one for each greedy evaluation."""
    import_tensorflow()
    import keras

    from train import train

    rows: list[Row] = []

    class Record(keras.callbacks.Callback):
        """Records the evaluations."""

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            if logs and "greedy_avg" in logs:
                values = game, variant, seed, int(logs["steps"]), time.perf_counter() - began, logs["greedy_avg"]
                rows.append(dict(zip(CURVES, values, strict=True)))

    with tempfile.TemporaryDirectory() as folder:
        folders = {"models_dir": f"{folder}/models", "logs_dir": f"{folder}/logs"}
        settings = {"env": f"minatar.gym:MinAtar/{game}-v1", "steps": steps, "seed": seed, "contest_factor": 0.0}
        config = Config.from_preset(**{**settings, "checkpoint_every": 0.0, **folders, **VARIANTS[variant]})
        began = time.perf_counter()
        train(config, [Record()], quiet=True)
    return rows


def train_all(variants: Sequence[str], games: Sequence[str], seeds: Sequence[int], steps: int, path: Path) -> None:
    """Train every variant on every game with every seed, each run in its own process. Runs in the file are skipped."""
    done = {(row["game"], row["variant"], int(row["seed"])) for row in read(path)} if path.exists() else set()
    for seed in seeds:
        for game in games:
            for variant in variants:
                if (game, variant, seed) in done:
                    continue
                rows = in_own_process(train_once, game, variant, seed, steps)
                append(path, CURVES, rows)
                last = rows[-1]
                print(
                    f"{game}, {variant}, seed {seed}: {last['greedy_avg']:.2f} after {last['seconds']:.0f} s",
                    flush=True,
                )


def run_means(rows: Sequence[Row]) -> dict[str, dict[str, np.ndarray]]:
    """The mean of each run's last evaluations: for each variant and game float64 (seeds,)."""
    found: dict[str, dict[str, dict[str, list[float]]]] = {}
    for row in rows:
        run = found.setdefault(row["variant"], {}).setdefault(row["game"], {}).setdefault(row["seed"], [])
        run.append(float(row["greedy_avg"]))
    return {
        variant: {game: np.array([np.mean(run[-LAST:]) for run in runs.values()]) for game, runs in games.items()}
        for variant, games in found.items()
    }


def scores(rows: Sequence[Row]) -> dict[str, dict[str, np.ndarray]]:
    """`run_means`, in multiples of the generic preset's mean on that game."""
    means = run_means(rows)
    plain = {game: values.mean() for game, values in means[PLAIN].items()}
    return {variant: {game: values / plain[game] for game, values in games.items()} for variant, games in means.items()}


def markdown_table(rows: Sequence[Row]) -> str:
    """Tabulate each variant: its mean score on each game, the interquartile mean over all, and the seconds of a run."""
    generator, table, means = np.random.default_rng(0), scores(rows), run_means(rows)
    games = list(table[PLAIN])
    lines = [f"| | {' | '.join(games)} | interquartile mean (95%) | seconds |", "|---" * (len(games) + 3) + "|"]
    for variant, of_games in table.items():
        low, high = interval(list(of_games.values()), generator)
        middle = interquartile_mean(np.concatenate(list(of_games.values())))
        ends = {(row["game"], row["seed"]): float(row["seconds"]) for row in rows if row["variant"] == variant}
        cells = " | ".join(f"{means[variant][game].mean():.1f}" for game in games)
        lines.append(
            f"| {variant} | {cells} | {middle:.2f} ({low:.2f} to {high:.2f}) | {np.mean([*ends.values()]):.0f} |"
        )
    return "\n".join(lines)


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw the interquartile mean of each variant with its interval, the best on top."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    generator, table = np.random.default_rng(0), scores(rows)
    middles = {variant: interquartile_mean(np.concatenate(list(of.values()))) for variant, of in table.items()}
    order = sorted(middles, key=middles.__getitem__)
    figure, axes = plt.subplots(figsize=(7, 0.4 * len(order) + 1.2))
    for place, variant in enumerate(order):
        low, high = interval(list(table[variant].values()), generator)
        colour = "tab:gray" if variant == PLAIN else "tab:orange"
        axes.plot([low, high], [place, place], color=colour, linewidth=7, alpha=0.4, solid_capstyle="butt")
        axes.plot(middles[variant], place, "o", color=colour)
    axes.axvline(1, color="tab:gray", linewidth=0.8)
    axes.set(yticks=range(len(order)), yticklabels=order, xlabel="return, in multiples of the generic preset's")
    axes.set_title(f"MinAtar's {' and '.join(table[PLAIN])}: interquartile mean, 95% interval", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    plt.close(figure)


def main() -> None:
    """Run the command line."""
    end_quietly_on_ctrl_c()
    parser = make_parser(__doc__ or "")
    parser.add_argument("--seeds", type=at_least(1), default=3, help="seeds 1, 2, ... (default: %(default)s)")
    parser.add_argument("--steps", type=at_least(1), default=100_000, help="in each run (default: %(default)s)")
    parser.add_argument("--games", nargs="+", choices=GAMES, default=list(GAMES), metavar="NAME")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="NAME")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("logs/rainbow"),
        help="folder; runs that are in its CSV file are skipped (default: %(default)s)",
    )
    arguments = parser.parse_args()
    curves = arguments.out / "rainbow.csv"
    with exit_on_bad_input():
        check_writable("--out", str(arguments.out))
        check_plots()
        train_all(arguments.variants, arguments.games, range(1, arguments.seeds + 1), arguments.steps, curves)
    rows = read(curves)
    draw(rows, arguments.out / "rainbow.png")
    print(markdown_table(rows))


if __name__ == "__main__":
    main()
