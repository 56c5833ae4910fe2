"""Seeing a board: pieces of it by a convolution, and its rows and columns as they look from those that matter."""

from __future__ import annotations

from typing import NamedTuple

import keras
import numpy as np
from keras import layers, ops

FINE = 16  # a board with a longer side is pooled, and seen on a few scales
FILTERS = 8  # of the convolution on a board
AROUND = 2  # cells on each side of the attended one that a head sees on a large board
SCALES = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48])  # distances on a large board, in cells
SHARPNESS = 10.0  # factor on the attention's scores, which lets a head settle on one line from the start


def see_board(pixels: keras.KerasTensor, branch: str = "") -> keras.KerasTensor:
    """See a board piece by piece, and as it looks from the rows and columns that matter.

    On a large board, with too many pixels and offsets to learn each by itself, pieces are made of means of pixels,
    offsets are seen on a few scales, and only what is near as it is. From (batch, h, w, c) to (batch, features). Layers
    are named after the branch, if there are several.
    """
    coarseness = -(-max(pixels.shape[1:3]) // FINE)
    if coarseness == 1:
        return _joined_flat(_pieces(pixels), *_looks_along(1, pixels, branch), *_looks_along(2, pixels, branch))
    rows, columns = (_looks_along(axis, pixels, branch, is_large=True) for axis in (1, 2))
    pooled = layers.AveragePooling2D(coarseness, padding="same")(pixels)
    return _joined_flat(_pieces(pooled), *rows, *columns, _looks_around(pixels, rows.attention, columns.attention))


def _joined_flat(*features: keras.KerasTensor) -> keras.KerasTensor:
    return layers.Concatenate()([layers.Flatten()(feature) for feature in features])


def _pieces(pixels: keras.KerasTensor) -> keras.KerasTensor:
    """See pieces of 3x3 cells, around every second cell: from (batch, h, w, c) to (batch, h/2, w/2, filters)."""
    return layers.Conv2D(FILTERS, 3, 2, padding="same", activation="relu", kernel_initializer="he_uniform")(pixels)


class Looks(NamedTuple):
    """What the heads see along an axis: the sums (batch, n, c) of all lines, the attention (batch, heads, n) on them,
    and the lines at their offsets from the attended one (batch, heads, k * c)."""

    sums: keras.KerasTensor
    attention: keras.KerasTensor
    offsets: keras.KerasTensor


def _looks_along(axis: int, pixels: keras.KerasTensor, branch: str, is_large: bool = False) -> Looks:
    """See a board from the rows (axis 1) or columns (axis 2) that matter.

    The best action depends on where things lie relative to the player, and a dense layer on pixels would have to learn
    that for every cell separately. So each of `channels` heads scores every row by its sum over the columns, and a
    softmax turns the scores into attention. A head starts on the row where its own channel is brightest and learns
    where to look from there. It sees the sums of all rows, each at its offset from the attended one.
    """
    name = f"{branch}.{('rows', 'columns')[axis - 1]}".lstrip(".")
    channels = pixels.shape[3]
    lines = ops.sum(pixels, axis=3 - axis)
    scores = layers.Dense(channels, kernel_initializer="identity", name=f"{name}_scores")(lines) * SHARPNESS
    attention = layers.Softmax(name=f"{name}_attention")(layers.Permute((2, 1))(scores))
    offsets = _scaled_offsets(lines, name) if is_large else _offsets(lines)
    return Looks(lines, attention, ops.matmul(attention, offsets))


def _looks_around(pixels: keras.KerasTensor, rows: keras.KerasTensor, columns: keras.KerasTensor) -> keras.KerasTensor:
    """See the cells around the one that each head attends to, in its place.

    On a large board, the network would have to learn from scales what lies on the very next cell, and rarely sees it.

    Args:
        pixels: (batch, h, w, c).
        rows, columns: attention (batch, heads, h) and (batch, heads, w).

    Returns:
        (batch, heads, 5, 5 * c), the columns around it and in each the rows, 0 beyond the board's edge.
    """
    heads, side, (height, width, channels) = rows.shape[1], 2 * AROUND + 1, pixels.shape[1:]
    shifted = ops.reshape(_shifted(rows), (-1, heads * side, height))
    strips = ops.matmul(shifted, ops.reshape(pixels, (-1, height, width * channels)))  # the rows around it, whole
    strips = ops.transpose(ops.reshape(strips, (-1, heads, side, width, channels)), (0, 1, 3, 2, 4))
    return ops.matmul(_shifted(columns), ops.reshape(strips, (-1, heads, width, side * channels)))


def _shifted(attention: keras.KerasTensor) -> keras.KerasTensor:
    """Shift attention (batch, heads, n) by -2 to 2 lines: (batch, heads, 5, n)."""
    n = attention.shape[2]
    padded = ops.pad(attention, ((0, 0), (0, 0), (AROUND, AROUND)))
    return ops.stack([padded[:, :, 2 * AROUND - i : 2 * AROUND - i + n] for i in range(2 * AROUND + 1)], axis=2)


def _offsets(lines: keras.KerasTensor) -> keras.KerasTensor:
    """See all lines from each of them: from (batch, n, c) to (batch, n, (2n-1) * c).

    Element [:, i, d * c : (d + 1) * c] is the line at offset d - (n-1) from line i, and 0 beyond the board's edge.
    """
    n, channels = lines.shape[1:]
    padded = ops.pad(lines, ((0, 0), (n - 1, n - 1), (0, 0)))
    seen_from = np.arange(n)[:, None] + np.arange(2 * n - 1)
    return ops.reshape(ops.take(padded, seen_from.ravel(), axis=1), (-1, n, (2 * n - 1) * channels))


def _scaled_offsets(lines: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """See all lines from each of them on a large board: from (batch, n, c) to (batch, n, k * c).

    Instead of every offset, there are two numbers on each of `SCALES`: on which side a line is (-1 to 1), and how near
    (0 to 1). So anything learned about one offset holds for its neighbours too.
    """
    n, channels = lines.shape[1:]
    offsets = np.arange(n)[:, None] - np.arange(n)  # [j, i] of line j from line i
    side = np.clip(offsets[:, :, None] / SCALES[n > SCALES], -1, 1)
    looks = np.concatenate([side, 1 - np.abs(side)], axis=2)  # (n, n, k)
    # A layer that never learns: as weights, these numbers are not written out in the model's configuration.
    look = layers.Dense(looks[0].size, use_bias=False, trainable=False, name=f"{name}_looks")
    views = ops.reshape(look(layers.Permute((2, 1))(lines)), (-1, channels, *looks.shape[1:]))
    look.set_weights([looks.reshape(n, -1)])
    return ops.reshape(ops.transpose(views, (0, 2, 3, 1)), (-1, n, looks.shape[2] * channels))
