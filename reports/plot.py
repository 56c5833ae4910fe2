"""Plot the learning curves of runs; runs that differ only in their seed share a mean and a band."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from config import Config, fields_with
from console.errors import InputError
from reports.curves import RunLog
from training.tags import GREEDY_AVG, GREEDY_OPTIMUM, GREEDY_RANDOM, REWARD_AVG, STEPS

POINTS = 200  # at which runs are compared, along the axis
LEGEND_WIDTH = 70  # characters
MOST_IN_CHART = 4  # groups: a legend of more would hide the curves
NOT_COMPARED = fields_with("compared", False)  # runs that differ only in these form a group
AXES = ("episodes", "steps")
TAGS = (REWARD_AVG, GREEDY_AVG)  # drawn by default
TITLES = {REWARD_AVG: "mean return while exploring", GREEDY_AVG: "mean return of greedy play"}


def group_names(configs: Sequence[Config]) -> list[str]:
    """Name each run's group by what sets it apart, the seed aside.

    That is the environment, the preset or the method and, among runs alike in these, the settings that differ, as in
    "double=True". If nothing differs, it is the environment.
    """
    settings = [{k: v for k, v in dataclasses.asdict(config).items() if k not in NOT_COMPARED} for config in configs]
    full = _differences(settings)
    short = _differences([{k: f"{v:.4g}" if isinstance(v, float) else v for k, v in one.items()} for one in settings])
    names = short if len(set(short)) == len(set(full)) else full
    return [name or one["env"] for name, one in zip(names, settings, strict=True)]


def _differences(settings: Sequence[dict[str, Any]]) -> list[str]:
    differing = [key for key in settings[0] if any(one[key] != settings[0][key] for one in settings)]
    first = next((key for key in ("env", "preset", "method") if key in differing), None)
    if not first:
        return [", ".join(f"{key}={one[key]}" for key in differing) for one in settings]
    names = [""] * len(settings)
    for value in {one[first] for one in settings}:
        alike = [i for i, one in enumerate(settings) if one[first] == value]
        for i, rest in zip(alike, _differences([settings[i] for i in alike]), strict=True):
            names[i] = f"{value}, {rest}".rstrip(", ")
    return names


def x_values(log: RunLog, tag: str, axis: str) -> np.ndarray:
    """Return where the points of a curve lie on an axis, float64 (points,)."""
    episodes = log.episodes[tag]
    return episodes if axis == "episodes" else np.interp(episodes, log.episodes[STEPS], log.curves[STEPS])


def resample(groups: Sequence[str], logs: Sequence[RunLog], tag: str, axis: str) -> dict[str, list[Any]]:
    """Interpolate every run's curve at the same places of the axis, as far as its own points reach.

    Returns:
        The columns x, y and group, ready to draw.

    Raises:
        InputError: no run has such a curve.
    """
    runs = [(group, log) for group, log in zip(groups, logs, strict=True) if tag in log.curves]
    curves = [(x_values(log, tag, axis), log.curves[tag], group) for group, log in runs]
    if not curves:
        known = sorted({name for log in logs for name in log.curves})
        raise InputError(f"--tags {tag}: no run has this curve; there are {', '.join(known) or 'none'}")
    places = np.linspace(min(x[0] for x, _, _ in curves), max(x[-1] for x, _, _ in curves), POINTS)
    columns: dict[str, list[Any]] = {"x": [], "y": [], "group": []}
    for x, y, group in curves:
        inside = places[(x[0] <= places) & (places <= x[-1])]
        columns["x"] += inside.tolist()
        columns["y"] += np.interp(inside, x, y).tolist()
        columns["group"] += [group] * len(inside)
    return columns


def draw(
    curves: Mapping[str, Mapping[str, Sequence[Any]]],
    axis: str,
    runs: Mapping[str, int],
    out: Path,
    levels: Mapping[str, float] | None = None,
) -> None:
    """Draw a chart for each tag, one below the other.

    A group of several runs is drawn as its mean in a band of 95% confidence, which seaborn bootstraps.

    Args:
        curves: by tag, the columns of `resample`.
        axis: the name of the axis.
        runs: by group, the number of its runs.
        out: a PNG or SVG file, by its ending.
        levels: returns to draw as lines across the charts of returns, by their names.
    """
    import matplotlib

    matplotlib.use("Agg")
    import seaborn as sns
    from matplotlib import pyplot as plt

    labels = {
        name: textwrap.fill(f"{name} ({count} seeds)" if count > 1 else name, LEGEND_WIDTH)
        for name, count in runs.items()
    }
    # One colour for a group in all charts.
    are_many = len(labels) > MOST_IN_CHART
    palette = "tab20" if len(labels) > 10 else None  # seaborn's own has ten colours
    colours = dict(zip(labels.values(), sns.color_palette(palette, len(labels)), strict=True))
    sns.set_theme(style="whitegrid")
    figure, charts = plt.subplots(len(curves), 1, figsize=(8, 3.2 * len(curves)), sharex=True, squeeze=False)
    for chart, (tag, columns) in zip(charts[:, 0], curves.items(), strict=True):
        named = {**columns, "group": [labels[name] for name in columns["group"]]}
        marker = "o" if len(set(columns["x"])) == 1 else None  # a line of one point would be invisible
        sns.lineplot(
            named, x="x", y="y", hue="group", palette=colours, errorbar=("ci", 95), seed=0, marker=marker, ax=chart
        )
        for name, level in (levels or {}).items() if tag in TAGS else ():
            low, high = chart.get_ylim()
            chart.axhline(level, color="0.4", linestyle="--", linewidth=1)
            chart.set_ylim(low, max(high, level + 0.05 * (high - low)))  # random play may be far below
            if low <= level:
                chart.annotate(name, (1, level), xycoords=("axes fraction", "data"), ha="right", va="bottom", size=8)
        chart.set(xlabel=axis, ylabel=TITLES.get(tag, tag))
        if are_many:
            lines = chart.get_legend_handles_labels()
            chart.get_legend().remove()
        else:
            chart.legend(title=None)
    figure.tight_layout()
    if are_many:
        figure.legend(*lines, loc="upper center", bbox_to_anchor=(0.5, 0), fontsize="small")
    figure.savefig(out, dpi=150, bbox_inches="tight" if are_many else None)
    plt.close(figure)


def plot(logs: Sequence[RunLog], tags: Sequence[str], axis: str, out: Path) -> None:
    """Plot curves of these runs, by default the returns of training and of greedy play.

    Raises:
        InputError: no run has one of the curves.
    """
    groups = group_names([log.config for log in logs])
    known = {tag for log in logs for tag in log.curves}
    tags = [f"run/{tag}" if tag not in known and f"run/{tag}" in known else tag for tag in tags]  # loss for run/loss
    curves = {tag: resample(groups, logs, tag, axis) for tag in tags}
    draw(curves, axis, {group: groups.count(group) for group in groups}, out, common_levels(logs))


def common_levels(logs: Sequence[RunLog]) -> dict[str, float]:
    """The mean returns of optimal and of random play, where they are known and the same for all runs."""
    levels = {}
    for name, tag in (("optimal play", GREEDY_OPTIMUM), ("random play", GREEDY_RANDOM)):
        values = {float(log.curve(tag)[-1]) if len(log.curve(tag)) else None for log in logs}
        if len(values) == 1 and (value := values.pop()) is not None:
            levels[name] = value
    return levels
