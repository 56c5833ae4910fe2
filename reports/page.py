"""One web page about one run, in a file that needs nothing else: `python report.py logs/RUN`"""

from __future__ import annotations

import argparse
import base64
import dataclasses
import glob
import html
import json
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from blob.judge import q_values_of_boards
from blob.solver import MAX_STEPS, is_solvable
from blob_env import MOVE_NAMES, MOVES, BlobEnv, BlobRules
from config import Config
from console.arguments import add_trust_arguments, check_output, make_parser, trusted_settings
from console.errors import InputError, exit_on_bad_input
from console.signals import end_quietly
from console.tensorflow_import import import_tensorflow
from environments.make import make_env, same_game
from environments.spaces import QValues
from environments.symmetry import Symmetry
from reports.curves import RunLog, read_images, read_run
from storage.atomic import atomic_write
from storage.loading import load_q_values
from storage.model_file import read_model, suffix
from viewer.drawing import SCALE

TEMPLATES = Path(__file__).parent


LARGEST_TABLE = 40_000_000  # bytes of Q-values in a page


CHARTS: Mapping[str, Sequence[str]] = {
    "reward of training, with random actions": ("reward/min", "reward/max", "reward/avg"),
    "reward of greedy play, from a sample of starts": ("greedy/min", "greedy/max", "greedy/avg"),
    "percent of the optimum": ("run/percent_of_optimum",),
    "epsilon": ("run/epsilon",),
    "loss": ("run/loss",),
    "Q-values: their mean and maximum": ("run/q_mean", "run/q_max"),
    "steps per second": ("run/steps_per_second",),
}


POLICY = "see/policy"


PICTURES = {
    POLICY: "What it does on every cell, beside the best, after {:,} episodes.",
    "see/start": "A film of greedy play from the start that is always filmed, after {:,} episodes.",
    "see/worst": "A film of greedy play from the start where it went worst, after {:,} episodes.",
}


class Page(string.Template):
    """A template whose places are @{named}, which neither CSS nor JavaScript uses."""

    delimiter = "@"


def curves_as_html(log: RunLog) -> str:
    """The charts, one below the other, with plotly's script in the text."""
    from plotly import colors, graph_objects, subplots

    charts = {title: [tag for tag in tags if tag in log.curves] for title, tags in CHARTS.items()}
    charts = {title: tags for title, tags in charts.items() if tags}
    figure = subplots.make_subplots(
        len(charts), 1, shared_xaxes=True, subplot_titles=list(charts), vertical_spacing=0.03
    )
    colour = colors.qualitative.Plotly[0]
    for row, tags in enumerate(charts.values(), 1):
        for tag in tags:
            x, y = log.at[tag], log.curves[tag]
            fill = {"fill": "tonexty", "fillcolor": "rgba(99,110,250,0.2)"} if tag.endswith("/max") else {}
            edge = tag.endswith(("/min", "/max"))
            line = {"width": 0.5 if edge else 2, "color": colour} if "/q_" not in tag else {"width": 2}
            figure.add_trace(graph_objects.Scatter(x=x, y=y, name=tag, line=line, **fill), row, 1)
    figure.update_layout(height=230 * len(charts), showlegend=False, hovermode="x unified", margin={"t": 30, "b": 40})
    figure.update_xaxes(title_text="episodes", row=len(charts), col=1)
    return str(figure.to_html(full_html=False, include_plotlyjs=True, config={"displaylogo": False}))


def pictures_as_html(run_dir: Path, has_board: bool) -> str:
    """The first and the last picture of every kind; policies only where there is no board to see them on."""
    shown: dict[str, list[tuple[int, bytes]]] = {}
    for tag, step, image in read_images(run_dir):
        if tag in PICTURES and not (has_board and tag == POLICY):
            shown.setdefault(tag, []).append((step, image))
    figures = [
        f'<figure><img alt="{html.escape(text)}" src="data:image;base64,{_base64(image)}">'
        f"<figcaption>{html.escape(text)}</figcaption></figure>"
        for tag, images in shown.items()
        for step, image in dict([images[0], images[-1]]).items()
        for text in [PICTURES[tag].format(step)]
    ]
    return "<h2>How it played, first and last</h2>" + "".join(figures) if figures else ""


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def board_views(rules: BlobRules, symmetric: bool) -> list[Symmetry]:
    """The views, of cells, in which an agent plays alike: all eight, or the plain one."""
    views = [Symmetry(*one) for one in dataclasses.replace(rules, observation="cells").symmetries()]
    return views if symmetric else views[:1]


