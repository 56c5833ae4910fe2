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
    """The tags of each chart, by its title."""
    layouts = [value for _, value in read_values(log_dir) if value.tag == "custom_scalars__config__"]
    (value,) = layouts
    (category,) = layout_pb2.Layout.FromString(value.tensor.string_val[0]).category
    assert category.title == "how it learned"
    return {chart.title: list(chart.multiline.tag) for chart in category.chart}


def test_charts_of_blob_and_of_others(small_config: MakeConfig) -> None:
    config = small_config()
    run = train(config, [PercentOfOptimum(config), PolicyMap(config)])
    charts = layout_of(run.log_dir)
    assert list(charts.items()) == [
        ("reward of training, of the lanes that explore least", ["^reward/avg$"]),
        ("reward of greedy play, and the best possible from the same starts", ["^greedy/avg$", "^greedy/optimum$"]),
        ("missing to 100% of the optimum, as a power of ten: 2 is random play, -4 nothing", ["^run/missing$"]),
        ("epsilon", ["^run/epsilon$"]),
        ("loss", ["^run/loss$"]),
        ("Q-values: mean and maximum", ["^run/q_mean$", "^run/q_max$"]),
        ("dead units and effective rank, as shares", ["^run/dead_units$", "^run/effective_rank$"]),
        ("steps per second", ["^run/steps_per_second$"]),
    ]
    # Every tag that is named anywhere is one that a run writes.
    written = {value.tag for _, value in read_values(run.log_dir)}
    named = {value for name, value in vars(tags).items() if name.isupper() and isinstance(value, str)}
    named.remove(tags.LOOK)  # a beginning of names
    assert named <= written and len(named) == 23
    assert {tag for chart in CHARTS for tag in chart.tags} | set(EVERY_WINDOW) <= {
        tag for tag, _, _ in read_points(run.log_dir)
    }
    # The same environment without its optimum's callbacks has no such chart.
    del charts[list(charts)[2]]
    assert list(layout_of(train(small_config(seed=8)).log_dir).items()) == list(charts.items())
