"""Pictures of policies, Q-values and episodes."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageSequence

from blob.policy_map import example_game, policy_map
from blob.solver import Games
from blob_env import MOVES, BlobRules
from viewer.drawing import MARK, SCALE, colour_scale, draw_arrow, encode_gif, shrunk, side_by_side, with_q_values

RULES = BlobRules(size=4)
FOOD, ENEMY = 5, 10


GAME = Games(RULES, np.array([FOOD]), np.array([ENEMY]))


def best_values(positions: np.ndarray) -> np.ndarray:
    return GAME.optimal_q_values(0.9)[:, :, 0][positions[:, 0] @ (RULES.size, 1)]


def count_marked(picture: np.ndarray) -> int:
    """Cells framed in red, each of which has one corner at a multiple of the cell's 70 pixels; titles are above."""
    boards = picture[22:, 8 : 8 + 4 * 70]
    return int((boards[0 : 4 * 70 : 70, ::70] == MARK).all(axis=-1).sum())


def asked(values: dict[int, np.ndarray] | None = None) -> np.ndarray:
    """The map of an agent that plays best, but for the values given at some of the player's cells."""

    def q_values(observations: np.ndarray) -> np.ndarray:
        # Of an image: the player is the only cell with red.
        cells = [int(np.flatnonzero(image[:, :, 0].ravel())[0]) for image in observations]
        positions = np.stack(np.divmod(np.array(cells), RULES.size), axis=1)[:, None]
        found = best_values(positions)
        for cell, row in (values or {}).items():
            found[cells.index(cell)] = row
        return found

    return policy_map(RULES, q_values, FOOD, ENEMY, GAME.optimal_q_values(1.0)[:, :, 0])


def test_nothing_is_marked_where_the_best_is_done() -> None:
    assert count_marked(asked()) == 0


def test_what_is_not_best_is_marked() -> None:
    # In the corner 0 next to the food the best move is (1, 1), action 0: here it stands still. Cell 4 above the food
    # moves right, to the food, which is best though its value is too low.
    assert MOVES[8].tolist() == [0, 0] and MOVES[6].tolist() == [0, 1]
    still, right = np.eye(9)[8], np.eye(9)[6]
    assert count_marked(asked({0: still})) == 1
    assert count_marked(asked({0: still, 3: still, 4: right})) == 2


def test_colours_by_hand() -> None:
    colours = colour_scale(np.array([-2.0, 1.0, 4.0]))
    np.testing.assert_array_equal(colours, SCALE[[0, 3, 6]])
    np.testing.assert_array_equal(colour_scale(np.ones(2)), SCALE[[0, 0]])


@pytest.mark.parametrize(("action", "corner"), [(0, (-1, -1)), (1, (0, 0)), (2, (0, -1)), (3, (-1, 0))])
def test_arrows_point_where_the_move_goes(action: int, corner: tuple[int, int]) -> None:
    """Diagonal arrows: the quarter of the cell with the head has more ink than the three others."""
    image = Image.new("L", (60, 60), 0)
    draw_arrow(ImageDraw.Draw(image), (30, 30), MOVES[action], 22, (255,))
    pixels = np.asarray(image)
    quarters = {
        (0, 0): pixels[:30, :30],
        (0, -1): pixels[:30, 30:],
        (-1, 0): pixels[30:, :30],
        (-1, -1): pixels[30:, 30:],
    }
    ink = {where: int(quarter.sum()) for where, quarter in quarters.items()}
    assert max(ink, key=ink.__getitem__) == corner


def test_q_values_beside_a_frame() -> None:
    frame = np.full((100, 80, 3), 7, np.uint8)
    picture = with_q_values(frame, np.array([1.0, 3.0, 2.0]), ["left", "stay", "right"], action=1)
    assert picture.shape == (100, 80 + 190, 3)
    np.testing.assert_array_equal(picture[:, :80], frame)
    red = (picture == MARK).all(axis=-1)
    assert red[8 + 18 : 8 + 36].sum() == red.sum() > 100  # the second of three lines of 18 pixels


def test_side_by_side() -> None:
    one, other = np.full((50, 200, 3), 9, np.uint8), np.full((70, 150, 3), 5, np.uint8)
    picture = side_by_side([one, other], ["a", "b"])
    assert picture.shape == (70 + 22 + 8, 200 + 150 + 3 * 8, 3)
    np.testing.assert_array_equal(picture[22:72, 8:208], one)
    np.testing.assert_array_equal(picture[22:92, 216:366], other)


def test_gif() -> None:
    frames = [np.full((20, 30, 3), 60 * i, np.uint8) for i in range(4)]
    with Image.open(io.BytesIO(encode_gif(frames, 5))) as gif:
        assert (gif.size, gif.info["duration"], gif.info["loop"]) == ((30, 20), 200, 0)
        assert len(list(ImageSequence.Iterator(gif))) == 4
        gif.seek(3)
        assert np.asarray(gif.convert("RGB"))[0, 0].tolist() == [180] * 3


def test_shrunk() -> None:
    assert shrunk(np.zeros((400, 600, 3), np.uint8)).shape == (160, 240, 3)
    assert shrunk(np.zeros((100, 50, 3), np.uint8)).shape == (100, 50, 3)


def test_food_and_enemy_of_the_picture_are_apart() -> None:
    for size in range(2, 60):
        food, enemy = example_game(size)
        assert 0 <= food != enemy < size**2
