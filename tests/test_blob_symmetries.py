"""The eight symmetries of the square commute with the rules, in every kind of observation."""

import itertools

import numpy as np
import pytest

from blob_env import ENEMY, FOOD, MOVES, OBSERVATIONS, PLAYER, BlobRules
from environments.symmetry import Symmetry


def symmetries(rules: BlobRules) -> list[Symmetry]:
    return [Symmetry(*one) for one in rules.symmetries()]


def turn_by_hand(positions: np.ndarray, size: int, turn: tuple[bool, ...]) -> np.ndarray:
    """Transform the positions (3, 2) of one board: put each piece on a grid and transform the grid."""
    turned = np.empty_like(positions)
    for piece, (x, y) in enumerate(positions):
        grid = np.zeros((size, size), int)
        grid[x, y] = 1
        grid = grid.T if turn[0] else grid
        grid = grid[::-1] if turn[1] else grid
        grid = grid[:, ::-1] if turn[2] else grid
        turned[piece] = np.argwhere(grid)[0]
    return turned


@pytest.mark.parametrize("observation", OBSERVATIONS)
@pytest.mark.parametrize("size", [2, 5, 10])
def test_rules_and_symmetries_commute(observation: str, size: int) -> None:
    """Transforming board and move leads to the transformed next board, with the same reward and end."""
    rules = BlobRules(size=size, observation=observation)
    generator = np.random.default_rng(0)
    before = rules.start_positions(generator.integers(rules.n_starts, size=300))
    actions = generator.integers(len(MOVES), size=300)
    after = before.copy()
    outcome = rules.step(after, actions, [])
    for symmetry, turn in zip(symmetries(rules), itertools.product((False, True), repeat=3), strict=True):
        turned = np.array([turn_by_hand(board, size, turn) for board in before])
        np.testing.assert_array_equal(symmetry.observations(rules.observe(before)), rules.observe(turned))
        turned_outcome = rules.step(turned, symmetry.actions[actions], [])
        np.testing.assert_array_equal(rules.observe(turned), symmetry.observations(rules.observe(after)))
        np.testing.assert_array_equal(turned_outcome, outcome)


def test_there_are_eight_and_the_first_changes_nothing() -> None:
    rules = BlobRules(size=3)
    board = np.zeros((1, 3, 2), int)
    board[0, [PLAYER, FOOD, ENEMY]] = [(0, 0), (0, 1), (2, 1)]  # no symmetry of its own
    image = rules.observe(board)
    views = [symmetry.observations(image) for symmetry in symmetries(rules)]
    np.testing.assert_array_equal(views[0], image)
    assert len({view.tobytes() for view in views}) == 8
    assert len({symmetry.actions.tobytes() for symmetry in symmetries(rules)}) == 8


def test_actions_by_hand() -> None:
    # The fourth (transpose, flip x, flip y) is (False, True, True), a half turn: every move becomes its opposite,
    # (1,1) <-> (-1,-1), (-1,1) <-> (1,-1), (1,0) <-> (-1,0), (0,1) <-> (0,-1), and staying stays.
    assert symmetries(BlobRules())[3].actions.tolist() == [1, 0, 3, 2, 5, 4, 7, 6, 8]
    # The fifth is the transposition: (dx, dy) becomes (dy, dx).
    assert symmetries(BlobRules())[4].actions.tolist() == [0, 1, 3, 2, 6, 7, 4, 5, 8]
