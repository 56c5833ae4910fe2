"""Plots of learning curves."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import reports.plot as plot
from config import Config
from console.errors import InputError
from reports.curves import RunLog


def test_groups_are_named_by_what_sets_them_apart() -> None:
    one = Config(seed=1, logs_dir="a")
    assert plot.group_names([one, Config(seed=2)]) == ["Blob-v0", "Blob-v0"]
    other = dataclasses.replace(one, double=True, seed=3)
    assert plot.group_names([one, other]) == ["double=False", "double=True"]
    # A preset differs in dozens of settings; its name stands for all of them.
    tutorial, cart = Config.from_preset(preset="tutorial"), Config.from_preset(env="CartPole-v1")
    assert plot.group_names([one, other, tutorial, cart]) == [
        "Blob-v0, default, double=False", "Blob-v0, default, double=True", "Blob-v0, tutorial", "CartPole-v1",
    ]  # fmt: skip
    assert plot.group_names([one, tutorial]) == ["default", "tutorial"]


def log(episodes: list[float], rewards: list[float]) -> RunLog:
    """A run of ten steps an episode, whose steps are known at other episodes than its rewards."""
    at = {"reward/avg": np.array(episodes, float), "run/steps": np.array([0.0, 8.0, 30.0])}
    curves = {"reward/avg": np.array(rewards, float), "run/steps": 10 * at["run/steps"]}
    return RunLog(Path(), Config(), curves, at, "")


def test_curves_at_the_same_places(monkeypatch: pytest.MonkeyPatch) -> None:
    # Of the places 0, 5, ..., 20, the first run (y = x) reaches from 0 to 10, the second (y = 7) from 5 to 20.
    monkeypatch.setattr(plot, "POINTS", 5)
    first = log([0, 10], [0, 10])
    second = log([5, 20], [7, 7])
    columns = plot.resample(["a", "b"], [first, second], "reward/avg", "episodes")
    assert columns["x"] == [0, 5, 10, 5, 10, 15, 20]
    assert columns["y"] == [0, 5, 10, 7, 7, 7, 7]
    assert columns["group"] == ["a"] * 3 + ["b"] * 4
    # The same places in steps, ten an episode: 0, 50, ..., 200.
    columns = plot.resample(["a", "b"], [first, second], "reward/avg", "steps")
    assert columns["x"] == [0, 50, 100, 50, 100, 150, 200] and columns["y"] == [0, 5, 10, 7, 7, 7, 7]


def test_a_curve_that_is_not_there() -> None:
    with pytest.raises(InputError, match=r"--tags loss: .* there are reward/avg, run/steps"):
        plot.resample(["a"], [log([1], [1])], "loss", "episodes")


def test_many_groups_are_named_below_the_charts(tmp_path: Path) -> None:
    """A search's, whose numbers have four digits: their legend would hide the curves. None stands in a chart."""
    names = plot.group_names([Config(learning_rate=0.001 + i * 1.23456e-5) for i in range(6)])
    assert names[0] == "learning_rate=0.001" and names[5] == "learning_rate=0.001062"
    alike = plot.group_names([Config(discount=0.99999), Config(discount=0.999991)])
    assert alike == ["discount=0.99999", "discount=0.999991"]
    columns: dict[str, list[Any]] = {
        "x": [0.0, 1.0] * 6,
        "y": [1.0, 2.0] * 6,
        "group": [name for name in names for _ in range(2)],
    }
    few = {**columns, "group": [names[0]] * 12}
    heights = []
    for groups, drawn in (({name: 1 for name in names}, columns), ({names[0]: 6}, few)):
        plot.draw({"greedy/avg": drawn}, "episodes", groups, tmp_path / "curves.png")
        with Image.open(tmp_path / "curves.png") as image:
            heights.append(image.height)
    assert heights[1] == 480 and heights[0] > 480 + 6 * 15


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_a_picture(tmp_path: Path, ending: str) -> None:
    """Two seeds make a band: 1 and 3 at the first place, with their mean between them."""
    columns: dict[str, list[Any]] = {"x": [0.0, 1.0] * 2, "y": [1.0, 2.0, 3.0, 2.0], "group": ["Blob-v0"] * 4}
    out = tmp_path / f"curves.{ending}"
    plot.draw({"reward/avg": columns, "greedy/avg": columns}, "episodes", {"Blob-v0": 2}, out)
    if ending == "svg":
        assert "<svg" in out.read_text()
        return
    with Image.open(out) as image:
        pixels = np.asarray(image.convert("RGB"))
    assert pixels.shape == (960, 1200, 3)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20


