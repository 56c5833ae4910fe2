"""Rings of boards, of which only what is not 0 is stored: as an array, but smaller."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from histories import thorough
from hypothesis import given
from hypothesis import strategies as st

from blob_env import BlobRules
from console.errors import InputError
from replay.rings import SHARE, SparseRing, arrays_of, bytes_of_frame, make_ring, restore

FRAME = (8, 8, 3)  # 192 numbers, of which 12 may not be 0


def board(generator: np.random.Generator, count: int) -> np.ndarray:
    """A frame with so many numbers that are not 0."""
    numbers = np.zeros(np.prod(FRAME), np.uint8)
    numbers[generator.permutation(len(numbers))[:count]] = generator.integers(1, 256, size=count)
    return numbers.reshape(FRAME)


@thorough
@given(st.lists(st.tuples(st.integers(0, 4), st.lists(st.integers(0, 13), min_size=2, max_size=2)), max_size=12))
def test_a_ring_reads_as_an_array_does(writes: list[tuple[int, list[int]]]) -> None:
    """Frames of 0 to 13 numbers that are not 0 are written in any order: with 13, all are stored whole. What is saved
    after every write, with the room or the whole frames of that time, is read by other rings."""
    ring, twin = make_ring((5, 2, *FRAME), np.uint8), np.zeros((5, 2, *FRAME), np.uint8)
    assert isinstance(ring, SparseRing) and (ring.shape, ring.dtype) == (twin.shape, twin.dtype)
    generator = np.random.default_rng(0)
    copies: list[Any] = [make_ring(twin.shape, np.uint8) for _ in range(2)]
    for row, counts in writes:
        ring[row] = twin[row] = [board(generator, count) for count in counts]
        saved = {end: array[[row]].copy() for end, array in arrays_of(ring).items()}
        restore(copies[0], np.array([row]), saved)
        for which in (row, (row, 1), np.array([row, 0, row]), (np.array([[0, row], [row, 4]]), np.array([[1], [0]]))):
            np.testing.assert_array_equal(ring[which], twin[which])
    restore(copies[1], np.arange(5), arrays_of(ring))
    is_whole = any(max(counts) > 12 for _, counts in writes)
    assert arrays_of(ring).keys() == ({""} if is_whole else {"_places", "_values"})
    for copy in copies:
        np.testing.assert_array_equal(copy[:], twin)


def test_a_large_board_takes_little() -> None:
    """Three pieces of 50x50 cells have 2, 1 and 1 colours: four numbers, each of a byte at a place of two."""
    rules = BlobRules(size=50)
    ring: Any = make_ring((100, 4, 50, 50, 3), np.uint8)
    boards = rules.observe(rules.start_positions(np.arange(400) * 10**6)).reshape(100, 4, 50, 50, 3)
    for row, of_lanes in enumerate(boards):
        ring[row] = of_lanes
    np.testing.assert_array_equal(ring[:], boards)
    assert ring.nbytes == 400 * 4 * 3
    assert bytes_of_frame((50, 50, 3), np.uint8) == 7_500 // SHARE * 3


@pytest.mark.parametrize(
    ("frame", "dtype"), [((84, 84), np.uint8), ((8, 8, 3), np.float32), ((200,), np.uint8), ((5, 5), np.uint8)]
)
def test_screens_and_numbers_are_arrays(frame: tuple[int, ...], dtype: Any) -> None:
    ring = make_ring((3, 2, *frame), dtype)
    assert isinstance(ring, np.ndarray)
    assert bytes_of_frame(frame, dtype) == ring[0, 0].nbytes


def test_boards_that_are_not_sparse_must_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """1,000 frames of 192 bytes are 192,000 bytes: with 96,000 bytes free, half of them fit."""
    ring = make_ring((500, 2, *FRAME), np.uint8)
    monkeypatch.setattr("replay.rings.psutil.virtual_memory", lambda: SimpleNamespace(available=96_000))
    ring[0] = np.zeros((2, *FRAME))
    with pytest.raises(InputError, match=r"--memory-size 1000 takes .* at most 500 transitions fit"):
        ring[0] = np.ones((2, *FRAME))


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("_places", np.full((1, 2, 1), 192, np.uint8)),
        ("_places", np.zeros((1, 2, 1), np.int64)),
        ("_places", np.zeros((1, 2, 2), np.uint8)),
        ("_values", np.zeros((1, 3, 1), np.uint8)),
        ("_values", np.zeros((1, 2, 193), np.uint8)),
        ("", np.zeros((1, 2, 8, 8), np.uint8)),
    ],
)
def test_what_was_not_saved_here_is_refused(name: str, array: np.ndarray) -> None:
    ring = make_ring((5, 2, *FRAME), np.uint8)
    saved = {"_places": np.zeros((1, 2, 1), np.uint8), "_values": np.zeros((1, 2, 1), np.uint8)}
    with pytest.raises(ValueError, match=r"frames|places|values"):
        restore(ring, np.array([0]), {**saved, name: array})
