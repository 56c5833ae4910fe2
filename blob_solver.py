"""The truth about Blob: its optimum by dynamic programming, and what a given policy earns. It judges, nothing learns
from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from blob_env import ENEMY, FOOD, MOVES, PLAYER, BlobRules
from config import Config
from spaces import QValues
from symmetry import mean_over_views

MAX_STEPS = 200  # after which Blob truncates an episode
MOST_STARTS = 1_000_000  # more are judged by a sample
SAMPLE = 10_000
BATCH, BATCH_CELLS = 2_000, 5_000_000  # boards, and cells of boards, that a network is asked about at a time
TABLE_CELLS = 250_000  # of one table of values; 9 as many of one of Q-values
TOLERANCE = 1e-5  # in reward, at which value iteration stops

Policy = Callable[[np.ndarray], np.ndarray]
Step = Callable[[np.ndarray], tuple[np.ndarray, ...]]


@dataclass(frozen=True)
class Outcomes:
    """What playing from n starts came to: float64 returns and int64 steps of shape (n,), bool won and lost of shape
    (n,). What is neither never ended: it was stopped after 200 steps."""

    returns: np.ndarray
    steps: np.ndarray
    won: np.ndarray
    lost: np.ndarray


@dataclass(frozen=True)
class Judgement:
    """How a network plays, beside the best and uniformly random play from the same starts.

    Attributes:
        n_starts: starts judged; `exact` says whether these are all there are, else they were drawn at random.
        mean, random, optimum: mean undiscounted returns of the network's, of random and of optimal play.
        steps, optimal_steps: mean steps of an episode.
        won, lost, never_ending, optimal: counts of the starts; `optimal` earn as much as can be earned.
        q_error_mean, q_error_max: of |Q - Q*| over the starts and actions, at the run's discount and clipped rewards.
        overestimation: mean over the starts of max_a Q - max_a Q*, at the same.
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
        """Where the network's mean lies between random play's (0) and the optimum (100)."""
        return percent_of_optimum(self.mean, self.random, self.optimum)

    def table(self) -> str:
        """The judgement as lines of text."""
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


