"""The web page of a run: its table of Q-values, and what a real browser makes of it."""

import dataclasses
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import save_untrained
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboard.compat.proto.tensor_pb2 import TensorProto
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util.tensor_util import make_tensor_proto

from blob.callbacks import PercentOfOptimum, PolicyMap
from blob.solver import Games
from blob_env import BlobRules
from config import Config
from console.errors import InputError
from reports.curves import read_images, read_points, read_run
from reports.page import board_as_html, board_views, find_model, pictures_as_html, q_table, report
from storage.loading import load_q_values, make_saved_env
from storage.model_file import read_model
from train import train

ROOT = Path(__file__).parent.parent.parent
SCREENSHOTS = ROOT / "screenshots"
CLOSE = 1e-4  # Q-values that differ by less are as good as equal
MakeConfig = Callable[..., Config]


def random_boards(size: int, count: int) -> np.ndarray:
    """int (count, 3): the cells of player, food and enemy."""
    rules = BlobRules(size=size)
    starts = np.random.default_rng(0).integers(rules.n_starts, size=count)
    return rules.start_positions(starts) @ (size, 1)


@pytest.mark.parametrize("symmetric", [True, False])
def test_the_table_has_every_board_once(symmetric: bool) -> None:
    rules = BlobRules(size=3)

    def q_values(observations: np.ndarray) -> np.ndarray:
        return observations.reshape(len(observations), -1)[:, :9].astype(np.float32) + np.arange(9)

    pairs, table = q_table(rules, q_values, board_views(rules, symmetric))
    # Of the 72 pairs of two different cells, by Burnside's lemma: the identity leaves 72 as they are, each of the four
    # mirrors those of its axis's three cells, 6, and the turns none: (72 + 4 * 6) / 8 = 12.
    assert len(pairs) == (12 if symmetric else 72)
    assert table.shape == (len(pairs), 9, 9)
    for pair, of_player in zip(pairs.tolist(), table, strict=True):
        food, enemy = divmod(pair, 9)
        alike = [view.observations(np.array([[0, food, enemy]]))[0] for view in board_views(rules, symmetric)]
        assert pair == min(food * 9 + enemy for _, food, enemy in alike)
        for player, values in enumerate(of_player):
            positions = np.stack(np.divmod([[player, food, enemy]], 3), axis=2)
            expected = q_values(rules.observe(positions))[0] if player not in (food, enemy) else np.zeros(9)
            np.testing.assert_array_equal(values, expected)


def test_the_page_in_a_browser(small_config: MakeConfig, browser: Any, tmp_path: Path) -> None:
    config = small_config()
    run = train(config, [PercentOfOptimum(config), PolicyMap(config)])
    path = tmp_path / "page.html"
    path.write_text(report(run.log_dir, read_run(run.log_dir), run.best), encoding="utf-8")
    browser.get(path.as_uri())
    assert (
        browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    )  # it needs nothing else
    until = time.monotonic() + 60
    while browser.execute_script("return document.querySelectorAll('.scatterlayer .trace').length") < 10:
        assert time.monotonic() < until, "the curves are not drawn"
        time.sleep(0.2)
    loaded = "return [...document.images].map(image => image.complete && image.naturalWidth > 100)"
    assert browser.execute_script(loaded) == [True] * 4

    assert run.best
    saved = read_model(run.best)
    compare_with_agent(browser, saved.info.config, load_q_values(saved, make_saved_env(saved)))

    food, enemy = browser.execute_script("return [food, enemy]")
    game = Games(BlobRules(size=4), np.array([food]), np.array([enemy]))
    best = browser.execute_script("return optimalValues(food, enemy)")
    np.testing.assert_allclose(best, game.optimal_q_values(1.0)[:, :, 0], atol=1e-4)
    before = browser.find_element("id", "agent").get_attribute("innerHTML")
    target = next(cell for cell in range(16) if cell not in (food, enemy))
    browser.find_element("css selector", f"#agent rect[data-cell='{target}']").click()
    assert browser.execute_script("return [food, enemy]") == [target, enemy]
    assert browser.find_element("id", "agent").get_attribute("innerHTML") != before
    note = browser.find_element("id", "agent-note").text
    assert "of 14 cells are played as well as can be" in note
    SCREENSHOTS.mkdir(exist_ok=True)
    browser.save_screenshot(str(SCREENSHOTS / "report.png"))


@pytest.mark.parametrize(("size", "symmetries"), [(2, True), (3, False), (6, True)])
def test_the_board_of_other_agents(browser: Any, tmp_path: Path, size: int, symmetries: bool) -> None:
    """With the network that the settings pick, and of an agent that errs in every view in another way."""
    config = Config(env_args={"size": size}, seed=3, symmetries=symmetries)
    save_untrained(tmp_path / "x.model", config)
    saved = read_model(tmp_path / "x.model")
    q_values = load_q_values(saved, make_saved_env(saved))
    (tmp_path / "page.html").write_text(board_as_html(BlobRules(size=size), q_values, config), encoding="utf-8")
    browser.get((tmp_path / "page.html").as_uri())
    compare_with_agent(browser, config, q_values)
    assert f"of {size**2 - 2} cells" in browser.find_element("id", "agent-note").text
    assert len(browser.find_elements("css selector", "#values td.greedy")) == 1


