"""Draw an agent's episodes: Q-values beside a frame, an arrow for the greedy action, frames side by side, GIFs."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence

import gymnasium as gym
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from environments.known import action_names
from viewer.episode import Episode

MARGIN = 8  # pixels
TITLE_HEIGHT = 22  # pixels, of each line
MIN_TITLED_WIDTH = 240  # pixels, of a frame under a title
PANEL_WIDTH, PANEL_LINE = 190, 18  # pixels, of the Q-values beside a frame
CHARACTER, CAPTION_LINE = 7, 16  # pixels, of the text below a frame
COMPASS = ("up left", "up", "up right", "left", "stay", "right", "down left", "down", "down right")

INK, PAPER, MARK = (20, 20, 20), (255, 255, 255), (220, 0, 0)
FONT = ImageFont.load_default(12)

# Seven colours of matplotlib's viridis, from low to high values. It reads well in print and for the colour-blind.
VIRIDIS = np.array(
    [(68, 1, 84), (68, 57, 131), (49, 104, 142), (33, 145, 140), (53, 183, 121), (144, 215, 67), (253, 231, 37)]
)


def colour_scale(values: np.ndarray) -> np.ndarray:
    """Colour values by where they lie between the lowest and the highest: (...) to uint8 (..., 3)."""
    low, high = float(values.min()), float(values.max())
    share = (values - low) / (high - low or 1) * (len(VIRIDIS) - 1)
    steps = np.arange(len(VIRIDIS))
    return np.stack([np.interp(share, steps, VIRIDIS[:, i]) for i in range(3)], axis=-1).astype(np.uint8)


def draw_arrow(
    draw: ImageDraw.ImageDraw, tail: tuple[float, float], tip: tuple[float, float], ink: tuple[int, ...]
) -> None:
    """Draw an arrow between two points (x, y), in pixels: a dot if they are the same."""
    if tail == tip:
        x, y = tail
        draw.ellipse([x - 2, y - 2, x + 2, y + 2], fill=ink)
        return
    draw.line([*tail, *tip], fill=ink, width=2)
    x, y = (np.array(tip) - tail) / 2
    back, across = np.array([x, y]) * 0.6, np.array([-y, x]) * 0.45
    draw.polygon([tip, tuple(tip - back + across), tuple(tip - back - across)], fill=ink)


def with_q_values(frame: np.ndarray, values: np.ndarray, names: Sequence[str], action: int) -> np.ndarray:
    """Add a panel at the right of a frame: a bar for each action's Q-value, in red for the chosen action.

    Bars compare the better half of the actions: one that is far worse than all others would make these look the same.

    Args:
        frame: uint8 (height, width, 3).
        values: (n_actions,).
        names: one for each action.
        action: index of the chosen action.

    Returns:
        uint8 (height, width, 3).
    """
    left, line = frame.shape[1] + MARGIN, PANEL_LINE
    height = max(len(frame), line * len(values) + 2 * MARGIN)
    image = Image.new("RGB", (frame.shape[1] + PANEL_WIDTH, height), PAPER)
    image.paste(Image.fromarray(frame), (0, 0))
    draw = ImageDraw.Draw(image)
    high = float(values.max())
    low = max(float(values.min()), 2 * float(np.median(values)) - high)
    for row, i in enumerate(listing_order(names)):
        top, value = MARGIN + line * row, float(values[i])
        ink = MARK if i == action else INK
        draw.text((left, top), _clipped(names[i], 65), ink, FONT)
        draw.text((left + 110, top), q_text(value), ink, FONT, anchor="ra")
        length = 60 * max(0.0, value - low) / (high - low or 1)
        draw.rectangle([left + 115, top + 2, left + 116 + length, top + line - 6], fill=ink)
    return np.asarray(image)


def listing_order(names: Sequence[str]) -> list[int]:
    """List actions, by their indices, as they lie on a compass, row by row; in their own order if not all do."""
    order = list(range(len(names)))
    return sorted(order, key=lambda i: COMPASS.index(names[i])) if set(names) <= set(COMPASS) else order


def with_caption(frame: np.ndarray, lines: Sequence[str]) -> np.ndarray:
    """Add lines of text, wrapped to fit, below a frame, uint8 (height, width, 3)."""
    height, width = frame.shape[:2]
    wrapped = [part for line in lines for part in textwrap.wrap(line, max(1, (width - 2 * MARGIN) // CHARACTER))]
    if not wrapped:
        return frame
    image = Image.new("RGB", (width, height + CAPTION_LINE * len(wrapped) + MARGIN), PAPER)
    image.paste(Image.fromarray(frame), (0, 0))
    draw = ImageDraw.Draw(image)
    for i, line in enumerate(wrapped):
        draw.text((MARGIN, height + MARGIN // 2 + CAPTION_LINE * i), line, INK, FONT)
    return np.asarray(image)


def q_text(value: float) -> str:
    """Format a Q-value in at most seven characters."""
    return f"{value:.2f}" if abs(value) < 1_000 else f"{value:.0f}" if abs(value) < 100_000 else f"{value:.0e}"


def side_by_side(frames: Sequence[np.ndarray], titles: Sequence[str]) -> np.ndarray:
    """Put frames next to each other, each under its title.

    Args:
        frames: uint8 (height, width, 3) each.
        titles: one for each frame, of one or more lines.

    Returns:
        uint8 (height, width, 3).
    """
    title_lines = [title.split("\n") for title in titles]
    widths = [
        max(frame.shape[1], *(round(FONT.getlength(line)) for line in lines))
        for frame, lines in zip(frames, title_lines, strict=True)
    ]
    top = TITLE_HEIGHT * max(map(len, title_lines))
    size = sum(widths) + MARGIN * (len(frames) + 1), top + max(map(len, frames)) + MARGIN
    image = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(image)
    left = MARGIN
    for frame, lines, width in zip(frames, title_lines, widths, strict=True):
        for i, line in enumerate(lines):
            draw.text((left, TITLE_HEIGHT * (i + 0.5)), line, INK, FONT, anchor="lm")
        image.paste(Image.fromarray(frame), (left, top))
        left += width + MARGIN
    return np.asarray(image)


def picture_of(episodes: Sequence[Episode], show_q: bool) -> np.ndarray:
    """Draw the current state of episodes next to each other.

    Args:
        episodes: of environments that render "rgb_array".
        show_q: whether to add the Q-values, and the greedy action's arrow if the environment has an `action_arrow`
            method, as `BlobEnv` does.

    Returns:
        uint8 (height, width, 3), of the same size at every step.
    """
    frames = [_frame_of(episode, show_q) for episode in episodes]
    if len(frames) == 1:
        return frames[0]
    frames = [_widened(frame) for frame in frames]
    titles = [
        f"{_clipped(episode.name, frame.shape[1])}\n{_clipped(str(episode), frame.shape[1])}"
        for episode, frame in zip(episodes, frames, strict=True)
    ]
    return side_by_side(frames, titles)


def _frame_of(episode: Episode, show_q: bool) -> np.ndarray:
    """Render an episode's environment, with its Q-values if `show_q`."""
    frame = np.array(episode.env.render())
    if not show_q or episode.values is None or episode.greedy is None:
        return frame
    if not episode.ending:
        frame = _with_arrow(frame, episode.env, episode.greedy)
    return with_q_values(frame, episode.values, action_names(episode.env), episode.greedy)


