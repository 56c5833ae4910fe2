"""The charts of TensorBoard's custom scalars page, and whether their curves exist."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tensorboard.plugins.custom_scalar import layout_pb2

from blob.callbacks import PercentOfOptimum, PolicyMap
from config import Config
from reports.curves import EVERY_WINDOW, read_points, read_values
from train import train
from training import tags
from training.tags import CHARTS

MakeConfig = Callable[..., Config]


def layout_of(log_dir: Path) -> dict[str, Any]:
    """The tags of each chart, by its title; a band's as a tuple."""
    layouts = [value for _, value in read_values(log_dir) if value.tag == "custom_scalars__config__"]
    (value,) = layouts
    (category,) = layout_pb2.Layout.FromString(value.tensor.string_val[0]).category
    assert category.title == "how it learned"
    charts: dict[str, Any] = {}
    for chart in category.chart:
        charts[chart.title] = list(chart.multiline.tag)
        if chart.HasField("margin"):
            (series,) = chart.margin.series
            charts[chart.title] = (series.lower, series.value, series.upper)
    return charts


def test_charts_of_blob_and_of_others(small_config: MakeConfig) -> None:
    config = small_config()
    run = train(config, [PercentOfOptimum(config), PolicyMap(config)])
    charts = layout_of(run.log_dir)
    assert list(charts.items()) == [
        ("reward of training: average, minimum to maximum", ("reward/min", "reward/avg", "reward/max")),
        ("reward of greedy play, and the best possible from the same starts", ["^greedy/avg$", "^greedy/optimum$"]),
        ("percent of the optimum", ["^run/percent_of_optimum$"]),
        ("epsilon", ["^run/epsilon$"]),
        ("loss", ["^run/loss$"]),
        ("Q-values, and what rewards and discount allow", ["^run/q_mean$", "^run/q_max$", "^run/q_limit$"]),
        ("dead units and effective rank, as shares", ["^run/dead_units$", "^run/effective_rank$"]),
        ("steps per second", ["^run/steps_per_second$"]),
    ]
    # Every tag that is named anywhere is one that a run writes.
    written = {value.tag for _, value in read_values(run.log_dir)}
    named = {value for name, value in vars(tags).items() if name.isupper() and isinstance(value, str)}
    assert named <= written and len(named) == 23
    assert {tag for chart in CHARTS for tag in chart.tags} | set(EVERY_WINDOW) <= {
        tag for tag, _, _ in read_points(run.log_dir)
    }
    # The same environment without its optimum's callbacks has no such chart.
    del charts["percent of the optimum"]
    assert list(layout_of(train(small_config(seed=8)).log_dir).items()) == list(charts.items())
