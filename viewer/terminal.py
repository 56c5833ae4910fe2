"""Show episodes in a terminal, as text or in colours."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence

import numpy as np
from PIL import Image

from environments.known import action_names
from viewer.drawing import q_text
from viewer.episode import Episode

# Of the terminal.
LEVELS = np.array([0, 95, 135, 175, 215, 255])  # of red, green and blue in the 216 colours from number 16 on


PANEL = 18  # columns of the Q-values


ROWS_BELOW = 2  # the line that ends an episode, and the cursor's


def half_blocks(frame: np.ndarray, columns: int, rows: int) -> list[str]:
    """A frame, uint8 (height, width, 3), as lines of text that fit into so many columns and rows: a character is two
    pixels, one above the other."""
    height, width = frame.shape[:2]
    scale = min(columns / width, 2 * rows / height)
    columns, pixels = max(1, int(width * scale)), max(2, int(height * scale)) // 2 * 2
    small = np.asarray(Image.fromarray(frame).resize((columns, pixels), Image.Resampling.BOX)).astype(int)
    colours = 16 + np.abs(small[..., None] - LEVELS).argmin(axis=-1) @ (36, 6, 1)
    lines = []
    for upper, lower in zip(colours[::2], colours[1::2], strict=True):
        line, before = "", None
        for pair in zip(upper.tolist(), lower.tolist(), strict=True):
            line += "▀" if pair == before else "\033[38;5;{};48;5;{}m▀".format(*pair)
            before = pair
        lines.append(line + "\033[0m")
    return lines


def q_lines(episode: Episode) -> list[str]:
    """The Q-value of every action, `PANEL` columns wide, the greedy one's marked."""
    if episode.values is None:
        return []
    named = zip(action_names(episode.env), map(q_text, episode.values), strict=True)
    return [f"{'>' if i == episode.greedy else ' '}{name[:10]:10}{q:>7}" for i, (name, q) in enumerate(named)]


def block(episode: Episode, columns: int, rows: int, show_q: bool) -> list[str]:
    """`rows` lines of exactly `columns` characters: who plays, how it stands, the picture and the Q-values."""
    panel = q_lines(episode) if show_q else []
    free = columns - (PANEL if panel else 0)
    frame = np.asarray(episode.env.render())
    picture = half_blocks(frame, free, rows - 2)
    width = picture[0].count("▀")
    lines = [f"{text[:columns]:{columns}}" for text in (episode.name, str(episode))]
    for i in range(rows - 2):
        left = picture[i] + " " * (free - width) if i < len(picture) else " " * free
        right = f"{panel[i] if i < len(panel) else '':{columns - free}}"
        lines.append(left + right)
    return lines


class Terminal:
    """A screen for `play.py` on standard output, which draws over itself on a terminal.

    Args:
        show_q: whether it shows Q-values.
    """

    def __init__(self, show_q: bool) -> None:
        self._show_q = show_q

    def show(self, episodes: Sequence[Episode]) -> None:
        """Print where the episodes stand: pictures of environments that render "rgb_array", their text of others, and
        nothing of those that show themselves, in a window of their own."""
        if episodes[0].env.render_mode == "human":
            return
        size = shutil.get_terminal_size()
        if episodes[0].env.render_mode == "rgb_array":
            columns = (size.columns - len(episodes)) // len(episodes)
            blocks = [block(episode, columns, size.lines - ROWS_BELOW, self._show_q) for episode in episodes]
            lines = [" ".join(parts) for parts in zip(*blocks, strict=True)]
        else:
            lines = []
            for episode in episodes:
                lines += [f"{episode.name}: {episode}"] if len(episodes) > 1 else []
                lines += str(episode.env.render()).splitlines()
                lines += q_lines(episode) if self._show_q else []
            lines.append("")
        print("\033[H\033[J" if sys.stdout.isatty() else "", "\n".join(lines), sep="", flush=True)

    def wait(self, seconds: float) -> str:
        """Wait; no key is heard."""
        time.sleep(min(seconds, 60))
        return ""

    def close(self) -> None:
        """Nothing is left open."""
