"""The truth about Blob: its optimum by dynamic programming, and what a given policy earns. It judges, nothing learns
from it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from blob_env import ENEMY, FOOD, MOVES, PLAYER, BlobRules
from config import Config

MAX_STEPS = 200  # after which Blob truncates an episode


TABLE_CELLS = 250_000  # of one table of values; 9 as many of one of Q-values


TOLERANCE = 1e-5  # in reward, at which value iteration stops


def is_solvable(config: Config) -> bool:
    """Whether the optimum of the settings' environment is known: Blob's is, as long as food and enemy stand still."""
    moving = config.env_args.get("food_moves") or config.env_args.get("enemy_moves")
    seen_and_timed_as_solved = config.frame_stack == 1 and config.max_episode_steps in (None, MAX_STEPS)
    return config.env == "Blob-v0" and not moving and seen_and_timed_as_solved


def percent_of_optimum(mean: float, random: float, optimum: float) -> float:
    """Where a mean return lies between random play's (0) and the optimum's (100)."""
    return 100 * (mean - random) / (optimum - random)


class Games:
    """m games that differ in where food and enemy stand; both stand still, so each has one state for every cell that
    the player may be on. Tables have the shape (cells, m), the player's cell first.

    Args:
        rules: of a static Blob.
        foods: int (m,), cells x * size + y.
        enemies: int (m,), cells.
        reward_clip: largest size of a reward, 0 for no bound.

    Raises:
        ValueError: food or enemy moves.
    """

    def __init__(self, rules: BlobRules, foods: np.ndarray, enemies: np.ndarray, reward_clip: float = 0.0) -> None:
        _check_static(rules)
        self._size, n_cells, games = rules.size, rules.size**2, np.arange(len(foods))
        cells = np.stack(np.divmod(np.arange(n_cells), rules.size), axis=1)
        moved = np.clip(cells[:, None] + MOVES, 0, rules.size - 1)
        self._next_cells = moved @ (rules.size, 1)  # (cells, actions)
        # Reward on arriving at a cell, and whether the game goes on there.
        self._rewards = np.full((n_cells, len(foods)), rules.move_reward, np.float32)
        self._rewards[foods, games] = rules.food_reward
        self._rewards[enemies, games] = rules.enemy_reward
        if reward_clip:
            self._rewards = np.clip(self._rewards, -reward_clip, reward_clip)
        self._goes_on = np.ones((n_cells, len(foods)), np.float32)
        self._goes_on[foods, games] = self._goes_on[enemies, games] = 0

    def backup(self, values: np.ndarray, discount: float) -> np.ndarray:
        """Q(s, a) = r + discount * V(s'): from values (cells, m) to Q-values (cells, actions, m)."""
        return (self._rewards + discount * self._goes_on * values)[self._next_cells]

    def optimal_q_values(self, discount: float) -> np.ndarray:
        """Q*: float32 (cells, actions, m), by value iteration (Sutton & Barto 2018, eq. 4.10).

        At discount 1 only `MAX_STEPS` steps are looked ahead, for as many an episode has.
        """
        values = np.zeros_like(self._rewards)
        for _ in range(MAX_STEPS) if discount == 1 else iter(int, 1):
            q_values = self.backup(values, discount)
            before, values = values, q_values.max(axis=1)
            if np.abs(values - before).max() < TOLERANCE:
                break
        return q_values

    def optimal_steps(self, q_values: np.ndarray) -> np.ndarray:
        """float32 (cells, m): the fewest steps in which best play ends, or 200. `q_values` at discount 1."""
        best = q_values >= q_values.max(axis=1, keepdims=True) - TOLERANCE
        steps = np.full_like(self._rewards, MAX_STEPS)
        for _ in range(MAX_STEPS):
            then = 1 + (self._goes_on * steps)[self._next_cells]
            before, steps = steps, np.minimum(np.where(best, then, MAX_STEPS).min(axis=1), MAX_STEPS)
            if (steps == before).all():
                break
        return steps

    def steps_after(self, q_values: np.ndarray) -> np.ndarray:
        """float32 (cells, actions, m): the steps to the end with every action first, and best play then."""
        return 1 + (self._goes_on * self.optimal_steps(q_values))[self._next_cells]

    def random_returns(self) -> np.ndarray:
        """float32 (cells, m): the expected undiscounted return of uniformly random play, stopped after 200 steps.

        A random move is a random step of -1, 0 or 1 along each axis for itself, so its mean is one of rows and columns.
        """
        size, games = self._size, self._rewards.shape[1]
        step = np.zeros((size, size), np.float32)  # [i, j]: the chance that a step from i ends in j
        for offset in (-1, 0, 1):
            step[np.arange(size), np.clip(np.arange(size) + offset, 0, size - 1)] += 1 / 3
        values = np.zeros_like(self._rewards)
        for _ in range(MAX_STEPS):
            arrived = (self._rewards + self._goes_on * values).reshape(size, -1)
            values = (step @ (step @ arrived).reshape(size, size, games)).reshape(-1, games)
        return values


def _check_static(rules: BlobRules) -> None:
    if rules.food_moves or rules.enemy_moves:
        raise ValueError("only a Blob whose food and enemy stand still can be solved")


def start_means(rules: BlobRules, positions: np.ndarray) -> tuple[float, float]:
    """The mean undiscounted returns of random and of optimal play from these starts, int64 (n, 3, 2).

    Raises:
        ValueError: food or enemy moves.
    """
    truth = [_truth(rules, cells)[:2] for _, cells in _chunks(rules, positions)]
    random, optimum = (np.concatenate(each) for each in zip(*truth, strict=True))
    return float(random.mean(dtype=np.float64)), float(optimum.mean(dtype=np.float64))


def cells_of(rules: BlobRules, positions: np.ndarray) -> np.ndarray:
    """int64 (n, 3): the cells x * size + y of player, food and enemy."""
    return positions @ np.array([rules.size, 1])


def _chunks(rules: BlobRules, positions: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Starts by their games, as many games at a time as tables may be large: their numbers (k,) and cells (k, 3)."""
    cells = cells_of(rules, positions)
    games, of_start = np.unique(cells[:, FOOD] * rules.size**2 + cells[:, ENEMY], return_inverse=True)
    order = np.argsort(of_start, kind="stable")
    at_a_time = max(1, TABLE_CELLS // rules.size**2)
    for first in range(0, len(games), at_a_time):
        low, high = np.searchsorted(of_start[order], (first, first + at_a_time))
        yield order[low:high], cells[order[low:high]]


def _games(
    rules: BlobRules, cells: np.ndarray, reward_clip: float = 0.0
) -> tuple[Games, tuple[np.ndarray, np.ndarray]]:
    """The games that these starts, cells (k, 3), belong to, and where the starts stand in the games' tables."""
    pairs, game = np.unique(cells[:, FOOD:], axis=0, return_inverse=True)
    foods, enemies = pairs.T
    return Games(rules, foods, enemies, reward_clip), (cells[:, PLAYER], game.ravel())


def _truth(rules: BlobRules, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """From each of the starts, cells (k, 3): the return of random and of best play, and the latter's fewest steps."""
    games, state = _games(rules, cells)
    q_values = games.optimal_q_values(1.0)
    return games.random_returns()[state], q_values.max(axis=1)[state], games.optimal_steps(q_values)[state]