def _with_arrow(frame: np.ndarray, env: gym.Env, action: int) -> np.ndarray:
    """Add the arrow that the environment offers for an action, if any."""
    action_arrow = getattr(env.unwrapped, "action_arrow", None)
    arrow = action_arrow(action) if action_arrow else None
    if arrow is None:
        return frame
    image = Image.fromarray(frame)
    tail, tip = arrow
    draw_arrow(ImageDraw.Draw(image), tail, tip, INK)
    return np.asarray(image)


def _widened(frame: np.ndarray) -> np.ndarray:
    """Add a margin at the right so that a title fits above the frame."""
    missing = max(0, MIN_TITLED_WIDTH - frame.shape[1])
    return np.pad(frame, ((0, 0), (0, missing), (0, 0)), constant_values=PAPER[0])


def _clipped(text: str, width: int) -> str:
    """Cut the end off a text that is wider than `width` pixels."""
    if FONT.getlength(text) <= width:
        return text
    while text and FONT.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def shrunk(frame: np.ndarray, longest: int = 240) -> Image.Image:
    """Return a frame, uint8 (height, width, 3), as an image whose sides have at most `longest` pixels."""
    image = Image.fromarray(frame)
    image.thumbnail((longest, longest))
    return image


def encode_gif(images: Sequence[Image.Image], fps: float) -> bytes:
    """Encode images as an animated GIF that loops forever."""
    file = io.BytesIO()
    milliseconds = max(20, round(1000 / fps))  # browsers play anything shorter at 100
    images[0].save(file, "GIF", save_all=True, append_images=images[1:], duration=milliseconds, loop=0, optimize=True)
    return file.getvalue()
