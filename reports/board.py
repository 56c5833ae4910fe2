"""Blob's part of a page: how the solver judges the model, and a board on which to place food and enemy."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from blob.judge import Judgement, judge_model, q_values_of_boards
from blob.policy_map import example_game
from blob.solver import MAX_STEPS, is_solvable
from blob_env import MOVE_NAMES, MOVES, BlobRules
from config import Config
from console.errors import InputError
from console.messages import one_line
from environments.make import make_env, same_game
from environments.spaces import QValues
from environments.symmetry import Symmetry
from reports.templates import fill_template
from storage.loading import load_q_values
from storage.model_file import read_model
from viewer.drawing import VIRIDIS

LARGEST_TABLE = 40_000_000  # bytes of Q-values in a page


def learned_as_html(config: Config, model: Path | None, trusted: Mapping[str, Any]) -> tuple[str, str]:
    """Judge the model of a Blob run, and show its board.

    Args:
        config: the run's settings.
        model: the run's best model, None if it is not there.
        trusted: as `model_file.read_model` takes it.

    Returns:
        The judge's sentence and the board as HTML; both empty without a model or where the optimum is unknown.

    Raises:
        InputError: the model cannot be read, plays another game, or names code that is not trusted.
    """
    if not is_solvable(config):
        return "", ""
    if not model:
        print(
            one_line(f"no model of this run is in {config.models_dir}, so the page has no board: name one with --model")
        )
        return "", ""
    saved = read_model(model, trusted)
    own = saved.info.config
    if not same_game(own, config):
        raise InputError(f"--model {model} is of another game than the run")
    summary = judgement_as_html(judge_model(saved), saved.info.episode)
    with closing(make_env(own)) as env:
        return summary, board_as_html(BlobRules(**own.env_args), load_q_values(saved, env), own)


def judgement_as_html(judged: Judgement, episode: int) -> str:
    """Compare a model, saved after this many episodes, with optimal and random play in a few sentences."""
    starts = f"all {judged.n_starts:,}" if judged.exact else f"{judged.n_starts:,} random"
    return (
        f"<p>From {starts} starts, the best model, saved after {episode:,} episodes, earns <b>{judged.mean:.4f}</b> on "
        f"average. Optimal play earns <b>{judged.optimum:.4f}</b>, random play {judged.random:.2f}. The model wins "
        f"{judged.won / judged.n_starts:.4%} of its games, takes {judged.steps:.2f} steps on average (optimal play "
        f"{judged.optimal_steps:.2f}), and plays {judged.optimal:,} starts optimally.</p>"
    )


def board_as_html(rules: BlobRules, q_values: QValues, config: Config) -> str:
    """Show the board, with an agent's Q-values inside; empty if these would make the page too large."""
    n_cells, views = rules.size**2, board_views(rules, config.symmetries)
    if n_cells * (n_cells - 1) * n_cells * 9 * 4 / len(views) > LARGEST_TABLE:
        return ""
    pairs, table = board_table(rules, q_values, views)
    food, enemy = example_game(rules.size)
    board = {
        "size": rules.size,
        "moves": MOVES.tolist(),
        "names": MOVE_NAMES,
        "steps": MAX_STEPS,
        "rewards": {"food": rules.food_reward, "enemy": rules.enemy_reward, "move": rules.move_reward},
        "discount": config.discount,
        "clip": config.reward_clip,
        "scale": VIRIDIS.tolist(),
        "food": food,
        "enemy": enemy,
        "views": [{"cells": np.asarray(view.values).tolist(), "actions": view.actions.tolist()} for view in views],
        "pairs": pairs.tolist(),
        "table": base64.b64encode(table.astype("<f4").tobytes()).decode(),
    }
    return fill_template(
        "board.html",
        food_reward=f"{rules.food_reward:+g}",
        enemy_reward=f"{rules.enemy_reward:+g}",
        move_cost=f"{-rules.move_reward:g}",
        board=json.dumps(board),
    )


def board_views(rules: BlobRules, symmetric: bool) -> list[Symmetry]:
    """Return the symmetries of cells under which an agent plays alike: all eight, or only the identity."""
    views = [Symmetry(*one) for one in dataclasses.replace(rules, observation="cells").symmetries()]
    return views if symmetric else views[:1]


def board_table(rules: BlobRules, q_values: QValues, views: Sequence[Symmetry]) -> tuple[np.ndarray, np.ndarray]:
    """Tabulate an agent's Q-values, once for all boards that look alike.

    Returns:
        The pairs food * cells + enemy, int64 (pairs,), the smallest of those that look alike; and the Q-values,
        float32 (pairs, cells, 9), by the player's cell, zero where the player cannot be.
    """
    n_cells = rules.size**2
    food, enemy = np.divmod(np.arange(n_cells**2), n_cells)
    seen = [np.asarray(view.values) for view in views]  # of cells
    pairs = np.unique(np.min([cells[food] * n_cells + cells[enemy] for cells in seen], axis=0)[food != enemy])
    food, enemy = np.divmod(pairs, n_cells)
    table = np.zeros((len(pairs), n_cells, 9), np.float32)
    player = np.arange(n_cells)
    is_free = (player != food[:, None]) & (player != enemy[:, None])
    rows, players = np.nonzero(is_free)
    boards = np.stack([players, food[rows], enemy[rows]], axis=1)
    positions = np.stack(np.divmod(boards, rules.size), axis=2)
    table[rows, players] = q_values_of_boards(rules, q_values, positions)
    return pairs, table
