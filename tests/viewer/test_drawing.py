"""Drawing: policy maps, arrows, Q-values, colours and GIFs."""

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageSequence

from blob.policy_map import example_game, policy_map
from blob.solver import Games
from blob_env import MOVES, PLAYER, BlobEnv, BlobRules
from viewer.drawing import (
    MARK,
    PAPER,
    VIRIDIS,
    colour_scale,
    draw_arrow,
    encode_gif,
    listing_order,
    shrunk,
    side_by_side,
    with_caption,
    with_q_values,
)

RULES = BlobRules(size=4)
FOOD, ENEMY = 5, 10
GAME = Games(RULES, np.array([FOOD]), np.array([ENEMY]))


def best_values(positions: np.ndarray) -> np.ndarray:
    return GAME.optimal_q_values(0.9)[:, :, 0][positions[:, 0] @ (RULES.size, 1)]


def count_marked(picture: np.ndarray) -> int:
    """Count the cells framed in red: a cell has 70 pixels, and its frame covers its first one; titles are above."""
    boards = picture[22:, 8 : 8 + 4 * 70]
    return int((boards[0 : 4 * 70 : 70, ::70] == MARK).all(axis=-1).sum())


def map_of(values: dict[int, np.ndarray] | None = None) -> np.ndarray:
    """Map an agent that plays optimally, except for the values given at some cells of the player."""

    def q_values(observations: np.ndarray) -> np.ndarray:
        # The player is the only cell of an image with any red.
        cells = [int(np.flatnonzero(image[:, :, 0].ravel())[0]) for image in observations]
        positions = np.stack(np.divmod(np.array(cells), RULES.size), axis=1)[:, None]
        found = best_values(positions)
        for cell, row in (values or {}).items():
            found[cells.index(cell)] = row
        return found

    return policy_map(RULES, q_values, FOOD, ENEMY, GAME.optimal_q_values(1.0)[:, :, 0])


def test_optimal_actions_are_not_marked() -> None:
    assert count_marked(map_of()) == 0


def test_actions_that_are_not_optimal_are_marked() -> None:
    # In corner 0, next to the food, the optimal move is (1, 1), action 0: the agent stays instead. From cell 4 it moves
    # right, to the food, which is optimal although its value is too low.
    assert MOVES[8].tolist() == [0, 0] and MOVES[6].tolist() == [0, 1]
    still, right = np.eye(9)[8], np.eye(9)[6]
    assert count_marked(map_of({0: still})) == 1
    assert count_marked(map_of({0: still, 3: still, 4: right})) == 2


def test_colours_by_hand() -> None:
    colours = colour_scale(np.array([-2.0, 1.0, 4.0]))
    np.testing.assert_array_equal(colours, VIRIDIS[[0, 3, 6]])
    np.testing.assert_array_equal(colour_scale(np.ones(2)), VIRIDIS[[0, 0]])


@pytest.mark.parametrize(("action", "corner"), [(0, (-1, -1)), (1, (0, 0)), (2, (0, -1)), (3, (-1, 0))])
def test_arrows_point_where_the_move_goes(action: int, corner: tuple[int, int]) -> None:
    """Of a diagonal arrow, the quarter with the head has more ink than the three others."""
    blob = BlobEnv("rgb_array", size=5)  # cells of 60 pixels
    blob.reset(seed=1)
    image = Image.new("L", (300, 300), 0)
    draw_arrow(ImageDraw.Draw(image), *blob.action_arrow(action), (255,))
    top, left = 60 * blob.positions[0, PLAYER]
    pixels = np.asarray(image)[top : top + 60, left : left + 60]
    assert pixels.sum() == np.asarray(image).sum()
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
    images = [Image.fromarray(np.full((20, 30, 3), 60 * i, np.uint8)) for i in range(4)]
    with Image.open(io.BytesIO(encode_gif(images, 5))) as gif:
        assert (gif.size, gif.info["duration"], gif.info["loop"]) == ((30, 20), 200, 0)
        assert len(list(ImageSequence.Iterator(gif))) == 4
        gif.seek(3)
        assert np.asarray(gif.convert("RGB"))[0, 0].tolist() == [180] * 3


def test_shrunk() -> None:
    assert np.asarray(shrunk(np.zeros((400, 600, 3), np.uint8))).shape == (160, 240, 3)
    assert np.asarray(shrunk(np.zeros((100, 50, 3), np.uint8))).shape == (100, 50, 3)


def test_food_and_enemy_of_the_policy_map_are_apart() -> None:
    for size in range(2, 60):
        food, enemy = example_game(size)
        assert 0 <= food != enemy < size**2


def test_one_bad_action_does_not_make_the_others_look_the_same() -> None:
    """Bars begin at 2 * median - best: here at 2 * 8 - 10 = 6, so that 10, 8 and 7 fill all, half and a quarter."""
    picture = with_q_values(np.zeros((20, 20, 3), np.uint8), np.array([-25.0, 7, 8, 10, 9]), list("abcde"), action=3)
    rows = picture[np.array([0, 1, 2, 3]) * 18 + 8 + 5, 20 + 8 + 115 :]
    lengths = (rows != PAPER).any(axis=-1).sum(axis=1)
    assert lengths.tolist() == [2, 17, 32, 62]


def test_directions_are_listed_as_on_a_compass() -> None:
    assert listing_order(["down", "right", "up left", "up"]) == [2, 3, 1, 0]
    assert listing_order(["down", "fire", "up"]) == [0, 1, 2]
    assert listing_order([]) == []


def test_a_caption_is_wrapped_below_the_frame() -> None:
    frame = np.full((50, 100, 3), 9, np.uint8)
    picture = with_caption(frame, ["q quits", "twelve twelve twelve"])
    np.testing.assert_array_equal(picture[:50], frame)
    assert picture.shape == (50 + 4 * 16 + 8, 100, 3)  # (100 - 2 * 8) / 7 = 12 characters: each "twelve" stands alone
    lines = (picture[50:] != PAPER).any(axis=(1, 2))
    assert all(lines[4 + 16 * i : 20 + 16 * i].any() for i in range(4))
    np.testing.assert_array_equal(with_caption(frame, []), frame)
