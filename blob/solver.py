"""Solves Blob exactly, by dynamic programming. The answer judges agents; no agent learns from it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from blob_env import ENEMY, FOOD, MOVES, PLAYER, BlobRules
from config import Config

MAX_STEPS = 200  # the time limit of Blob-v0
TABLE_CELLS = 250_000  # numbers in one table of values; a table of Q-values holds nine times as many
TOLERANCE = 1e-5  # value iteration stops when no value changes by more


def is_solvable(config: Config) -> bool:
    """Say whether the optimum is known: in Blob-v0 as registered, if food and enemy stand still."""
    moving = config.env_args.get("food_moves") or config.env_args.get("enemy_moves")
    as_registered = config.frame_stack == 1 and config.max_episode_steps in (None, MAX_STEPS)
    return config.env == "Blob-v0" and not moving and as_registered


def percent_of_optimum(mean: float, random: float, optimum: float) -> float:
    """Place a mean return on the scale from random play (0) to optimal play (100)."""
    return 100 * (mean - random) / (optimum - random)


class Games:
    """A set of m games, solved together. They differ in where food and enemy stand.

    Food and enemy stand still, so a game has one state for every cell of the player. Tables have the shape (cells, m),
    the player's cell first.

    Args:
        rules: of a Blob whose food and enemy stand still.
        foods: int (m,), cells x * size + y.
        enemies: int (m,), cells.
        reward_clip: clips rewards to [-reward_clip, reward_clip]; 0 does not clip.

    Raises:
        ValueError: the rules let food or enemy move.
    """

    def __init__(self, rules: BlobRules, foods: np.ndarray, enemies: np.ndarray, reward_clip: float = 0.0) -> None:
        check_static(rules)
        self._size, n_cells, games = rules.size, rules.size**2, np.arange(len(foods))
        cells = np.stack(np.divmod(np.arange(n_cells), rules.size), axis=1)
        moved = np.clip(cells[:, None] + MOVES, 0, rules.size - 1)
        self._next_cells = moved @ (rules.size, 1)  # (cells, actions)
        # The reward for entering a cell, and whether the game goes on from there.
        self._rewards = np.full((n_cells, len(foods)), rules.move_reward, np.float32)
        self._rewards[foods, games] = rules.food_reward
        self._rewards[enemies, games] = rules.enemy_reward
        if reward_clip:
            self._rewards = np.clip(self._rewards, -reward_clip, reward_clip)
        self._goes_on = np.ones((n_cells, len(foods)), np.float32)
        self._goes_on[foods, games] = self._goes_on[enemies, games] = 0

    def backup(self, values: np.ndarray, discount: float) -> np.ndarray:
        """Compute Q(s, a) = r + discount * V(s'), from values (cells, m) to Q-values (cells, actions, m)."""
        return (self._rewards + discount * self._goes_on * values)[self._next_cells]

    def optimal_q_values(self, discount: float) -> np.ndarray:
        """Compute Q*, float32 (cells, actions, m), by value iteration (Sutton & Barto 2018, eq. 4.10).

        Without discounting it looks `MAX_STEPS` steps ahead, the length of an episode.
        """
        values = np.zeros_like(self._rewards)
        for _ in range(MAX_STEPS) if discount == 1 else itertools.count():
            q_values = self.backup(values, discount)
            before, values = values, q_values.max(axis=1)
            if np.abs(values - before).max() < TOLERANCE:
                break
        return q_values

    def optimal_steps(self, q_values: np.ndarray) -> np.ndarray:
        """Count the fewest steps in which optimal play ends, float32 (cells, m), at most `MAX_STEPS`.

        Args:
            q_values: Q* at discount 1, float32 (cells, actions, m).
        """
        best = q_values >= q_values.max(axis=1, keepdims=True) - TOLERANCE
        steps = np.full_like(self._rewards, MAX_STEPS)
        for _ in range(MAX_STEPS):
            then = 1 + (self._goes_on * steps)[self._next_cells]
            before, steps = steps, np.minimum(np.where(best, then, MAX_STEPS).min(axis=1), MAX_STEPS)
            if (steps == before).all():
                break
        return steps

    def steps_after(self, q_values: np.ndarray) -> np.ndarray:
        """Count the steps of taking each action and playing optimally from there, float32 (cells, actions, m)."""
        return 1 + (self._goes_on * self.optimal_steps(q_values))[self._next_cells]

    def random_returns(self) -> np.ndarray:
        """Compute the expected undiscounted return of uniformly random play, float32 (cells, m).

        A random move is an independent step of -1, 0 or 1 along each axis, so its expectation is a product of two
        matrices, one for rows and one for columns.
        """
        size, games = self._size, self._rewards.shape[1]
        step = np.zeros((size, size), np.float32)  # [i, j]: the probability of a step from i to j
        for offset in (-1, 0, 1):
            step[np.arange(size), np.clip(np.arange(size) + offset, 0, size - 1)] += 1 / 3
        values = np.zeros_like(self._rewards)
        for _ in range(MAX_STEPS):
            arrived = (self._rewards + self._goes_on * values).reshape(size, -1)
            values = (step @ (step @ arrived).reshape(size, size, games)).reshape(-1, games)
        return values


def check_static(rules: BlobRules) -> None:
    """Check that food and enemy stand still.

    Raises:
        ValueError: one of them moves.
    """
    if rules.food_moves or rules.enemy_moves:
        raise ValueError("only a Blob whose food and enemy stand still can be solved")


def cells_of(rules: BlobRules, positions: np.ndarray) -> np.ndarray:
    """Number the cells x * size + y of player, food and enemy: from positions (n, 3, 2) to int64 (n, 3)."""
    return positions @ np.array([rules.size, 1])


def games_of_starts(
    rules: BlobRules, cells: np.ndarray, reward_clip: float = 0.0
) -> tuple[Games, tuple[np.ndarray, np.ndarray]]:
    """Set up the games of these starts, cells int64 (k, 3). Returns them with the index of every start in a table."""
    pairs, game = np.unique(cells[:, FOOD] * rules.size**2 + cells[:, ENEMY], return_inverse=True)
    return Games(rules, *np.divmod(pairs, rules.size**2), reward_clip), (cells[:, PLAYER], game)


def split_by_game(rules: BlobRules, positions: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Split starts into parts, each with as many whole games as `TABLE_CELLS` allows.

    Args:
        rules: the size of the board.
        positions: int64 (n, 3, 2), the starts.

    Yields:
        The indices of k starts, int64 (k,), and their cells, int64 (k, 3).
    """
    cells = cells_of(rules, positions)
    games, game_of_start = np.unique(cells[:, FOOD] * rules.size**2 + cells[:, ENEMY], return_inverse=True)
    order = np.argsort(game_of_start, kind="stable")
    at_a_time = max(1, TABLE_CELLS // rules.size**2)
    for first in range(0, len(games), at_a_time):
        low, high = np.searchsorted(game_of_start[order], (first, first + at_a_time))
        yield order[low:high], cells[order[low:high]]


def solve_starts(rules: BlobRules, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Solve starts, cells int64 (k, 3).

    Returns:
        float32 (k,) each: the returns of random and of optimal play, and the fewest steps of optimal play.
    """
    games, index = games_of_starts(rules, cells)
    q_values = games.optimal_q_values(1.0)
    return games.random_returns()[index], q_values.max(axis=1)[index], games.optimal_steps(q_values)[index]


def start_returns(rules: BlobRules, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the undiscounted returns of random and of optimal play from these starts, int64 (n, 3, 2).

    Returns:
        float64 (n,) each.

    Raises:
        ValueError: food or enemy moves.
    """
    random, optimum = np.zeros(len(positions)), np.zeros(len(positions))
    for indices, cells in split_by_game(rules, positions):
        random[indices], optimum[indices], _ = solve_starts(rules, cells)
    return random, optimum


def start_means(rules: BlobRules, positions: np.ndarray) -> tuple[float, float]:
    """Average `start_returns`."""
    random, optimum = start_returns(rules, positions)
    return float(random.mean()), float(optimum.mean())
