"""A two-player game, Connect Four: python train.py --env examples.connect_four:ConnectFour"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete

from examples.opponents import RANDOM, Opponent

ROWS, COLUMNS, TO_WIN = 6, 7, 4
ME, OTHER = 1, -1
DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))  # rows down and columns to the right
SIGNS = {0: ".", ME: "X", OTHER: "O"}
COLORS = {0: (255, 255, 255), ME: (230, 60, 50), OTHER: (250, 200, 40)}
BLUE, CELL = (40, 80, 190), 40  # pixels


class Board:
    """The rules: discs of two players, 1 and -1, fall to the bottom of columns.

    Attributes:
        cells: int8 (6, 7), the top row first: 1 and -1 for discs, 0 for empty cells.
    """

    def __init__(self) -> None:
        self.cells = np.zeros((ROWS, COLUMNS), np.int8)

    @property
    def open_columns(self) -> np.ndarray:
        """bool (7,): the columns that are not full."""
        return self.cells[0] == 0

    def drop(self, column: int, player: int) -> bool:
        """Drop a player's disc into an open column. Returns whether it makes four in a row."""
        row = int(np.flatnonzero(self.cells[:, column] == 0)[-1])
        self.cells[row, column] = player
        return any(
            1 + self._count(row, column, down, right) + self._count(row, column, -down, -right) >= TO_WIN
            for down, right in DIRECTIONS
        )

    def _count(self, row: int, column: int, down: int, right: int) -> int:
        """Count the discs that follow this one, of its player and without a gap, in one direction."""
        player, count = self.cells[row, column], 0
        while True:
            row, column = row + down, column + right
            if not (0 <= row < ROWS and 0 <= column < COLUMNS and self.cells[row, column] == player):
                return count
            count += 1

    def seen_by(self, player: int) -> np.ndarray:
        """The board from one side: uint8 (6, 7, 2), the player's discs and the other's."""
        return np.stack([self.cells == player, self.cells == -player], axis=2).astype(np.uint8)


class ConnectFour(gym.Env):
    """Connect Four: two players in turn drop a disc into one of seven columns, and four in a row win.

    ## Description
    The rows may be horizontal, vertical or diagonal, on a board of six rows. A coin toss decides who begins. What the
    opponent does is a part of the environment: its answer comes in the same step.

    ## Action Space
    `Discrete(7)`: the column. `info["action_mask"]`, int8 (7,), marks those that are not full.

    ## Observation Space
    `Box(0, 1, (6, 7, 2), uint8)`: the player's discs and the opponent's, the top row first. An opponent sees its own
    discs first, so one network plays both sides.

    ## Rewards
    1 for a won game, -1 for a lost one, else 0.

    ## Starting State
    An empty board, or one disc of the opponent.

    ## Episode End
    Terminated when a player has four in a row or the board is full. `info["is_success"]` says whether the player won.

    ## Arguments
    - `opponent="random"`: "random", the path of a `.model` file, or of a folder of them (`examples.opponents`).
    - `render_mode=None`: "ansi" (text), "rgb_array" (240x280 pixels) or None.

    ## Version History
    - v0: first version.
    """

    metadata = {"render_modes": ["ansi", "rgb_array"], "render_fps": 1}

    def __init__(self, opponent: str = RANDOM, render_mode: str | None = None) -> None:
        self.observation_space = Box(0, 1, (ROWS, COLUMNS, 2), np.uint8)
        self.action_space = Discrete(COLUMNS)
        self.render_mode = render_mode
        numbers = np.arange(ROWS * COLUMNS * 2)
        mirrored = numbers.reshape(ROWS, COLUMNS, 2)[:, ::-1].ravel()
        signs, columns = np.ones(len(numbers), np.int8), np.arange(COLUMNS)
        self.symmetries = [(numbers, signs, columns), (mirrored, signs, columns[::-1].copy())]
        self._opponent = Opponent(opponent, self)
        self._board = Board()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Clear the board. If the opponent begins, it moves now."""
        super().reset(seed=seed)
        self._board = Board()
        self._opponent.begin(self.np_random)
        if self.np_random.random() < 0.5:
            self._move_of_opponent()
        return self._board.seen_by(ME), self._info()

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Drop a disc into a column. The opponent answers.

        Raises:
            ValueError: the column is full.
        """
        if not self._board.open_columns[action]:
            raise ValueError(f"column {action} is full")
        reward = 0.0
        if self._board.drop(int(action), ME):
            reward = 1.0
        elif self._board.open_columns.any() and self._move_of_opponent():
            reward = -1.0
        terminated = reward != 0 or not self._board.open_columns.any()
        info = {**self._info(), "is_success": reward > 0} if terminated else self._info()
        return self._board.seen_by(ME), reward, terminated, False, info

    def render(self) -> str | np.ndarray:
        """Draw the board as text (X is the player), or as an image, uint8 (240, 280, 3), in which the player is red."""
        cells = self._board.cells
        if self.render_mode == "ansi":
            return "\n".join(" ".join(SIGNS[cell] for cell in row) for row in cells.tolist())
        distances = np.arange(CELL) - (CELL - 1) / 2
        is_disc = np.hypot(distances, distances[:, None]) < 0.42 * CELL
        colors = np.array([[COLORS[cell] for cell in row] for row in cells.tolist()], np.uint8)
        pixels = colors.repeat(CELL, axis=0).repeat(CELL, axis=1)
        return np.where(np.tile(is_disc, cells.shape)[:, :, None], pixels, np.array(BLUE, np.uint8))

    def _move_of_opponent(self) -> bool:
        """Let the opponent move. Returns whether it wins."""
        column = self._opponent.act(self._board.seen_by(OTHER), self._board.open_columns, self.np_random)
        return self._board.drop(column, OTHER)

    def _info(self) -> dict[str, Any]:
        return {"action_mask": self._board.open_columns.astype(np.int8)}
