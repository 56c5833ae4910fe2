"""A picture of a policy on a whole board."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw

from blob_env import COLOURS, ENEMY, FOOD, MOVES, PLAYER, BlobRules
from environments.spaces import QValues
from viewer.drawing import FONT, INK, MARK, PAPER, colour_scale, draw_arrow, side_by_side

BOARD_PIXELS = 280


def policy_map(rules: BlobRules, q_values: QValues, food: int, enemy: int, returns: np.ndarray) -> np.ndarray:
    """What an agent would do with the player on every cell, beside the best it could do.

    Every cell has the arrow of its greedy action, in the colour of its highest Q-value; a cell whose action is not one
    of the best is framed in red.

    Args:
        rules: of a Blob whose food and enemy stand still.
        q_values: the agent's, from observations (n, ...) to (n, 9).
        food, enemy: their cells, x * size + y.
        returns: (cells, 9), the most that can be earned after every action, not discounted: `blob_solver.Games` knows.

    Returns:
        uint8 (height, width, 3).
    """
    size = rules.size
    cells = np.arange(size**2)
    free = cells[(cells != food) & (cells != enemy)]
    positions = np.stack(np.divmod(np.stack(np.broadcast_arrays(free, food, enemy), axis=1), size), axis=2)
    values = q_values(rules.observe(positions))
    greedy, truth = values.argmax(axis=1), returns[free]
    is_best = np.isclose(truth, truth.max(axis=1, keepdims=True))
    wrong = ~is_best[np.arange(len(free)), greedy]
    best = np.where(wrong, is_best.argmax(axis=1), greedy)
    highest, earned = values.max(axis=1), truth.max(axis=1)
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
    """A board whose player may be anywhere: arrows (n,), coloured by values (n,), some of them marked (n,)."""
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
    """The cells of the food and the enemy in a picture of a policy."""
    return size // 3 * (size + 1), size // 2 * size + size - 1