def q_table(rules: BlobRules, q_values: QValues, views: Sequence[Symmetry]) -> tuple[np.ndarray, np.ndarray]:
    """An agent's Q-values of all boards, once for boards that look alike.

    Returns:
        Of food and enemy the pairs food * cells + enemy, int64 (pairs,), the smallest of those that look alike, and
        the values, float32 (pairs, cells, 9), by the player's cell; zero where the player cannot be.
    """
    n_cells = rules.size**2
    food, enemy = np.divmod(np.arange(n_cells**2), n_cells)
    turned = [_turn(view, n_cells) for view in views]
    pairs = np.unique(np.min([cells[food] * n_cells + cells[enemy] for cells in turned], axis=0)[food != enemy])
    food, enemy = np.divmod(pairs, n_cells)
    table = np.zeros((len(pairs), n_cells, 9), np.float32)
    player = np.arange(n_cells)
    is_free = (player != food[:, None]) & (player != enemy[:, None])
    rows, players = np.nonzero(is_free)
    boards = np.stack([players, food[rows], enemy[rows]], axis=1)
    positions = np.stack(np.divmod(boards, rules.size), axis=2)
    table[rows, players] = q_values_of_boards(rules, q_values, positions)
    return pairs, table


def _turn(view: Symmetry, n_cells: int) -> np.ndarray:
    """int64 (cells,): where each cell is seen from a view."""
    return view.observations(np.arange(n_cells)[:, None].repeat(3, axis=1))[:, 0]


def board_as_html(rules: BlobRules, q_values: QValues, config: Config) -> str:
    """The board on which one places food and enemy; without it where the table would be too large for a page."""
    from blob.policy_map import example_game

    n_cells, views = rules.size**2, board_views(rules, config.symmetries)
    if n_cells * (n_cells - 1) * n_cells * 9 * 4 / len(views) > LARGEST_TABLE:
        return ""
    pairs, table = q_table(rules, q_values, views)
    food, enemy = example_game(rules.size)
    board = {
        "size": rules.size,
        "moves": MOVES.tolist(),
        "names": MOVE_NAMES,
        "steps": MAX_STEPS,
        "rewards": {"food": rules.food_reward, "enemy": rules.enemy_reward, "move": rules.move_reward},
        "discount": config.discount,
        "clip": config.reward_clip,
        "scale": SCALE.tolist(),
        "food": food,
        "enemy": enemy,
        "views": [{"cells": _turn(view, n_cells).tolist(), "actions": view.actions.tolist()} for view in views],
        "pairs": pairs.tolist(),
        "table": _base64(table.astype("<f4").tobytes()),
    }
    rewards = {"food_reward": f"{rules.food_reward:+g}", "enemy_reward": f"{rules.enemy_reward:+g}"}
    text = (TEMPLATES / "board.html").read_text()
    return Page(text).substitute(rewards, move_cost=f"{-rules.move_reward:g}", board=json.dumps(board))


def find_model(run_dir: Path, config: Config) -> Path | None:
    """The run's best model, if it lies where the run put it."""
    found = list(Path(config.models_dir).glob(f"{glob.escape(run_dir.name)}__best__*{suffix(config)}"))
    return found[0] if found else None