def follow(states: np.ndarray, step: Step) -> Outcomes:
    """Play from every start to its end, as the environment would, for 200 steps at most.

    Args:
        states: (n, ...), the starts.
        step: from states (k, ...) to the next states, rewards, won and lost (k,).
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


def asking(rules: BlobRules, policy: Policy) -> Step:
    """A step for `follow` whose states are positions (k, 3, 2), and which asks the policy every time."""

    def step(positions: np.ndarray) -> tuple[np.ndarray, ...]:
        positions = positions.copy()
        return (positions, *rules.step(positions, policy(positions), ()))

    return step


def looking_up(rules: BlobRules, positions: np.ndarray, actions: np.ndarray) -> Step:
    """A step for `follow` whose states are the numbers of all starts, int (k,), played once and looked up ever after.

    Args:
        rules: of a static Blob.
        positions: int64 (n_starts, 3, 2), of all starts in their order.
        actions: int (n_starts,), taken in each.
    """
    after = positions.copy()
    rewards, won, lost = rules.step(after, actions, ())
    then = _numbers(rules, positions)[tuple(cells_of(rules, after).T)]  # of no meaning where the game has ended
    return lambda starts: (then[starts], rewards[starts], won[starts], lost[starts])


def judge(
    rules: BlobRules,
    q_values: QValues,
    discount: float,
    reward_clip: float = 0.0,
    symmetries: bool = False,
    seed: int = 0,
) -> Judgement:
    """Judge the greedy play of a network over all starts, or over `SAMPLE` random ones where these are too many.

    Args:
        rules: of a static Blob, whatever its observation.
        q_values: from observations (batch, ...) to Q-values (batch, 9).
        discount: the run's.
        reward_clip: the run's, 0 for none; only what is said about Q depends on these two.
        symmetries: whether the mean of `q_values` over Blob's eight views is judged instead, see `mean_over_views`.
        seed: of the sample.

    Raises:
        ValueError: food or enemy moves.
    """
    _check_static(rules)
    exact = rules.n_starts <= MOST_STARTS
    sampled = np.random.default_rng(seed).integers(rules.n_starts, size=SAMPLE)
    starts = np.arange(rules.n_starts) if exact else sampled
    positions = rules.start_positions(starts)
    network, outcomes = _play(rules, q_values, positions, symmetries, exact)
    truth = [
        (order, *_truth(rules, cells), *_q_errors(rules, cells, network[order], discount, reward_clip))
        for order, cells in _chunks(rules, positions)
    ]
    order, random, optimum, optimal_steps, errors, gaps = (np.concatenate(each) for each in zip(*truth, strict=True))
    optimal = outcomes.returns[order] >= optimum - 1e-3
    return Judgement(
        n_starts=len(starts),
        exact=exact,
        mean=float(outcomes.returns.mean()),
        random=float(random.mean(dtype=np.float64)),
        optimum=float(optimum.mean(dtype=np.float64)),
        steps=float(outcomes.steps.mean()),
        optimal_steps=float(optimal_steps.mean(dtype=np.float64)),
        won=int(outcomes.won.sum()),
        lost=int(outcomes.lost.sum()),
        never_ending=int((~outcomes.won & ~outcomes.lost).sum()),
        optimal=int(optimal.sum()),
        q_error_mean=float(errors.mean(dtype=np.float64)),
        q_error_max=float(errors.max()),
        overestimation=float(gaps.mean(dtype=np.float64)),
    )


def _play(
    rules: BlobRules, q_values: QValues, positions: np.ndarray, symmetries: bool, exact: bool
) -> tuple[np.ndarray, Outcomes]:
    """The Q-values (n, 9) that a network gives these starts, and how its greedy play from them ends. `exact` says that
    they are all starts, in their order."""
    if symmetries and not exact:
        q_values = mean_over_views(q_values, rules.symmetries())

    network = ask(rules, q_values, positions)
    if not exact:
        return network, follow(positions, asking(rules, lambda boards: ask(rules, q_values, boards).argmax(axis=1)))
    if symmetries:
        network = _mean_over_views(rules, positions, network)
    return network, follow(np.arange(len(positions)), looking_up(rules, positions, network.argmax(axis=1)))


def ask(rules: BlobRules, q_values: QValues, positions: np.ndarray) -> np.ndarray:
    """The Q-values (n, 9) of boards, int64 (n, 3, 2), as many at a time as memory bears."""
    batch = max(1, min(BATCH, BATCH_CELLS // rules.size**2))
    parts = (positions[i : i + batch] for i in range(0, len(positions), batch))
    return np.concatenate([q_values(rules.observe(boards)) for boards in parts])


def _numbers(rules: BlobRules, positions: np.ndarray) -> np.ndarray:
    """int32 (cells, cells, cells): the number of the start with player, food and enemy on these cells, all given."""
    numbers = np.zeros((rules.size**2,) * 3, np.int32)
    numbers[tuple(cells_of(rules, positions).T)] = np.arange(len(positions))
    return numbers


def _mean_over_views(rules: BlobRules, positions: np.ndarray, network: np.ndarray) -> np.ndarray:
    """What `symmetry.mean_over_views` makes of a network's Q-values (n_starts, 9) of all starts. A start's look from
    another view is another start, whose values are at hand."""
    numbers, cells = _numbers(rules, positions), cells_of(rules, positions)
    mean = np.zeros_like(network)
    views = replace(rules, observation="cells").symmetries()
    for view in views:
        mean += network[numbers[tuple(view.observations(cells).T)]][:, view.actions] / len(views)
    return mean


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


def _q_errors(
    rules: BlobRules, cells: np.ndarray, network: np.ndarray, discount: float, reward_clip: float
) -> tuple[np.ndarray, np.ndarray]:
    """Of a network's Q-values (k, 9) of the starts, cells (k, 3): |Q - Q*| (k, 9) and max_a Q - max_a Q* (k,)."""
    games, (players, game) = _games(rules, cells, reward_clip)
    optimal = games.optimal_q_values(discount)[players, :, game]
    return np.abs(network - optimal), network.max(axis=1) - optimal.max(axis=1)
