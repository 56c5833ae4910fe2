"""Judges how well a policy plays Blob, over all starts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from blob.solver import (
    MAX_STEPS,
    cells_of,
    check_static,
    games_of_starts,
    is_solvable,
    percent_of_optimum,
    solve_starts,
    split_by_game,
)
from blob_env import BlobEnv, BlobRules
from console.errors import InputError
from environments.spaces import QValues
from environments.symmetry import Symmetry, mean_over_symmetries
from storage.loading import load_q_values, make_saved_env
from storage.model_file import SavedModel

MOST_STARTS = 1_000_000  # a board with more is judged by a sample
SAMPLE_SIZE = 10_000  # starts in the sample
BATCH, BATCH_CELLS = 2_000, 5_000_000  # boards, and cells on them, that a network evaluates in one call
PART = 100_000  # starts whose views are averaged at a time, to save memory


@dataclass(frozen=True)
class Outcomes:
    """How the episodes from n starts ended. Episodes neither won nor lost were truncated after 200 steps.

    Attributes:
        returns: float64 (n,), undiscounted.
        steps: int64 (n,).
        won, lost: bool (n,).
    """

    returns: np.ndarray
    steps: np.ndarray
    won: np.ndarray
    lost: np.ndarray


@dataclass(frozen=True)
class Judgement:
    """How well a network plays, compared with optimal and with random play from the same starts.

    Attributes:
        n_starts: the number of starts judged.
        exact: whether these are all starts of the board. If not, they are a random sample.
        mean, random, optimum: mean undiscounted returns of the network, of random play and of optimal play.
        steps, optimal_steps: mean lengths of the network's episodes and of optimal ones.
        won, lost, never_ending: numbers of starts by outcome.
        optimal: the number of starts from which the network earns the optimal return.
        q_error_mean, q_error_max: mean and maximum of |Q - Q*| over starts and actions.
        overestimation: mean of max_a Q - max_a Q* over starts.
    """

    n_starts: int
    exact: bool
    mean: float
    random: float
    optimum: float
    steps: float
    optimal_steps: float
    won: int
    lost: int
    never_ending: int
    optimal: int
    q_error_mean: float
    q_error_max: float
    overestimation: float

    @property
    def percent_of_optimum(self) -> float:
        """The network's mean return on the scale from random play (0) to optimal play (100)."""
        return percent_of_optimum(self.mean, self.random, self.optimum)

    def table(self) -> str:
        """Write the judgement as lines of text."""
        n = self.n_starts
        counts = (("won", self.won), ("lost", self.lost), ("never ending", self.never_ending))
        return "\n".join(
            [
                f"{'exact, over all' if self.exact else 'sampled,'} {n:,} starts",
                f"{'mean return':19} {self.mean:.4f} (random play {self.random:.4f}, optimum {self.optimum:.4f})",
                f"{'percent of optimum':19} {self.percent_of_optimum:.3f}",
                f"{'mean steps':19} {self.steps:.3f} (optimum {self.optimal_steps:.3f})",
                *(f"{name:19} {count:,} ({count / n:.4%})" for name, count in counts),
                f"{'played optimally':19} {self.optimal:,} ({self.optimal / n:.3%})",
                f"{'|Q - Q*|':19} mean {self.q_error_mean:.3f}, max {self.q_error_max:.2f}",
                f"{'overestimation':19} {self.overestimation:+.3f} (mean of max Q - max Q*)",
            ]
        )


def judge_model(saved: SavedModel) -> Judgement:
    """Judge a saved model.

    Raises:
        InputError: the model plays no solvable Blob, or its environment or weights cannot be loaded.
    """
    config = saved.info.config
    if not is_solvable(config):
        options = f" with {config.env_args}" if config.env_args else ""
        raise InputError(
            "--exact needs a Blob-v0 of 200 steps whose food and enemy stand still, "
            f"{saved.path} plays {config.env}{options}"
        )
    with closing(make_saved_env(saved)) as env:
        blob = env.unwrapped
        assert isinstance(blob, BlobEnv)
        # A sample is played step by step, in batches that shrink.
        in_bulk = blob.rules.n_starts <= MOST_STARTS
        q_values = load_q_values(saved, env, averaged=False, in_bulk=in_bulk)
    return judge(blob.rules, q_values, config.discount, config.reward_clip, config.symmetries)


