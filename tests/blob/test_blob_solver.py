"""The solver against brute force (all move sequences, breadth-first search, recursion), and the judge."""

import functools
import itertools
from collections import deque
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from blob.judge import SAMPLE_SIZE, Judgement, judge, judge_model, play_policy, play_table
from blob.solver import Games, cells_of, percent_of_optimum, start_means
from blob_env import MOVES, BlobEnv, BlobRules
from config import Config
from console.errors import InputError
from environments.symmetry import Symmetry, mean_over_symmetries


def all_starts(rules: BlobRules) -> np.ndarray:
    return rules.start_positions(np.arange(rules.n_starts))


def solved(rules: BlobRules, discount: float = 1.0, reward_clip: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Solve every start as a game of its own: Q* (n, 9) and the fewest steps of optimal play (n,)."""
    player, food, enemy = cells_of(rules, all_starts(rules)).T
    games = Games(rules, food, enemy, reward_clip)
    q_values = games.optimal_q_values(discount)
    return q_values[player, :, np.arange(len(player))], games.optimal_steps(q_values)[player, np.arange(len(player))]


def test_optimum_is_the_best_of_all_move_sequences() -> None:
    """Play all 9^4 sequences of four moves from each of the 504 starts of a 3x3 board, by the rules of the environment.

    From every start one of them ends on the food, so no longer sequence can be better."""
    rules = BlobRules(size=3)
    values, _ = solved(rules)
    sequences = np.array(list(itertools.product(range(9), repeat=4)))
    for start, best in zip(all_starts(rules), values.max(axis=1), strict=True):
        outcomes = [np.zeros(len(sequences)), np.zeros(len(sequences), bool), np.zeros(len(sequences), bool)]
        boards = np.tile(start, (len(sequences), 1, 1))
        for moves in sequences.T:
            going = ~(outcomes[1] | outcomes[2])
            rewards, won, lost = rules.step(boards, moves, ())
            outcomes = [outcomes[0] + going * rewards, outcomes[1] | (won & going), outcomes[2] | (lost & going)]
        assert outcomes[1].any()
        assert best == outcomes[0].max()


def shortest_path(size: int, player: int, food: int, enemy: int) -> int:
    """Count the steps to the food without touching the enemy, by breadth-first search."""
    distances, queue = {player: 0}, deque([player])
    while food not in distances:
        cell = queue.popleft()
        for dx, dy in MOVES.tolist():
            x, y = (min(max(z + d, 0), size - 1) for z, d in zip(divmod(cell, size), (dx, dy), strict=True))
            there = x * size + y
            if there != enemy and there not in distances:
                distances[there] = distances[cell] + 1
                queue.append(there)
    return distances[food]


@pytest.mark.parametrize("size", [2, 3, 4])
def test_optimum_is_the_shortest_path_around_the_enemy(size: int) -> None:
    rules = BlobRules(size=size)
    values, steps = solved(rules)
    expected = [shortest_path(size, *map(int, cells)) for cells in cells_of(rules, all_starts(rules))]
    np.testing.assert_array_equal(steps, expected)
    np.testing.assert_array_equal(values.max(axis=1), 26.0 - np.array(expected))  # 25 at the end, -1 before


@pytest.mark.parametrize(
    "rewards",
    [
        {"move_reward": 1.0},  # optimal play never ends: 200 steps of 1, or 199 and the food
        {"food_reward": -300.0},  # optimal play never ends
        {"enemy_reward": -3.0, "food_reward": -1.0, "move_reward": -2.0},
        {"enemy_reward": 9.0, "food_reward": 5.0, "move_reward": -0.5},  # reaching the enemy is better than the food
    ],
    ids=str,
)
def test_other_rewards_against_naive_recursion(rewards: dict[str, Any]) -> None:
    rules = BlobRules(size=3, **rewards)

    @functools.cache
    def best(player: int, food: int, enemy: int, steps_left: int) -> float:
        if not steps_left:
            return 0.0
        values = []
        for dx, dy in MOVES.tolist():
            x, y = (min(max(z + d, 0), 2) for z, d in zip(divmod(player, 3), (dx, dy), strict=True))
            there = x * 3 + y
            if there == enemy:
                values.append(rules.enemy_reward)
            elif there == food:
                values.append(rules.food_reward)
            else:
                values.append(rules.move_reward + best(there, food, enemy, steps_left - 1))
        return max(values)

    starts = all_starts(rules)[::29]
    player, food, enemy = cells_of(rules, starts).T
    games = Games(rules, food, enemy)
    found = games.optimal_q_values(1.0).max(axis=1)[player, np.arange(len(player))]
    for steps in range(200):
        for cells in zip(player.tolist(), food.tolist(), enemy.tolist(), strict=True):
            best(*cells, steps)  # fill the cache bottom up, to stay within Python's recursion limit
    expected = [best(*cells, 200) for cells in zip(player.tolist(), food.tolist(), enemy.tolist(), strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_discounted_and_clipped_q_values_by_hand() -> None:
    # 3x3, player in the corner (0,0), food in the opposite one, enemy in the middle; discount 0.5, rewards clipped to
    # 5. The path around takes three steps: (1,0), (2,1), food, or its mirror image. V(2,1) = V(1,2) = 5;
    # V(1,0) = V(0,1) = -1 + 0.5 * 5 = 1.5; V(0,0) = -1 + 0.5 * 1.5 = -0.25.
    rules = BlobRules(size=3)
    games = Games(rules, np.array([8]), np.array([4]), reward_clip=5.0)
    q_values = dict(zip(map(tuple, MOVES.tolist()), games.optimal_q_values(0.5)[0, :, 0].tolist(), strict=True))
    stays, goes = -1 + 0.5 * -0.25, -0.25
    expected = {(1, 1): -5.0, (1, 0): goes, (0, 1): goes, (1, -1): goes, (-1, 1): goes}  # clipped diagonals slide
    assert q_values == pytest.approx({move: expected.get(move, stays) for move in q_values}, abs=1e-4)


def test_random_returns_by_hand() -> None:
    # 2x2, food in (1,1), enemy in (0,1). A random step keeps a coordinate with probability 2/3, changes it with 1/3.
    # a = V(0,0) = 4/9 (a - 1) + 2/9 (-300) + 2/9 (b - 1) + 1/9 * 25, so 5a = 2b - 581;
    # b = V(1,0) = 4/9 (b - 1) + 2/9 * 25 + 2/9 (a - 1) - 1/9 * 300, so 5b = 2a - 256: b = -2442 / 21, a = -162.714.
    games = Games(BlobRules(size=2), np.array([3]), np.array([1]))
    assert games.random_returns()[:, 0][[0, 2]] == pytest.approx([-162.7143, -116.2857], abs=1e-3)


def test_random_returns_match_random_play() -> None:
    rules = BlobRules(size=5)
    generator = np.random.default_rng(0)
    positions = rules.start_positions(generator.integers(rules.n_starts, size=20_000))
    outcomes = play_policy(rules, positions, lambda boards: generator.integers(9, size=len(boards)))
    random, optimum = start_means(rules, positions)
    assert outcomes.returns.mean() == pytest.approx(random, abs=5 * outcomes.returns.std() / np.sqrt(20_000))
    assert 22 < optimum < 25


def test_play_stops_after_200_steps() -> None:
    rules = BlobRules(size=3)
    outcomes = play_policy(rules, all_starts(rules)[:5], lambda boards: np.full(len(boards), 8))  # stands still
    assert outcomes.returns.tolist() == [-200.0] * 5
    assert outcomes.steps.tolist() == [200] * 5
    assert not (outcomes.won | outcomes.lost).any()


def test_playing_a_table_is_playing_its_policy() -> None:
    """Random actions, played through the rules and through the table of next starts."""
    rules = BlobRules(size=4)
    actions = np.random.default_rng(0).integers(9, size=rules.n_starts)
    lookup = by_cells(rules, actions)
    asked = play_policy(
        rules,
        all_starts(rules),
        lambda boards: np.array([lookup[tuple(cells)] for cells in cells_of(rules, boards).tolist()]),
    )
    looked_up = play_table(rules, all_starts(rules), actions)
    for name, array in vars(asked).items():
        np.testing.assert_array_equal(array, getattr(looked_up, name), err_msg=name)
    assert asked.won.any() and asked.lost.any() and not (asked.won | asked.lost).all()


def by_cells(rules: BlobRules, table: np.ndarray) -> dict[tuple[int, ...], Any]:
    """Index a table, one row a start, by the cells of player, food and enemy."""
    return {tuple(cells): row for cells, row in zip(cells_of(rules, all_starts(rules)).tolist(), table, strict=True)}


def judged(rules: BlobRules, table: np.ndarray, **settings: Any) -> Judgement:
    """Judge a table of Q-values (n_starts, 9), through observations of cells."""
    lookup = by_cells(rules, table)
    return judge(rules, lambda observations: np.array([lookup[tuple(o)] for o in observations.tolist()]), **settings)


@pytest.mark.parametrize("size", [3, 4])
def test_optimal_play_is_judged_optimal(size: int) -> None:
    rules = BlobRules(size=size, observation="cells")
    q_values, _ = solved(rules, discount=0.9, reward_clip=25.0)
    verdict = judged(rules, q_values, discount=0.9, reward_clip=25.0)
    assert verdict.exact
    assert verdict.n_starts == verdict.won == verdict.optimal == size**2 * (size**2 - 1) * (size**2 - 2)
    assert verdict.lost == verdict.never_ending == 0
    assert verdict.mean == pytest.approx(verdict.optimum)
    assert verdict.steps == pytest.approx(verdict.optimal_steps) == pytest.approx(26 - verdict.mean)
    assert verdict.percent_of_optimum == pytest.approx(100)
    assert verdict.q_error_max == pytest.approx(0, abs=1e-3)
    assert f"{verdict.n_starts:,} (100.0000%)" in verdict.table()


def test_a_spoilt_table_is_judged_by_its_errors() -> None:
    """Spoil the optimal table at three starts: one walks into the enemy, one stands still, one takes a detour of one
    step. None of them lies on the path from another start."""
    rules = BlobRules(size=4, observation="cells")
    q_values, steps = solved(rules, discount=0.9)
    lookup = {tuple(c): i for i, c in enumerate(cells_of(rules, all_starts(rules)).tolist())}
    # The player is in a corner: no shortest path to the opposite corner passes through it.
    dies, stands, detours = lookup[0, 15, 1], lookup[0, 15, 3], lookup[0, 15, 12]
    spoilt = q_values.copy()
    moves = [tuple(move) for move in MOVES.tolist()]
    spoilt[dies, moves.index((0, 1))] = 100
    spoilt[stands, moves.index((0, 0))] = 50
    spoilt[detours, moves.index((1, 0))] = 60  # to (1,0), which is no nearer to the food
    assert steps[detours] == 3
    verdict = judged(rules, spoilt, discount=0.9)
    assert (verdict.lost, verdict.never_ending) == (1, 1)
    assert verdict.optimal == rules.n_starts - 3
    assert verdict.won == rules.n_starts - 2
    best = 26 - steps.mean(dtype=float)
    harm = (steps[dies] * -1 + 26 + 300) + (26 - steps[stands] + 200) + 1
    assert verdict.mean == pytest.approx(best - harm / rules.n_starts)
    errors = np.abs(spoilt - q_values)
    assert verdict.q_error_mean == pytest.approx(errors.mean(), rel=1e-3)
    assert verdict.q_error_max == pytest.approx(errors.max(), rel=1e-4)
    gaps = spoilt.max(axis=1) - q_values.max(axis=1)
    assert verdict.overestimation == pytest.approx(gaps.mean(), rel=1e-2)


def test_large_boards_are_judged_by_a_sample() -> None:
    rules = BlobRules(size=12, observation="offsets")

    def greedy(offsets: np.ndarray) -> np.ndarray:
        """Give the move straight towards the food the value 1, and ignore the enemy."""
        wanted = -np.sign(offsets[:, :2])
        return (wanted[:, None] == MOVES).all(axis=2).astype(np.float32)

    verdict = judge(rules, greedy, discount=0.9)
    assert (verdict.exact, verdict.n_starts) == (False, SAMPLE_SIZE)
    assert verdict.never_ending == 0 and verdict.won + verdict.lost == SAMPLE_SIZE
    assert verdict.optimal > 0.9 * SAMPLE_SIZE  # the enemy is rarely in the way, and the straight path is the shortest
    again = judge(rules, greedy, discount=0.9)
    assert again == verdict
    assert judge(rules, greedy, discount=0.9, seed=1) != verdict
    assert verdict.table().startswith("sampled, 10,000 starts")


def test_the_mean_over_views_is_the_same_looked_up_and_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Averaging the values of symmetric starts gives the same as averaging the Q-values of symmetric observations.

    The 504 starts are looked up in parts of 100, the last of them short.
    """
    monkeypatch.setattr("blob.judge.PART", 100)
    rules = BlobRules(size=3, observation="cells")
    table = np.random.default_rng(0).normal(size=(rules.n_starts, len(MOVES)))
    lookup = by_cells(rules, table)
    averaged = mean_over_symmetries(
        lambda cells: np.array([lookup[tuple(c)] for c in cells.tolist()]),
        [Symmetry(*one) for one in rules.symmetries()],
    )
    seen = vars(judged(rules, table, discount=0.9, symmetries=True))
    assert seen == pytest.approx(vars(judge(rules, averaged, discount=0.9)))
    assert seen["mean"] != judged(rules, table, discount=0.9).mean


@pytest.mark.parametrize("piece", ["food_moves", "enemy_moves"])
def test_moving_pieces_are_refused(piece: str) -> None:
    with pytest.raises(ValueError, match="stand still"):
        options: dict[str, Any] = {piece: True}
        judge(BlobRules(size=3, **options), lambda observations: np.zeros((len(observations), 9)), 0.9)


def test_percent_of_optimum_by_hand() -> None:
    assert percent_of_optimum(10.0, -200.0, 20.0) == pytest.approx(100 * 210 / 220)


def test_environment_is_closed_if_the_model_cannot_be_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    closed = []

    class Env(BlobEnv):
        def close(self) -> None:
            closed.append(self)

    def fail(*_: Any, **__: Any) -> None:
        raise InputError("the file holds no weights")

    monkeypatch.setattr("blob.judge.make_saved_env", lambda saved: Env())
    monkeypatch.setattr("blob.judge.load_q_values", fail)
    saved: Any = SimpleNamespace(info=SimpleNamespace(config=Config()), path="file.model")
    with pytest.raises(InputError, match="no weights"):
        judge_model(saved)
    assert len(closed) == 1
