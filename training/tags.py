"""The names of all curves, and the charts that show them."""

from __future__ import annotations

from tensorboard.plugins.custom_scalar import layout_pb2

from config import Config


def tag(name: str) -> str:
    """The tag of a number in a window's logs: what belongs together shares a group, as in "reward/avg"."""
    group, _, rest = name.partition("_")
    return f"{group}/{rest}" if group in ("reward", "greedy", "see") else f"run/{name}"


def story(config: Config) -> layout_pb2.Layout:
    """The charts of the custom scalars page, in the order in which a run is told."""
    band = layout_pb2.MarginChartContent(
        series=[layout_pb2.MarginChartContent.Series(value="reward/avg", lower="reward/min", upper="reward/max")]
    )
    charts = [layout_pb2.Chart(title="reward of training: average, minimum to maximum", margin=band)]
    lines = {
        "reward of greedy play": ["greedy/avg", "greedy/min", "greedy/max"],
        "percent of the optimum": ["run/percent_of_optimum"],
        "epsilon": ["run/epsilon"],
        "loss": ["run/loss"],
        "Q-values, and what rewards and discount allow": ["run/q_mean", "run/q_max", "run/q_limit"],
        "steps per second": ["run/steps_per_second"],
    }
    if config.env != "Blob-v0":  # only its optimum is known
        del lines["percent of the optimum"]
    for title, tags in lines.items():
        exactly = [f"^{tag}$" for tag in tags]
        charts.append(layout_pb2.Chart(title=title, multiline=layout_pb2.MultilineChartContent(tag=exactly)))
    return layout_pb2.Layout(category=[layout_pb2.Category(title="how it learned", chart=charts)])
