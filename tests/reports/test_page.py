"""The web page of a run: its table of Q-values, and how a real browser shows it."""

import dataclasses
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import save_untrained

from blob.callbacks import judges
from blob.solver import Games
from blob_env import BlobEnv, BlobRules
from config import Config
from console.errors import InputError
from reports.board import board_as_html, board_table, board_views
from reports.curves import read_run
from reports.page import duration, make_page, pictures_as_html
from storage.loading import load_q_values, make_saved_env
from storage.model_file import read_model
from storage.runs import best_model
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

    pairs, table = board_table(rules, q_values, board_views(rules, symmetric))
    # Burnside's lemma for the 72 pairs of different cells: the identity fixes all 72, each of the four reflections the
    # 6 pairs on its axis of three cells, and the rotations none: (72 + 4 * 6) / 8 = 12.
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


def page_of_a_run(config: Config, path: Path) -> Path:
    """Write the page of a run to this path. Returns its best model."""
    run = train(config, judges(config))
    assert run.best
    path.write_text(make_page(read_run(run.log_dir), run.best.path), encoding="utf-8")
    return run.best.path


def test_the_page_in_a_browser(small_config: MakeConfig, browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    model = page_of_a_run(small_config(max_episode_steps=None), path)
    browser.get(path.as_uri())
    assert (
        browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    )  # it needs nothing else
    until = time.monotonic() + 60
    while browser.execute_script("return document.querySelectorAll('.scatterlayer .trace').length") < 10:
        assert time.monotonic() < until, "the curves are not drawn"
        time.sleep(0.2)
    loaded = "return [...document.images].map(image => image.complete && image.naturalWidth > 100)"
    assert browser.execute_script(loaded) == [True] * 5

    saved = read_model(model)
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
    assert re.search(r"its move is optimal on \d+ of 14 cells", note)
    SCREENSHOTS.mkdir(exist_ok=True)
    browser.save_screenshot(str(SCREENSHOTS / "report.png"))


def test_the_page_on_a_phone(small_config: MakeConfig, browser: Any, tmp_path: Path) -> None:
    """Nothing is wider than the screen, which would make the browser shrink everything."""
    path = tmp_path / "page.html"
    page_of_a_run(small_config(), path)
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        browser.get(path.as_uri())
        time.sleep(1)
        SCREENSHOTS.mkdir(exist_ok=True)
        browser.save_screenshot(str(SCREENSHOTS / "report_phone.png"))
        assert browser.execute_script("return [innerWidth, document.scrollingElement.scrollWidth]") == [390, 390]
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_facts_of_a_run(small_config: MakeConfig) -> None:
    config = small_config(learning_rate=0.002)
    page = make_page(read_run(train(config).log_dir), None)
    facts = ("Blob-v0, seed 7", "started on ", "<td>command</td>", "<td>machine</td>", "cores</td>", "tensorflow 2.")
    for fact in facts:
        assert fact in page, fact
    own = page[page.index("In these it differs from the preset default") : page.index("<details>")]
    assert "<b>learning_rate</b><span>0.002</span>" in own and "<b>discount</b>" not in own and "models_dir" not in own
    assert "<b>discount</b>" in page[page.index("<details>") :]


@pytest.mark.parametrize(("seconds", "text"), [(45.2, "45 s"), (353.0, "5 min 53 s"), (7_530.0, "2 h 5 min")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("size", "symmetries"), [(2, True), (3, False), (6, True)])
def test_the_board_of_other_agents(browser: Any, tmp_path: Path, size: int, symmetries: bool) -> None:
    """Agents with the default network, whose errors differ from view to view."""
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
    """On 1,000 random boards, the page's actions are the agent's, unless two Q-values are as good as equal."""
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
    assert run.best
    page = make_page(read_run(run.log_dir), best_model(run.log_dir, config))
    assert "What it has learned" not in page and "How it learned" in page and "@{" not in page
    assert page.count("<figure>") == 5 and best_model(run.log_dir, config) == run.best.path


def test_the_judge_and_the_board_close_their_environments(
    small_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(small_config(episodes=20, max_episode_steps=None))
    assert run.best
    closed = []
    monkeypatch.setattr(BlobEnv, "close", lambda self: closed.append(self))
    page = make_page(read_run(run.log_dir), run.best.path)
    assert len(closed) == 2
    assert "From all 3,360 starts, the best model, saved after 20 episodes, earns <b>" in page
    assert "seeks the food F (+25) and avoids the enemy E (-300); any other move costs 1." in page


def test_a_blob_run_whose_model_is_gone(small_config: MakeConfig, capsys: pytest.CaptureFixture[str]) -> None:
    run = train(small_config(episodes=20, max_episode_steps=None))
    page = make_page(read_run(run.log_dir), None)
    assert "What it has learned" not in page and "How it learned" in page
    assert f"no model of this run is in {run.config.models_dir}" in capsys.readouterr().out


def test_a_model_of_another_game(small_config: MakeConfig, tmp_path: Path) -> None:
    run = train(small_config(episodes=20, max_episode_steps=None))
    save_untrained(tmp_path / "x.model", Config(env_args={"size": 5}))
    with pytest.raises(InputError, match=r"x.model is of another game than the run"):
        make_page(read_run(run.log_dir), tmp_path / "x.model")


def test_nothing_of_a_stranger_is_code(small_config: MakeConfig) -> None:
    run = train(small_config(episodes=20))
    log = read_run(run.log_dir)
    evil = "<script>alert(1)</script>"
    spoilt = log._replace(
        folder=Path(evil.replace("/", "")), config=dataclasses.replace(log.config, models_dir=evil), stopped=evil
    )
    page = make_page(spoilt, None)
    assert "<script>alert" not in page and page.count("&lt;script&gt;alert(1)") == 3  # name, finding, setting
    assert (
        pictures_as_html(run.log_dir, has_board=True).count("<figure>") == 3
    )  # a single evaluation, and the untrained agent
