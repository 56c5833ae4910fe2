"""A match at Connect Four between two models: python -m examples.match models/A.model models/B.model"""

from __future__ import annotations

import numpy as np

from console.arguments import at_least, make_parser
from console.errors import exit_on_bad_input
from console.signals import end_quietly
from examples.connect_four import ME, OTHER, Board, ConnectFour
from examples.opponents import Opponent

OPENING = 4  # random moves at the start: greedy players would play the same two games over and over


def play_match(one: Opponent, other: Opponent, openings: int, seed: int) -> np.ndarray:
    """Play every opening twice, so that each player begins once.

    Args:
        one, other: the players.
        openings: how many; a game starts with four random moves.
        seed: of all random draws.

    Returns:
        int64 (3,): how many games the first player won, drew and lost.
    """
    generator, results = np.random.default_rng(seed), np.zeros(3, int)
    for _ in range(openings):
        columns = generator.integers(7, size=OPENING).tolist()  # too few to win, or to fill a column
        for players in ({ME: one, OTHER: other}, {ME: other, OTHER: one}):
            winner = play_game(players, columns, generator)
            results[1 if not winner else 0 if players[winner] is one else 2] += 1
    return results


def play_game(players: dict[int, Opponent], opening: list[int], generator: np.random.Generator) -> int:
    """Play a game from an opening. Returns who wins, 1 (who begins) or -1; 0 for a draw."""
    board, player = Board(), ME
    for each in players.values():
        each.begin(generator)
    for column in opening:
        board.drop(column, player)
        player = -player
    while board.open_columns.any():
        if board.drop(players[player].act(board.seen_by(player), board.open_columns, generator), player):
            return player
        player = -player
    return 0


def main() -> None:
    """Run the command line."""
    end_quietly()
    parser = make_parser("Let two players meet at Connect Four. Each opening is played twice, and each begins once.")
    for name in ("one", "other"):
        parser.add_argument(name, help='a .model file, a folder of them, or "random"')
    parser.add_argument("--openings", type=at_least(1), default=100, help="random openings (default: %(default)s)")
    parser.add_argument("--seed", type=at_least(0), default=1, help="of the openings (default: %(default)s)")
    arguments = parser.parse_args()
    with exit_on_bad_input():
        game = ConnectFour()
        one, other = Opponent(arguments.one, game), Opponent(arguments.other, game)
        won, drawn, lost = play_match(one, other, arguments.openings, arguments.seed)
    print(f"{arguments.one} won {won}, drew {drawn} and lost {lost} games against {arguments.other}")


if __name__ == "__main__":
    main()