@pytest.mark.parametrize(("x", "is_dot"), [([5.0] * 3, True), ([0.0, 5.0], False)])
def test_a_curve_of_one_point_is_a_dot(x: list[float], is_dot: bool, tmp_path: Path) -> None:
    """A line through one point would leave the chart empty, and so without a trace of the line's colour."""
    columns: dict[str, list[Any]] = {"x": x, "y": [1.0] * len(x), "group": ["run"] * len(x)}
    blank: dict[str, list[Any]] = {"x": [0.0, 5.0], "y": [np.nan, np.nan], "group": ["run", "run"]}
    pictures = []
    for name, curve in (("drawn", columns), ("blank", blank)):
        plot.draw({"greedy/avg": curve}, "episodes", {"run": 1}, tmp_path / f"{name}.png")
        with Image.open(tmp_path / f"{name}.png") as image:
            pixels = np.asarray(image.convert("RGB")).astype(int)
        pictures.append((np.abs(pixels - (76, 114, 176)).sum(axis=2) < 30).sum())  # seaborn's first colour
    drawn, legend_alone = pictures
    assert drawn > legend_alone + 20
    assert (drawn - legend_alone < 400) == is_dot


def colours_in(path: Path, rows: slice) -> set[str]:
    """Which of seaborn's first two colours some rows of a picture hold."""
    with Image.open(path) as image:
        pixels = np.asarray(image.convert("RGB")).astype(int)[rows]
    known = {"blue": (76, 114, 176), "orange": (221, 132, 82)}
    return {name for name, colour in known.items() if (np.abs(pixels - colour).sum(axis=2) < 20).any()}


def test_a_colour_means_one_run_in_all_charts(tmp_path: Path) -> None:
    """The second chart lacks the first run, and must not give its colour to the second."""
    both: dict[str, list[Any]] = {"x": [0.0, 1.0] * 2, "y": [1.0, 2.0, 3.0, 4.0], "group": ["a", "a", "b", "b"]}
    second = {name: values[2:] for name, values in both.items()}
    plot.draw({"reward/avg": both, "greedy/avg": second}, "episodes", {"a": 1, "b": 1}, tmp_path / "x.png")
    assert colours_in(tmp_path / "x.png", slice(0, 460)) == {"blue", "orange"}
    assert colours_in(tmp_path / "x.png", slice(500, 960)) == {"orange"}


def test_lines_for_optimal_and_random_play_where_all_runs_have_the_same(tmp_path: Path) -> None:
    def judged(optimum: float, random: float) -> RunLog:
        at = {"greedy/optimum": np.array([1.0]), "greedy/random": np.array([1.0])}
        return RunLog(
            Path(), Config(), {"greedy/optimum": np.array([optimum]), "greedy/random": np.array([random])}, at, ""
        )

    assert plot.common_levels([judged(21.4, -200), judged(21.4, -200)]) == {"optimal play": 21.4, "random play": -200}
    assert plot.common_levels([judged(21.4, -200), judged(20.0, -200)]) == {"random play": -200}
    assert plot.common_levels([judged(21.4, -200), log([1], [1])]) == {}
    columns: dict[str, list[Any]] = {"x": [0.0, 1.0], "y": [0.0, 20.0], "group": ["a", "a"]}
    out = tmp_path / "x.svg"
    plot.draw({"greedy/avg": columns}, "episodes", {"a": 1}, out, {"optimal play": 21.4, "random play": -200.0})
    assert "<!-- optimal play -->" in out.read_text() and "<!-- random play -->" not in out.read_text()


def test_a_curve_of_the_run_may_be_named_without_its_group(tmp_path: Path) -> None:
    at = {"run/loss": np.array([1.0, 2.0])}
    run = RunLog(Path(), Config(), {"run/loss": np.array([5.0, 3.0])}, at, "")
    plot.plot([run], ["loss"], "episodes", tmp_path / "x.svg")
    assert "<!-- run/loss -->" in (tmp_path / "x.svg").read_text()