def judge(
    rules: BlobRules,
    q_values: QValues,
    discount: float,
    reward_clip: float = 0.0,
    symmetries: bool = False,
    seed: int = 0,
) -> Judgement:
    """Judge greedy play with these Q-values, from all starts, or from a random sample if there are too many.

    Args:
        rules: of a Blob whose food and enemy stand still, with any observation.
        q_values: from observations (batch, ...) to Q-values (batch, 9).
        discount, reward_clip: those of the training run. They only affect the comparison with Q*.
        symmetries: whether to judge the mean of `q_values` over the eight symmetries of the board.
        seed: of the sample.

    Raises:
        ValueError: food or enemy moves.
    """
    check_static(rules)
    exact = rules.n_starts <= MOST_STARTS
    sample = np.random.default_rng(seed).integers(rules.n_starts, size=SAMPLE_SIZE)
    positions = rules.start_positions(np.arange(rules.n_starts) if exact else sample)
    play = _play_all_starts if exact else _play_sample
    values, outcomes = play(rules, q_values, positions, symmetries)
    parts = [
        (indices, *solve_starts(rules, cells), *_q_errors(rules, cells, values[indices], discount, reward_clip))
        for indices, cells in split_by_game(rules, positions)
    ]
    return _summarise(exact, outcomes, *map(np.concatenate, zip(*parts, strict=True)))


def _play_all_starts(
    rules: BlobRules, q_values: QValues, positions: np.ndarray, symmetries: bool
) -> tuple[np.ndarray, Outcomes]:
    """Play from all starts. Returns their Q-values (n_starts, 9) and how the episodes ended."""
    values = q_values_of_boards(rules, q_values, positions)
    if symmetries:
        values = _mean_over_views(rules, positions, values)
    return values, play_table(rules, positions, values.argmax(axis=1))


def _play_sample(
    rules: BlobRules, q_values: QValues, positions: np.ndarray, symmetries: bool
) -> tuple[np.ndarray, Outcomes]:
    """Play from these starts only. Returns their Q-values (n, 9) and how the episodes ended."""
    if symmetries:
        q_values = mean_over_symmetries(q_values, _views(rules))
    outcomes = play_policy(rules, positions, lambda boards: q_values_of_boards(rules, q_values, boards).argmax(axis=1))
    return q_values_of_boards(rules, q_values, positions), outcomes


