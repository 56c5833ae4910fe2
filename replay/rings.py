"""Rings of frames: plain arrays, or, of boards, only what is not 0 in them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil

from console.errors import InputError
from environments.spaces import LARGEST_BOARD, check_like

ARRAYS = ("", "_places", "_values")  # by which names end: whole frames, or what is not 0 in them
SHARE = 16  # a frame is stored whole if more than one number in so many is not 0: reading it is faster then


def make_ring(shape: tuple[int, ...], dtype: npt.DTypeLike) -> np.ndarray | SparseRing:
    """Make a ring for frames of this dtype: zeros of shape (rows, lanes, *frame)."""
    frame = shape[2:]
    return SparseRing(shape) if may_be_sparse(frame, dtype) else np.zeros(shape, dtype)


def may_be_sparse(frame: tuple[int, ...], dtype: npt.DTypeLike) -> bool:
    """Whether frames of this shape and dtype are boards, on which most cells are empty."""
    return dtype == np.uint8 and len(frame) > 1 and max(frame) <= LARGEST_BOARD and math.prod(frame) >= 4 * SHARE


def bytes_of_frame(frame: tuple[int, ...], dtype: npt.DTypeLike) -> int:
    """Estimate what a frame takes. Boards count as sparse: if one is not, `SparseRing` checks again."""
    size = math.prod(frame)
    if not may_be_sparse(frame, dtype):
        return size * np.dtype(dtype).itemsize
    return size // SHARE * (1 + _places_type(size).itemsize)


def check_fits(transitions: int, needed: int) -> None:
    """Check that so many transitions, of so many bytes in all, fit in the machine's memory.

    Raises:
        InputError: they do not.
    """
    free = psutil.virtual_memory().available
    if needed > free:
        raise InputError(
            f"--memory-size {transitions} takes {needed / 1e9:,.1f} GB, this machine has {free / 1e9:,.1f} GB free: at "
            f"most {free * transitions // needed:,} transitions fit"
        )


class SparseRing:
    """An array of frames (rows, lanes, *frame), uint8, that stores only what is not 0 in each: a board of 50x50 cells
    takes 12 bytes instead of 7,500. Reading and writing are as with an array.

    When a frame comes that is not sparse, all are stored whole from then on.

    Args:
        shape: (rows, lanes, *frame).

    Attributes:
        shape, dtype: as those of an array.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape, self.dtype = shape, np.dtype(np.uint8)
        self._frame, self._size = shape[2:], math.prod(shape[2:])
        # As many places as the fullest frame needs. Others repeat their last one, which is written twice then.
        self._places = np.zeros((*shape[:2], 1), _places_type(self._size))
        self._values = np.zeros((*shape[:2], 1), np.uint8)
        self._whole: np.ndarray | None = None

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays."""
        return sum(array.nbytes for array in self.arrays().values())

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays behind it, (rows, lanes, ...) each, by `ARRAYS`."""
        return {"_places": self._places, "_values": self._values} if self._whole is None else {"": self._whole}

    def __getitem__(self, index: Any) -> np.ndarray:
        """Read frames; the index is of rows, or of rows and lanes."""
        if self._whole is not None:
            return self._whole[index]
        return self._frames(self._places[index], self._values[index])

    def _frames(self, places: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Put values (..., n) at their places in frames of zeros: (..., *frame)."""
        room = places.shape[-1]
        frames = np.zeros((places.size // room, self._size), np.uint8)
        np.put_along_axis(frames, places.reshape(-1, room).astype(np.int64), values.reshape(-1, room), axis=1)
        return frames.reshape(*places.shape[:-1], *self._frame)

    def __setitem__(self, index: Any, frames: npt.ArrayLike) -> None:
        """Write frames (..., *frame)."""
        frames = np.asarray(frames, np.uint8)
        numbers = frames.reshape(-1, self._size)
        if self._whole is None:
            which, places = np.nonzero(numbers)
            counts = np.bincount(which, minlength=len(numbers))
            self._make_room(int(counts.max()))
        if self._whole is not None:
            self._whole[index] = frames
            return
        room = self._places.shape[2]
        found = np.zeros((len(numbers), room), np.int64)
        found[which, np.arange(len(which)) - (np.cumsum(counts) - counts)[which]] = places
        found = np.take_along_axis(found, np.minimum(np.arange(room), np.maximum(counts, 1)[:, None] - 1), axis=1)
        shape = *frames.shape[: frames.ndim - len(self._frame)], room
        self._places[index] = found.reshape(shape)
        self._values[index] = np.take_along_axis(numbers, found, axis=1).reshape(shape)

    def _make_room(self, needed: int) -> None:
        """Make room for so many numbers in each frame."""
        missing = needed - self._places.shape[2]
        if missing <= 0:
            return
        if needed > self._size // SHARE:
            self._store_whole()
            return
        self._places, self._values = (
            np.concatenate([array, np.repeat(array[..., -1:], missing, axis=2)], axis=2)
            for array in (self._places, self._values)
        )

    def _store_whole(self) -> None:
        check_fits(self.shape[0] * self.shape[1], math.prod(self.shape))
        whole = np.zeros(self.shape, np.uint8)
        for row in np.flatnonzero(self._values.any(axis=(1, 2))):
            whole[row] = self[row]
        self._whole = whole
        self._places, self._values = self._places[:0], self._values[:0]

    def restore(self, rows: np.ndarray, saved: Mapping[str, np.ndarray]) -> None:
        """See `restore`: there may have been more room for a frame, or less."""
        if "" in saved:
            check_like("frames", saved[""][:0], np.zeros((0, *self.shape[1:]), np.uint8))
            frames: Iterable[np.ndarray] = saved[""]
        else:
            places, values = saved["_places"], saved["_values"]
            room = max(1, min(values.shape[-1], self._size))
            check_like("places", places, np.zeros((len(rows), self.shape[1], room), _places_type(self._size)))
            check_like("values", values, np.zeros((len(rows), self.shape[1], room), np.uint8))
            if places.max(initial=0) >= self._size:
                raise ValueError(f"places up to {places.max()} are not in frames of {self._size} numbers")
            frames = (self._frames(*row) for row in zip(places, values, strict=True))
        for row, of_lanes in zip(rows, frames, strict=True):
            self[row] = of_lanes


def arrays_of(ring: np.ndarray | SparseRing) -> dict[str, np.ndarray]:
    """The arrays behind a ring, (rows, lanes, ...) each, by `ARRAYS`."""
    return ring.arrays() if isinstance(ring, SparseRing) else {"": ring}


def restore(ring: np.ndarray | SparseRing, rows: np.ndarray, saved: Mapping[str, np.ndarray]) -> None:
    """Write rows, int (k,), of a ring as `arrays_of` had them.

    Raises:
        ValueError: they are not of such frames.
    """
    if isinstance(ring, SparseRing):
        ring.restore(rows, saved)
        return
    check_like("frames", saved[""][:0], ring[:0])
    ring[rows] = saved[""]


def _places_type(size: int) -> np.dtype:
    return np.min_scalar_type(size - 1)
