"""The command line of report.py."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

import report
from config import Config
from training.tensorboard_callback import EpisodeTensorBoard

ROOT = Path(__file__).parent.parent.parent


def write_run(folder: Path, epsilon: float = 0.1, greedy: float = -100.0) -> Path:
    """The log folder of a CartPole run of four windows, without training."""
    config = Config.from_preset(env="CartPole-v1", episodes=200, models_dir=str(folder))
    folder.mkdir()
    (folder / "run.json").write_text(json.dumps({"format": 4, "config": dataclasses.asdict(config), "starts": []}))
    numbers = {"reward_avg": -200.0, "reward_min": -300.0, "reward_max": -100.0, "greedy_avg": greedy}
    numbers |= {"epsilon": epsilon, "steps": 9_000.0, "updates": 1.0, "episode_length": 20.0}
    events = EpisodeTensorBoard(folder, config)
    for window in range(4):
        events.on_epoch_end(window, {"episode": 50.0 * (window + 1), **numbers})
    events.on_train_end()
    return folder


def run_report(*arguments: object) -> tuple[int, str, list[str]]:
    """The exit code, output and error lines of report.py, which must not have imported TensorFlow."""
    command = [sys.executable, "-X", "importtime", "report.py", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    lines = done.stderr.splitlines()
    imported = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}
    assert "numpy" in imported and not imported & {"tensorflow", "keras"}
    return done.returncode, done.stdout, [line for line in lines if not line.startswith("import time:")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "there is no run nowhere, neither in logs nor here"),
        (["{}"], "is not the log folder of a run: it has no run.json"),
        (["tests"], "tests is not the log folder of a run"),
        (["{}", "nowhere"], "is not the log folder of a run"),
        (["tests", "--out", "x.svg"], "tests is not the log folder of a run"),
        (["tests", "--out", "x.html"], "tests is not the log folder of a run"),
        (["nothing", "--out", "x.png"], "there is no run nothing"),
        (["{}", "--out", "page.txt"], "--out page.txt must be a file and end in .html or .png or .svg"),
        (["tests", "--out", "x.pdf"], "--out x.pdf must be a file and end in .html or .png or .svg"),
        (["{}", "--out", "{}"], "must be a file and end in .html or .png or .svg"),
        (["{}", "--out", "/proc/x.html"], "--out /proc cannot be written"),
        (["--logs-dir", "{}"], "there is no run in "),
    ],
)
def test_refusals(arguments: list[str], words: str, tmp_path: Path) -> None:
    code, output, errors = run_report(*(argument.format(tmp_path) for argument in arguments))
    (line,) = errors
    assert code == 2 and not output and line.startswith("report.py: error: ") and words in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["{}", "{}", "--out", "x.html"],
            "--out x.html takes one run: name one, or plot several with --out curves.png",
        ),
        (["{}", "--tags", "run/loss"], "--tags needs an --out that ends in .png or .svg"),
        (["{}", "--x", "steps", "--out", "x.html"], "--x needs an --out that ends in .png or .svg"),
        (["{}", "--model", "x.model"], "--model needs an --out that ends in .html"),
        (["{}", "--model", "x.model", "--out", "x.svg"], "--model needs an --out that ends in .html"),
        (["{}", "--env", "X-v0"], "--env needs an --out that ends in .html"),
        (["{}", "--env-args", "a=1"], "--env-args needs an --out that ends in .html"),
        (["{}", "--network", "x.py:f", "--out", "x.png"], "--network needs an --out that ends in .html"),
        (["{}", "--x", "seconds"], "argument --x: invalid choice"),
    ],
)
def test_flags_that_do_not_go_together(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["report.py", *(argument.format(tmp_path) for argument in arguments)])
    with pytest.raises(SystemExit):
        report.main()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("report.py: error: ") and words in line


@pytest.mark.parametrize(("out", "package"), [("x.html", "plotly"), ("x.png", "seaborn"), ("x.svg", "seaborn")])
def test_a_package_that_is_missing(
    out: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(sys, "argv", ["report.py", str(tmp_path), "--out", str(tmp_path / out)])
    with pytest.raises(SystemExit):
        report.main()
    assert f"needs {package}: pip install -r requirements-extra.txt" in capsys.readouterr().err


def test_findings_of_one_run_and_of_several(tmp_path: Path) -> None:
    sound, other = write_run(tmp_path / "sound"), write_run(tmp_path / "other", epsilon=0.95, greedy=-195.0)
    well = "nothing looks wrong: greedy play earned -100.00; nothing was gained since episode 50\n"
    assert run_report(sound) == (0, well, [])
    code, output, errors = run_report(other)
    assert code == 0 and not errors
    assert re.fullmatch(r"- epsilon is still 0\.95, .*\n- the return is stuck at .*\n", output)
    assert run_report(sound, other) == (0, f"sound:\n{well}other:\n{output}", [])


def test_what_out_ends_in_says_what_is_written(tmp_path: Path) -> None:
    first, second = write_run(tmp_path / "a"), write_run(tmp_path / "b", epsilon=0.95)
    page, png, svg = (tmp_path / name for name in ("x.html", "x.PNG", "x.svg"))
    assert run_report(second, "--out", page) == (
        0,
        f"wrote {page} ({page.stat().st_size / 1e6:.1f} MB)\n",
        ["making the page, some seconds"],
    )
    assert "<li>epsilon is still" in page.read_text() and "nothing looks wrong" not in page.read_text()
    code, output, errors = run_report(first, second, "--out", png)
    assert code == 0 and not errors and output.startswith(f"wrote {png} (")
    with Image.open(png) as image:
        assert image.format == "PNG" and image.size == (1200, 960)  # two charts
    arguments = ["--tags", "run/epsilon", "--x", "steps"]
    assert run_report(first, second, "--out", svg, *arguments)[0] == 0
    assert "<svg" in svg.read_text() and sorted(path.name for path in tmp_path.iterdir()) == [
        "a",
        "b",
        "x.PNG",
        "x.html",
        "x.svg",
    ]
    code, _, (line,) = run_report(first, "--out", svg, "--tags", "loss")
    assert code == 2 and "--tags loss: no run has this curve; there are greedy/avg, reward/avg" in line