def _q_errors(
    rules: BlobRules, cells: np.ndarray, values: np.ndarray, discount: float, reward_clip: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compare Q-values (k, 9) of starts, cells (k, 3), with Q*. Returns the mean and the maximum of |Q - Q*| over the
    actions, and max_a Q - max_a Q*, (k,) each."""
    games, (players, game) = games_of_starts(rules, cells, reward_clip)
    optimal = games.optimal_q_values(discount)[players, :, game]
    errors = np.abs(values - optimal)
    return errors.mean(axis=1), errors.max(axis=1), values.max(axis=1) - optimal.max(axis=1)


def _summarise(exact: bool, outcomes: Outcomes, order: np.ndarray, *solved: np.ndarray) -> Judgement:
    """Average over the starts. `solved` holds the results of `solve_starts` and `_q_errors` for `outcomes[order]`."""
    random, optimum, optimal_steps, errors, largest_errors, gaps = solved
    return Judgement(
        n_starts=len(order),
        exact=exact,
        mean=_mean(outcomes.returns),
        random=_mean(random),
        optimum=_mean(optimum),
        steps=_mean(outcomes.steps),
        optimal_steps=_mean(optimal_steps),
        won=int(outcomes.won.sum()),
        lost=int(outcomes.lost.sum()),
        never_ending=int((~outcomes.won & ~outcomes.lost).sum()),
        optimal=int((outcomes.returns[order] >= optimum - 1e-3).sum()),
        q_error_mean=_mean(errors),
        q_error_max=float(largest_errors.max()),
        overestimation=_mean(gaps),
    )


def _mean(numbers: np.ndarray) -> float:
    return float(numbers.mean(dtype=np.float64))


def q_values_of_boards(rules: BlobRules, q_values: QValues, positions: np.ndarray) -> np.ndarray:
    """Compute the Q-values (n, 9) of boards, int64 (n, 3, 2), in batches that fit into memory."""
    batch = max(1, min(BATCH, BATCH_CELLS // rules.size**2))
    parts = (positions[i : i + batch] for i in range(0, len(positions), batch))
    return np.concatenate([q_values(rules.observe(boards)) for boards in parts])


def _views(rules: BlobRules) -> list[Symmetry]:
    return [Symmetry(*one) for one in rules.symmetries()]


def _mean_over_views(rules: BlobRules, positions: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Average the Q-values (n_starts, 9) of all starts over the eight symmetries.

    Every view of a start is a start too, so its Q-values are in the table already.
    """
    numbers, cells = _start_numbers(rules, positions), cells_of(rules, positions)
    mean = np.zeros_like(values)
    views = _views(replace(rules, observation="cells"))
    for first in range(0, len(cells), PART):
        part = slice(first, first + PART)
        for view in views:
            mean[part] += values[numbers[tuple(view.observations(cells[part]).T)]][:, view.actions] / len(views)
    return mean


def _start_numbers(rules: BlobRules, positions: np.ndarray) -> np.ndarray:
    """Index all starts by the cells of player, food and enemy: int32 (cells, cells, cells)."""
    numbers = np.zeros((rules.size**2,) * 3, np.int32)
    numbers[tuple(cells_of(rules, positions).T)] = np.arange(len(positions))
    return numbers


def play_policy(rules: BlobRules, positions: np.ndarray, policy: Callable[[np.ndarray], np.ndarray]) -> Outcomes:
    """Play a policy from these starts.

    Args:
        rules: of a Blob whose food and enemy stand still.
        positions: int64 (n, 3, 2), the starts.
        policy: from positions (k, 3, 2) to actions (k,).
    """

    def step(boards: np.ndarray) -> tuple[np.ndarray, ...]:
        boards = boards.copy()
        return (boards, *rules.step(boards, policy(boards), ()))

    return play_out(positions, step)


def play_table(rules: BlobRules, positions: np.ndarray, actions: np.ndarray) -> Outcomes:
    """Play a table of actions from all starts.

    A step leads from a start to another start or ends the episode, so one step from each is enough: the rest is
    looked up.

    Args:
        rules: of a Blob whose food and enemy stand still.
        positions: int64 (n_starts, 3, 2), all starts in their order.
        actions: int (n_starts,), the action at every start.
    """
    after = positions.copy()
    rewards, won, lost = rules.step(after, actions, ())
    next_starts = _start_numbers(rules, positions)[tuple(cells_of(rules, after).T)]  # meaningless after the end
    return play_out(
        np.arange(len(positions)), lambda starts: (next_starts[starts], rewards[starts], won[starts], lost[starts])
    )


def play_out(states: np.ndarray, step: Callable[[np.ndarray], tuple[np.ndarray, ...]]) -> Outcomes:
    """Play from every state to the end of the episode, for 200 steps at most.

    Args:
        states: (n, ...), where the episodes start.
        step: from states (k, ...) to the next states (k, ...), rewards, won and lost (k,).
    """
    states, going = states.copy(), np.arange(len(states))
    returns, steps = np.zeros(len(states)), np.zeros(len(states), np.int64)
    won, lost = np.zeros(len(states), bool), np.zeros(len(states), bool)
    for _ in range(MAX_STEPS):
        states[going], rewards, won[going], lost[going] = step(states[going])
        returns[going] += rewards
        steps[going] += 1
        going = going[~(won | lost)[going]]
        if not len(going):
            break
    return Outcomes(returns, steps, won, lost)
