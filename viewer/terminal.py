"""Show episodes in a terminal, in colour or as text."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence

import numpy as np
from PIL import Image

from environments.known import action_names
from viewer.drawing import listing_order, q_text
from viewer.episode import Episode

LEVELS = np.array([0, 95, 135, 175, 215, 255])  # of red, green and blue in a terminal's 6x6x6 colours
FIRST_COLOUR = 16  # the number of the first of these colours
PANEL_COLUMNS = 18  # of the Q-values
ROWS_BELOW = 2  # for an episode's result and the cursor


def half_blocks(frame: np.ndarray, columns: int, rows: int) -> list[str]:
    """Draw a frame as lines of text, where a character is two pixels, one above the other.

    Args:
        frame: uint8 (height, width, 3).
        columns, rows: the space it must fit into.
    """
    height, width = frame.shape[:2]
    scale = min(columns / width, 2 * rows / height)
    columns, pixels = max(1, int(width * scale)), max(2, int(height * scale)) // 2 * 2
    small = np.asarray(Image.fromarray(frame).resize((columns, pixels), Image.Resampling.BOX)).astype(int)
    colours = FIRST_COLOUR + np.abs(small[..., None] - LEVELS).argmin(axis=-1) @ (36, 6, 1)
    lines = []
    for upper, lower in zip(colours[::2], colours[1::2], strict=True):
        line, previous = "", None
        for pair in zip(upper.tolist(), lower.tolist(), strict=True):
            line += "▀" if pair == previous else "\033[38;5;{};48;5;{}m▀".format(*pair)
            previous = pair
        lines.append(line + "\033[0m")
    return lines


def q_lines(episode: Episode) -> list[str]:
    """List the actions with their Q-values, in lines of `PANEL_COLUMNS` characters, the greedy action marked by >."""
    if episode.values is None:
        return []
    names, texts = action_names(episode.env), list(map(q_text, episode.values))
    return [f"{'>' if i == episode.greedy else ' '}{names[i][:10]:10}{texts[i]:>7}" for i in listing_order(names)]


def episode_lines(episode: Episode, columns: int, rows: int, show_q: bool) -> list[str]:
    """Draw an episode as `rows` lines of exactly `columns` characters: name, result so far, picture and Q-values."""
    panel = q_lines(episode) if show_q else []
    picture_columns = columns - (PANEL_COLUMNS if panel else 0)
    picture = half_blocks(np.asarray(episode.env.render()), picture_columns, rows - 2)
    margin = " " * (picture_columns - picture[0].count("▀"))
    lines = [f"{text[:columns]:{columns}}" for text in (episode.name, str(episode))]
    for i in range(rows - 2):
        left = picture[i] + margin if i < len(picture) else " " * picture_columns
        right = f"{panel[i] if i < len(panel) else '':{columns - picture_columns}}"
        lines.append(left + right)
    return lines


class Terminal:
    """A screen on standard output. On a terminal each picture overwrites the one before.

    Args:
        show_q: whether to show Q-values.
    """

    def __init__(self, show_q: bool) -> None:
        self._show_q = show_q

    def show(self, episodes: Sequence[Episode]) -> None:
        """Print the current state of the episodes: in colour if their environments render "rgb_array", else as text.

        Print nothing if they render "human": they have windows of their own.
        """
        mode = episodes[0].env.render_mode
        if mode == "human":
            return
        lines = self._pictures(episodes) if mode == "rgb_array" else self._texts(episodes)
        print("\033[H\033[J" if sys.stdout.isatty() else "", "\n".join(lines), sep="", flush=True)

    def _pictures(self, episodes: Sequence[Episode]) -> list[str]:
        """Draw the episodes side by side."""
        size = shutil.get_terminal_size()
        columns = (size.columns - len(episodes)) // len(episodes)
        drawn = [episode_lines(episode, columns, size.lines - ROWS_BELOW, self._show_q) for episode in episodes]
        return [" ".join(parts) for parts in zip(*drawn, strict=True)]

    def _texts(self, episodes: Sequence[Episode]) -> list[str]:
        """Write the episodes one below the other."""
        lines = []
        for episode in episodes:
            lines += [f"{episode.name}: {episode}"] if len(episodes) > 1 else []
            lines += str(episode.env.render()).splitlines()
            lines += q_lines(episode) if self._show_q else []
        return [*lines, ""]

    def wait(self, seconds: float) -> str:
        """Wait, for a minute at most. Returns "", since the terminal reads no keys."""
        time.sleep(min(seconds, 60))
        return ""

    def close(self) -> None:
        """Do nothing: there is nothing to close."""
