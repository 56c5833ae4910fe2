"""How well a policy plays Blob, over all starts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np

from blob.solver import MAX_STEPS, _check_static, _chunks, _games, _truth, cells_of, is_solvable, percent_of_optimum
from blob_env import BlobEnv, BlobRules
from console.errors import InputError
from environments.spaces import QValues
from environments.symmetry import Symmetry, mean_over_symmetries
from storage.loading import load_one_view, make_saved_env
from storage.model_file import SavedModel

MOST_STARTS = 1_000_000  # more are judged by a sample


SAMPLE = 10_000


BATCH, BATCH_CELLS = 2_000, 5_000_000  # boards, and cells of boards, that a network is asked about at a time


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
        symmetries: whether the mean of `q_values` over Blob's eight views is judged instead.
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
        q_values = mean_over_symmetries(q_values, [Symmetry(*one) for one in rules.symmetries()])

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
    """Average a network's Q-values (n_starts, 9) of all starts over the eight views, each of which is a start too."""
    numbers, cells = _numbers(rules, positions), cells_of(rules, positions)
    mean = np.zeros_like(network)
    views = [Symmetry(*one) for one in replace(rules, observation="cells").symmetries()]
    for view in views:
        mean += network[numbers[tuple(view.observations(cells).T)]][:, view.actions] / len(views)
    return mean


def _q_errors(
    rules: BlobRules, cells: np.ndarray, network: np.ndarray, discount: float, reward_clip: float
) -> tuple[np.ndarray, np.ndarray]:
    """Of a network's Q-values (k, 9) of the starts, cells (k, 3): |Q - Q*| (k, 9) and max_a Q - max_a Q* (k,)."""
    games, (players, game) = _games(rules, cells, reward_clip)
    optimal = games.optimal_q_values(discount)[players, :, game]
    return np.abs(network - optimal), network.max(axis=1) - optimal.max(axis=1)


def judge_model(saved: SavedModel) -> Judgement:
    """Judge a saved model over all starts of its board, or over a sample where these are too many.

    Raises:
        InputError: it is no model of a Blob whose food and enemy stand still.
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
        q_values = load_one_view(saved, env)
    return judge(blob.rules, q_values, config.discount, config.reward_clip, config.symmetries)
