"""Draw the learning curves of runs, of several seeds as their mean with a band: `python plot.py logs/RUN...`"""

from __future__ import annotations

import argparse
import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from config import Config, fields_with
from console.arguments import check_output, make_parser
from console.errors import InputError, exit_on_bad_input
from console.signals import end_quietly
from console.tensorflow_import import import_tensorflow
from reports.curves import RunLog, read_run

POINTS = 200  # along the axis, at which runs are compared


LINE = 70  # characters of a line in the legend


NOT_COMPARED = fields_with("compared", False)  # runs that differ in these alone are one group


AXES = ("episodes", "steps")


def group_names(configs: Sequence[Config]) -> list[str]:
    """What sets each run apart from the others but its seed: the environment, the preset and the method, and of those
    alike in these the single settings, e.g. "double=True"; the environment if nothing does."""
    settings = [{k: v for k, v in dataclasses.asdict(config).items() if k not in NOT_COMPARED} for config in configs]
    return [name or one["env"] for name, one in zip(_names(settings), settings, strict=True)]


def _names(settings: Sequence[dict[str, Any]]) -> list[str]:
    differing = [key for key in settings[0] if any(one[key] != settings[0][key] for one in settings)]
    first = next((key for key in ("env", "preset", "method") if key in differing), None)
    if not first:
        return [", ".join(f"{key}={one[key]}" for key in differing) for one in settings]
    names = [""] * len(settings)
    for value in {one[first] for one in settings}:
        alike = [i for i, one in enumerate(settings) if one[first] == value]
        for i, rest in zip(alike, _names([settings[i] for i in alike]), strict=True):
            names[i] = f"{value}, {rest}".rstrip(", ")
    return names


def places_of(run: RunLog, tag: str, axis: str) -> np.ndarray:
    """Where on an axis the points of a curve are, float (points,)."""
    episodes = run.at[tag]
    if axis == "episodes":
        return episodes
    return np.interp(episodes, run.at["run/steps"], run.curves["run/steps"])


def table(runs: Sequence[tuple[str, RunLog]], tag: str, axis: str) -> dict[str, list[Any]]:
    """Every run's curve at the same places of the axis, as the columns x, y and group; where a run has no point before
    or none after, it has none there.

    Raises:
        InputError: no run has such a curve.
    """
    curves = [(group, places_of(run, tag, axis), run.curves[tag]) for group, run in runs if tag in run.curves]
    if not curves:
        there = sorted({name for _, run in runs for name in run.curves if "/" in name})
        raise InputError(f"--tags {tag}: no run has this curve; there are {', '.join(there) or 'none'}")
    places = np.linspace(min(x[0] for _, x, _ in curves), max(x[-1] for _, x, _ in curves), POINTS)
    columns: dict[str, list[Any]] = {"x": [], "y": [], "group": []}
    for group, x, y in curves:
        inside = places[(x[0] <= places) & (places <= x[-1])]
        columns["x"] += inside.tolist()
        columns["y"] += np.interp(inside, x, y).tolist()
        columns["group"] += [group] * len(inside)
    return columns


def draw(tables: Mapping[str, Mapping[str, Sequence[Any]]], axis: str, seeds: Mapping[str, int], out: Path) -> None:
    """One chart below the other for every tag, as PNG or SVG by the file's ending. A group of several runs is drawn as
    their mean, in a band that holds it with a confidence of 95% (bootstrapped by seaborn)."""
    import matplotlib

    matplotlib.use("Agg")
    import seaborn as sns
    from matplotlib import pyplot as plt

    sns.set_theme(style="whitegrid")
    figure, charts = plt.subplots(len(tables), 1, figsize=(8, 3.2 * len(tables)), sharex=True, squeeze=False)
    for chart, (tag, columns) in zip(charts[:, 0], tables.items(), strict=True):
        labels = {
            name: textwrap.fill(f"{name} ({count} seeds)" if count > 1 else name, LINE) for name, count in seeds.items()
        }
        named = {**columns, "group": [labels[name] for name in columns["group"]]}
        sns.lineplot(named, x="x", y="y", hue="group", errorbar=("ci", 95), seed=0, ax=chart)
        chart.set(xlabel=axis, ylabel=tag)
        chart.legend(title=None)
    figure.tight_layout()
    figure.savefig(out, dpi=150)


def parse_arguments() -> argparse.Namespace:
    """Read and check the command line."""
    parser = make_parser("Draw the learning curves of runs; those that differ in the seed alone share a band.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="log folders")
    parser.add_argument(
        "--tags", nargs="+", default=["reward/avg", "greedy/avg"], help="curves as TensorBoard names them"
    )
    parser.add_argument("--x", choices=AXES, default="episodes", help="the axis (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("curves.png"), help="PNG or SVG (default: %(default)s)")
    arguments = parser.parse_args()
    with exit_on_bad_input():
        check_output("--out", arguments.out, (".png", ".svg"))
        for run in arguments.runs:
            if not run.is_dir():
                raise InputError(f"there is no folder {run}")
        try:
            import seaborn  # noqa: F401
        except ImportError as error:
            raise InputError("plots need seaborn: pip install -r requirements-extra.txt") from error
    return arguments


def main() -> None:
    """The command line."""
    end_quietly()
    arguments = parse_arguments()
    with exit_on_bad_input():
        import_tensorflow()
        logs = [read_run(run) for run in arguments.runs]
        groups = group_names([log.config for log in logs])
        runs = list(zip(groups, logs, strict=True))
        tables = {tag: table(runs, tag, arguments.x) for tag in arguments.tags}
        draw(tables, arguments.x, {group: groups.count(group) for group in groups}, arguments.out)
    print(f"wrote {arguments.out}")