def compare_with_agent(browser: Any, config: Config, q_values: Callable[[np.ndarray], np.ndarray]) -> None:
    """The page's actions are the agent's on 1,000 random boards, but where two are as good as equal: how many."""
    rules = BlobRules(**config.env_args)
    boards = random_boards(rules.size, 1_000)
    shown = browser.execute_script("return arguments[0].map(board => qValues(...board))", boards.tolist())
    actions = browser.execute_script("return arguments[0].map(board => greedy(qValues(...board)))", boards.tolist())
    values = q_values(rules.observe(np.stack(np.divmod(boards, rules.size), axis=2)))
    np.testing.assert_allclose(shown, values, atol=CLOSE / 2)
    lower, upper = np.sort(values, axis=1)[:, -2:].T
    is_clear = upper - lower > CLOSE
    assert (np.array(actions) == values.argmax(axis=1))[is_clear].all() and is_clear.sum() > 900
    print(f"size {rules.size}: in {(~is_clear).sum()} of 1,000 boards two actions are as good as equal")


def test_other_environments_have_a_page_without_a_board(small_config: MakeConfig, tmp_path: Path) -> None:
    config = small_config(env="FrozenLake-v1", env_args={"is_slippery": False, "map_name": "4x4"})
    run = train(config)
    page = report(run.log_dir, read_run(run.log_dir), find_model(run.log_dir, config))
    assert "What it has learned" not in page and "How it learned" in page and "@{" not in page
    assert page.count("<figure>") == 4 and find_model(run.log_dir, config) == run.best


def test_a_model_of_another_game(small_config: MakeConfig, tmp_path: Path) -> None:
    run = train(small_config(episodes=20))
    save_untrained(tmp_path / "x.model", Config(env_args={"size": 5}))
    with pytest.raises(InputError, match=r"x.model is of another game than the run"):
        report(run.log_dir, read_run(run.log_dir), tmp_path / "x.model")


def write_event(folder: Path, **fields: Any) -> None:
    """An event file with one value, of tag a/b, unless told otherwise."""
    value = Summary.Value(**{"tag": "a/b", **fields})
    writer = EventFileWriter(str(folder))
    writer.add_event(Event(step=3, summary=Summary(value=[value])))
    writer.close()


def metadata(plugin: str) -> SummaryMetadata:
    return SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name=plugin))


def test_events_of_a_stranger(tmp_path: Path) -> None:
    """A small file that says that it holds much, texts where numbers should be, images in too few parts."""
    huge = make_tensor_proto([1.0])
    huge.tensor_shape.dim[0].size = 4_000_000_000
    scalars = metadata("scalars")
    text, empty, image = make_tensor_proto("x"), TensorProto(dtype=1), make_tensor_proto([b"1", b"2"])
    write_event(tmp_path, tensor=huge, metadata=scalars)
    write_event(tmp_path, tensor=text, metadata=scalars)
    write_event(tmp_path, tensor=empty, metadata=scalars)
    write_event(tmp_path, metadata=scalars)
    write_event(tmp_path, tensor=image, metadata=metadata("images"))
    write_event(tmp_path, tag="see/start", tensor=text, metadata=metadata("images"))
    assert list(read_images(tmp_path)) == []
    assert [point for point in read_points(tmp_path) if point[2] != 0] == []
    write_event(tmp_path, tensor=make_tensor_proto(2.5), metadata=scalars)
    assert ("a/b", 3, 2.5) in list(read_points(tmp_path))


def test_nothing_of_a_stranger_is_code(small_config: MakeConfig) -> None:
    run = train(small_config(episodes=20))
    log = read_run(run.log_dir)
    evil = "<script>alert(1)</script>"
    spoilt = log._replace(config=dataclasses.replace(log.config, models_dir=evil), stopped=evil)
    page = report(run.log_dir.with_name(evil.replace("/", "")), spoilt, None)
    assert "<script>alert" not in page and page.count("&lt;script&gt;alert(1)") == 4  # title, heading, reason, setting
    assert pictures_as_html(run.log_dir, has_board=True).count("<figure>") == 2  # a single evaluation


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "there is no folder nowhere"),
        (["{}"], "is not the log folder of a run"),
        (["{}", "--out", "page.txt"], "--out page.txt must be a file and end in .html"),
    ],
)
def test_refusals(arguments: list[str], words: str, tmp_path: Path) -> None:
    given = [argument.format(tmp_path) for argument in arguments]
    result = subprocess.run([sys.executable, "report.py", *given], cwd=ROOT, capture_output=True, text=True)
    (line,) = result.stderr.strip().splitlines()
    assert result.returncode == 2 and words in line
