"""Draws a policy on a whole board."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from blob_env import COLOURS, ENEMY, FOOD, MOVES, PLAYER, BlobRules
from environments.spaces import QValues
from viewer.drawing import FONT, INK, MARK, PAPER, colour_scale, draw_arrow, side_by_side

BOARD_PIXELS = 280


def policy_map(rules: BlobRules, q_values: QValues, food: int, enemy: int, returns: np.ndarray) -> np.ndarray:
    """Draw the agent's greedy action for every cell of the player, beside the optimal action.

    Every cell has the arrow of its action, in the colour of its highest Q-value. A red frame marks a cell whose action
    is not optimal.

    Args:
        rules: of a Blob whose food and enemy stand still.
        q_values: the agent's, from observations (n, ...) to (n, 9).
        food, enemy: their cells, x * size + y.
        returns: (cells, 9), the optimal undiscounted Q-values of this game, from `blob.solver.Games`.

    Returns:
        uint8 (height, width, 3).
    """
    size = rules.size
    cells = np.arange(size**2)
    free = cells[(cells != food) & (cells != enemy)]
    positions = np.stack(np.divmod(np.stack(np.broadcast_arrays(free, food, enemy), axis=1), size), axis=2)
    values, optimal = q_values(rules.observe(positions)), returns[free]
    greedy, highest, earned = values.argmax(axis=1), values.max(axis=1), optimal.max(axis=1)
    is_best = np.isclose(optimal, earned[:, None])
    wrong = ~is_best[np.arange(len(free)), greedy]
    best = np.where(wrong, is_best.argmax(axis=1), greedy)
    boards = [
        _board(size, positions, greedy, highest, wrong),
        _board(size, positions, best, earned, np.zeros_like(wrong)),
    ]
    titles = [
        f"agent: max Q {highest.min():.1f} to {highest.max():.1f}, {wrong.sum()} not best",
        f"optimal: return {earned.min():.0f} to {earned.max():.0f}",
    ]
    return side_by_side([np.asarray(board) for board in boards], titles)


def _board(
    size: int, positions: np.ndarray, actions: np.ndarray, values: np.ndarray, marked: np.ndarray
) -> Image.Image:
    """Draw one board.

    Args:
        size: cells along a side.
        positions: int64 (n, 3, 2), one for each cell of the player; food and enemy are the same in all.
        actions: int (n,), shown as arrows.
        values: (n,), shown as the colours of the cells.
        marked: bool (n,), cells to frame in red.
    """
    pixels = max(4, BOARD_PIXELS // size)
    image = Image.new("RGB", (size * pixels, size * pixels), PAPER)
    draw = ImageDraw.Draw(image)
    for cell, action, colour, is_marked in zip(
        positions[:, PLAYER], actions, colour_scale(values), marked, strict=True
    ):
        top, left = cell * pixels
        corners = [left, top, left + pixels - 2, top + pixels - 2]
        draw.rectangle(corners, fill=tuple(colour.tolist()), outline=MARK if is_marked else None, width=3)
        ink = INK if colour.sum() > 380 else PAPER
        down, right = MOVES[action] / max(1, np.hypot(*MOVES[action])) * (0.36 * pixels)
        x, y = left + pixels / 2 - 1, top + pixels / 2 - 1
        draw_arrow(draw, (x - right, y - down), (x + right, y + down), ink)
    for piece, letter in ((FOOD, "F"), (ENEMY, "E")):
        top, left = positions[0, piece] * pixels
        draw.rectangle([left, top, left + pixels - 2, top + pixels - 2], fill=tuple(COLOURS[piece].tolist()))
        draw.text((left + pixels / 2, top + pixels / 2), letter, PAPER if piece == ENEMY else INK, FONT, anchor="mm")
    return image


def example_game(size: int) -> tuple[int, int]:
    """Choose the cells of food and enemy for a picture of a policy."""
    return size // 3 * (size + 1), size // 2 * size + size - 1