def learned_as_html(model: Path | None, config: Config, repeated: Mapping[str, Any]) -> tuple[str, str]:
    """What Blob's solver says of the model, and its board; empty for other environments.

    Raises:
        InputError: the model cannot be read, plays another game, or names code that is not `repeated`.
    """
    from blob.judge import judge_model

    if not (model and is_solvable(config)):
        return "", ""
    saved = read_model(model, repeated)
    if not same_game(saved.info.config, config):
        raise InputError(f"--model {model} is of another game than the run")
    judged = judge_model(saved)
    env = make_env(saved.info.config)
    starts = f"all {judged.n_starts:,}" if judged.exact else f"{judged.n_starts:,} random"
    summary = (
        f"<p>From {starts} starts the best model, saved after {saved.info.episode:,} episodes, earns "
        f"<b>{judged.mean:.4f}</b> on average; the best there is, is "
        f"<b>{judged.optimum:.4f}</b>, and random play earns {judged.random:.2f}. It wins "
        f"{judged.won / judged.n_starts:.4%} of its games, in {judged.steps:.2f} steps (at best "
        f"{judged.optimal_steps:.2f}), and plays {judged.optimal:,} starts as well as can be.</p>"
    )
    blob = env.unwrapped
    assert isinstance(blob, BlobEnv)
    return summary, board_as_html(blob.rules, load_q_values(saved, env), saved.info.config)


def report(run_dir: Path, log: RunLog, model: Path | None, repeated: Mapping[str, Any] | None = None) -> str:
    """The page, as text of HTML.

    Args:
        run_dir: the run's log folder.
        log: what is in it.
        model: the run's best, if it is there.
        repeated: as `model_file.read_model` takes it.

    Raises:
        InputError: as `learned_as_html`.
    """
    summary, learned = learned_as_html(model, log.config, repeated or {})
    played = f"{int(log.curves['episodes'][-1]):,} episodes of {log.config.env}"
    if "greedy/avg" in log.curves:
        starts = f"{log.config.evaluate_episodes:,} starts that are always the same"
        played += f"; in the end greedy play earned {log.curves['greedy/avg'][-1]:.2f} on average, from {starts}"
    settings = "".join(
        f"<tr><td>{html.escape(name)}</td><td>{html.escape(str(value))}</td></tr>"
        for name, value in dataclasses.asdict(log.config).items()
    )
    stopped = f"<p><b>It stopped itself</b>: {html.escape(log.stopped)}</p>" if log.stopped else ""
    return Page((TEMPLATES / "page.html").read_text()).substitute(
        title=html.escape(run_dir.name),
        subtitle=html.escape(played),
        summary=stopped + summary,
        learned=learned,
        curves=curves_as_html(log),
        pictures=pictures_as_html(run_dir, has_board=bool(learned)),
        settings=settings,
    )


def parse_arguments() -> argparse.Namespace:
    """Read and check the command line."""
    parser = make_parser("Write one self-contained web page about one run.")
    parser.add_argument("run", type=Path, metavar="RUN", help="its log folder")
    add_trust_arguments(parser)
    parser.add_argument("--model", type=Path, help="a .model file (default: the run's best, where the run put it)")
    parser.add_argument("--out", type=Path, help="the page (default: RUN/report.html)")
    arguments = parser.parse_args()
    with exit_on_bad_input():
        if not arguments.run.is_dir():
            raise InputError(f"there is no folder {arguments.run}")
        arguments.run = arguments.run.resolve()  # for its name
        arguments.out = arguments.out or arguments.run / "report.html"
        check_output("--out", arguments.out, (".html",))
        try:
            import plotly  # noqa: F401
        except ImportError as error:
            raise InputError("reports need plotly: pip install -r requirements-extra.txt") from error
    return arguments


def main() -> None:
    """The command line."""
    end_quietly()
    arguments = parse_arguments()
    with exit_on_bad_input():
        import_tensorflow()
        log = read_run(arguments.run)
        if "episodes" not in log.curves:
            raise InputError(f"{arguments.run} has no curves yet: let the run end a window of episodes first")
        model = arguments.model or find_model(arguments.run, log.config)
        if is_solvable(log.config) and not model:
            print(f"no model of this run is in {log.config.models_dir}, so the page has no board: name it with --model")
        page = report(arguments.run, log, model, trusted_settings(arguments))
        try:
            with atomic_write(arguments.out) as path:
                path.write_text(page, encoding="utf-8")
        except OSError as error:
            raise InputError(f"--out {arguments.out} cannot be written ({error.strerror or error})") from error
    print(f"wrote {arguments.out} ({arguments.out.stat().st_size / 1e6:.1f} MB)")
