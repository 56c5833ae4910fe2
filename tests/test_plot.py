"""Learning curves from the command line."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import plot
from config import Config
from startup import InputError

ROOT = Path(__file__).parent.parent


def test_groups_are_named_by_what_sets_them_apart() -> None:
    one = Config(seed=1, logs_dir="a")
    assert plot.group_names([one, Config(seed=2)]) == ["Blob-v0", "Blob-v0"]
    other = dataclasses.replace(one, double=True, seed=3)
    assert plot.group_names([one, other]) == ["double=False", "double=True"]


def test_curves_at_the_same_places(monkeypatch: pytest.MonkeyPatch) -> None:
    # Of the places 0, 5, ..., 20 the first run, from 0 to 10, has three: y = x. The other, from 5 on, has four: y = 7.
    monkeypatch.setattr(plot, "POINTS", 5)
    first = {"episodes": np.array([0.0, 10.0]), "reward/avg": np.array([0.0, 10.0])}
    # This curve began a window later than the run did.
    second = {"episodes": np.array([0.0, 5.0, 20.0]), "reward/avg": np.array([7.0, 7.0])}
    columns = plot.table([("a", first), ("b", second)], "reward/avg", "episodes")
    assert columns["x"] == [0, 5, 10, 5, 10, 15, 20]
    assert columns["y"] == [0, 5, 10, 7, 7, 7, 7]
    assert columns["group"] == ["a"] * 3 + ["b"] * 4


def test_a_curve_that_is_not_there() -> None:
    with pytest.raises(InputError, match=r"--tags loss: .* there are reward/avg, run/loss"):
        plot.table([("a", {"reward/avg": np.ones(1), "run/loss": np.ones(1)})], "loss", "episodes")


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_a_picture(tmp_path: Path, ending: str) -> None:
    """Two seeds in a band: above the mean of 1 and 3 at the first place and below it there is colour."""
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


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], "there is no folder nothing"),
        (["tests", "--out", "x.pdf"], "--out x.pdf must be a file and end in .png or .svg"),
        (["tests"], "tests is not the log folder of a run"),
    ],
)
def test_bad_input(arguments: list[str], words: str, tmp_path: Path) -> None:
    command = [sys.executable, "plot.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2 and done.stderr.startswith("plot.py: error: ") and words in done.stderr
    assert len(done.stderr.splitlines()) == 1
