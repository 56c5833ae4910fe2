"""Pictures of an agent: its policy on a whole board, its Q-values beside a frame, frames beside each other, GIFs."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from blob_env import MOVES, PLAYER, BlobEnv
from environments.known import action_names
from viewer.episode import Episode

MARGIN = 8


TITLE = 22  # pixels of a line of text


LEAST_WIDTH = 240  # of a frame under a title


INK, PAPER, MARK = (20, 20, 20), (255, 255, 255), (220, 0, 0)


# From low to high values, readable in print and by the colour-blind: seven colours of matplotlib's viridis.
SCALE = np.array(
    [(68, 1, 84), (68, 57, 131), (49, 104, 142), (33, 145, 140), (53, 183, 121), (144, 215, 67), (253, 231, 37)]
)


def colour_scale(values: np.ndarray) -> np.ndarray:
    """uint8 (..., 3): where each value lies between the lowest and the highest of them."""
    low, high = float(values.min()), float(values.max())
    share = (values - low) / (high - low or 1) * (len(SCALE) - 1)
    return np.stack([np.interp(share, np.arange(len(SCALE)), SCALE[:, i]) for i in range(3)], axis=-1).astype(np.uint8)


def draw_arrow(
    draw: ImageDraw.ImageDraw, centre: tuple[float, float], move: np.ndarray, length: float, ink: tuple[int, ...]
) -> None:
    """An arrow along a move of Blob (down, right), through the centre (x, y in pixels); a dot for standing still."""
    x, y = centre
    if not move.any():
        draw.ellipse([x - 2, y - 2, x + 2, y + 2], fill=ink)
        return
    down, right = move / np.hypot(*move) * length
    tip = np.array([x + right, y + down])
    draw.line([x - right, y - down, *tip], fill=ink, width=2)
    back, across = np.array([right, down]) * 0.6, np.array([-down, right]) * 0.45
    draw.polygon([tuple(point) for point in (tip, tip - back + across, tip - back - across)], fill=ink)


def with_q_values(frame: np.ndarray, values: np.ndarray, names: Sequence[str], action: int) -> np.ndarray:
    """A frame with a panel at its right: a bar for every action's Q-value, that of the action taken in red.

    Args:
        frame: uint8 (height, width, 3).
        values: (n_actions,).
        names: of the actions.
        action: the index of the one taken.
    """
    width, line = 190, 18
    height = max(len(frame), line * len(values) + 2 * MARGIN)
    image = Image.new("RGB", (frame.shape[1] + width, height), PAPER)
    image.paste(Image.fromarray(frame), (0, 0))
    draw = ImageDraw.Draw(image)
    low, high = float(values.min()), float(values.max())
    for i, (name, value) in enumerate(zip(names, values, strict=True)):
        left, top = frame.shape[1] + MARGIN, MARGIN + line * i
        ink = MARK if i == action else INK
        draw.text((left, top), _clipped(name, 65), ink, _font())
        draw.text((left + 110, top), q_text(value), ink, _font(), anchor="ra")
        length = 60 * (value - low) / (high - low or 1)
        draw.rectangle([left + 115, top + 2, left + 116 + length, top + line - 6], fill=ink)
    return np.asarray(image)


def q_text(value: float) -> str:
    """A Q-value in at most seven characters."""
    return f"{value:.2f}" if abs(value) < 1_000 else f"{value:.0f}" if abs(value) < 100_000 else f"{value:.0e}"


def side_by_side(frames: Sequence[np.ndarray], titles: Sequence[str]) -> np.ndarray:
    """Frames, uint8 (height, width, 3), next to each other, each under its title, which may have several lines."""
    lines = [title.split("\n") for title in titles]
    widths = [
        max(frame.shape[1], *(round(_font().getlength(line)) for line in of))
        for frame, of in zip(frames, lines, strict=True)
    ]
    above = TITLE * max(map(len, lines))
    size = sum(widths) + MARGIN * (len(frames) + 1), max(map(len, frames)) + above + MARGIN
    image = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(image)
    left = MARGIN
    for frame, of, width in zip(frames, lines, widths, strict=True):
        for i, line in enumerate(of):
            draw.text((left, TITLE * (i + 0.5)), line, INK, _font(), anchor="lm")
        image.paste(Image.fromarray(frame), (left, above))
        left += width + MARGIN
    return np.asarray(image)


def picture_of(episodes: Sequence[Episode], show_q: bool) -> np.ndarray:
    """Where episodes stand, whose environments render "rgb_array", next to each other, with the Q-values beside each
    and an arrow for Blob's greedy move if `show_q`: uint8 (height, width, 3), of the same size at every step."""
    frames, titles = [], []
    for episode in episodes:
        frame = np.array(episode.env.render())
        if show_q and episode.values is not None and (action := episode.greedy) is not None:
            if isinstance(blob := episode.env.unwrapped, BlobEnv) and not episode.ending:
                frame = _with_arrow(frame, blob, action)
            frame = with_q_values(frame, episode.values, action_names(episode.env), action)
        if len(episodes) > 1 and frame.shape[1] < LEAST_WIDTH:
            margin = np.full((len(frame), LEAST_WIDTH - frame.shape[1], 3), PAPER, np.uint8)
            frame = np.concatenate([frame, margin], axis=1)
        frames.append(frame)
        titles.append(f"{_clipped(episode.name, frame.shape[1])}\n{_clipped(str(episode), frame.shape[1])}")
    return frames[0] if len(frames) == 1 else side_by_side(frames, titles)


def _with_arrow(frame: np.ndarray, blob: BlobEnv, action: int) -> np.ndarray:
    """A frame of Blob with an arrow on the player for an action."""
    image = Image.fromarray(frame)
    pixels = len(frame) / blob.rules.size
    row, column = (blob.positions[0, PLAYER] + 0.5) * pixels
    draw_arrow(ImageDraw.Draw(image), (column, row), MOVES[action], 0.36 * pixels, INK)
    return np.asarray(image)


def _clipped(text: str, width: int) -> str:
    """As much of a text as fits into so many pixels, the end of it left out."""
    if _font().getlength(text) <= width:
        return text
    while text and _font().getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def shrunk(frame: np.ndarray, most: int = 240) -> np.ndarray:
    """A frame, uint8 (height, width, 3), with no side above `most` pixels."""
    image = Image.fromarray(frame)
    image.thumbnail((most, most))
    return np.asarray(image)


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(12)


def encode_gif(frames: Sequence[np.ndarray], fps: float) -> bytes:
    """An animated GIF, looping for ever, of frames uint8 (height, width, 3)."""
    file = io.BytesIO()
    save_gif(file, [Image.fromarray(frame) for frame in frames], fps)
    return file.getvalue()


def save_gif(file: Path | io.BytesIO, images: Sequence[Image.Image], fps: float) -> None:
    """Write images as an animated GIF, looping for ever."""
    milliseconds = max(20, round(1000 / fps))  # browsers take less for 100
    images[0].save(file, "GIF", save_all=True, append_images=images[1:], duration=milliseconds, loop=0, optimize=True)
