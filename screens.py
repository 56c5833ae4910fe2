"""Where episodes are shown: in a window with a keyboard, in a terminal, or as a GIF or MP4 file."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
# Else SDL draws by OpenGL, and Mesa's LLVM beside TensorFlow's ends the program with a segmentation fault.
os.environ.setdefault("SDL_FRAMEBUFFER_ACCELERATION", "0")
import pygame

from drawing import picture_of, q_text, save_gif
from episode import Episode, action_names
from model_file import written_whole
from startup import InputError, check_output

# Of the window.
LEAST_PIXELS = 500  # along the longer side
REPEAT = 400, 100  # milliseconds until a key held down repeats, and between its repeats
# Of the terminal.
LEVELS = np.array([0, 95, 135, 175, 215, 255])  # of red, green and blue in the 216 colours from number 16 on
PANEL = 18  # columns of the Q-values
ROWS_BELOW = 2  # the line that ends an episode, and the cursor's


class Screen(Protocol):
    """Where episodes are shown."""

    def show(self, episodes: Sequence[Episode]) -> None:
        """Show where they stand."""

    def wait(self, seconds: float) -> str:
        """The name of the key that was pressed within so many seconds, "" if none was."""

    def close(self) -> None:
        """Show no more."""


def can_open_window() -> bool:
    """Whether there is a display, or a stand-in that was asked for in SDL_VIDEODRIVER."""
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"} & os.environ.keys():
        return False  # SDL would complain while it looks for one
    try:
        pygame.display.init()
        stand_in = pygame.display.get_driver() in ("offscreen", "dummy") and not os.environ.get("SDL_VIDEODRIVER")
        pygame.display.quit()
    except pygame.error:
        return False
    return not stand_in


class Window:
    """A screen for `play.py`: a window, and the keys that are pressed in it.

    Args:
        show_q: whether it shows Q-values.
    """

    def __init__(self, show_q: bool) -> None:
        self._show_q = show_q
        pygame.display.init()
        self._surface: pygame.Surface | None = None  # opened at its size, or it would hang over the screen's edge
        pygame.key.set_repeat(*REPEAT)

    def show(self, episodes: Sequence[Episode]) -> None:
        """Draw where the episodes stand."""
        frame = picture_of(episodes, self._show_q)
        times = max(1, LEAST_PIXELS // max(frame.shape))  # Atari's screens are small
        frame = frame.repeat(times, axis=0).repeat(times, axis=1)
        size = frame.shape[1], frame.shape[0]
        if self._surface is None or self._surface.get_size() != size:
            self._surface = pygame.display.set_mode(size)
        # pygame's first axis runs to the right, an image's first axis runs down.
        pygame.surfarray.blit_array(self._surface, frame.transpose(1, 0, 2))
        pygame.display.flip()
        pygame.display.set_caption(f"{episodes[0].name}: {episodes[0]}")

    def wait(self, seconds: float) -> str:
        """The key pressed within so many seconds, by its name; "" if there was none, "escape" if the window was
        closed."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            event = pygame.event.wait(max(1, round(min(left, 1) * 1000)))
            if event.type == pygame.QUIT:
                return "escape"
            if event.type == pygame.KEYDOWN:
                return pygame.key.name(event.key)
        return ""

    def close(self) -> None:
        """Close it."""
        pygame.display.quit()


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


def check_film(path: Path) -> None:
    """Raise InputError unless a film can be written to such a file."""
    check_output("--record", path, (".gif", ".mp4"))
    if path.suffix.lower() == ".mp4":
        try:
            import imageio_ffmpeg  # noqa: F401
        except ImportError as error:
            raise InputError("--record OUT.mp4 needs imageio-ffmpeg: pip install imageio-ffmpeg") from error


class Film:
    """A screen for `play.py`: what it shows becomes a file, written whole or not at all.

    Args:
        path: of the file, a GIF or MP4 by its ending, there after `close`.
        fps: frames in a second of it.
        show_q: whether it shows Q-values.
    """

    def __init__(self, path: Path, fps: float, show_q: bool) -> None:
        self._path, self._fps, self._show_q = path, fps, show_q
        self._folder = tempfile.TemporaryDirectory()
        self._mp4 = Path(self._folder.name) / "film.mp4"
        self._writer: Any = None  # of MP4, which takes frames one by one
        self._images: list[Image.Image] = []  # of a GIF, a byte a pixel

    def show(self, episodes: Sequence[Episode]) -> None:
        """Add a frame."""
        self._frame = picture_of(episodes, self._show_q)
        self._add()

    def _add(self) -> None:
        if self._path.suffix.lower() == ".gif":
            self._images.append(Image.fromarray(self._frame).quantize(256))
            return
        height, width = (side // 2 * 2 for side in self._frame.shape[:2])  # the codec wants even sides
        if not self._writer:
            from imageio_ffmpeg import write_frames

            # H.264, which every browser plays.
            self._writer = write_frames(str(self._mp4), (width, height), fps=self._fps, macro_block_size=2)
            self._writer.send(None)
        self._writer.send(np.ascontiguousarray(self._frame[:height, :width]))

    def wait(self, seconds: float) -> str:
        """Let the last frame stay so long; no key is heard."""
        for _ in range(round(seconds * self._fps) - 1):
            self._add()
        return ""

    def close(self) -> None:
        """Write the file.

        Raises:
            InputError: it cannot be written.
        """
        try:
            with written_whole(self._path) as path:
                if self._writer:
                    self._writer.close()
                    shutil.copyfile(self._mp4, path)
                else:
                    save_gif(path, self._images, self._fps)
        except OSError as error:
            raise InputError(f"--record {self._path} cannot be written ({error.strerror or error})") from error
        self._folder.cleanup()
        print(f"wrote {self._path} ({self._path.stat().st_size / 1000:.0f} kB)")


class Recorded:
    """A screen for `play.py` that is filmed.

    Args:
        screen: with the keys.
        film: that sees all that it shows.
    """

    def __init__(self, screen: Screen, film: Film) -> None:
        self._screen, self._film = screen, film

    def show(self, episodes: Sequence[Episode]) -> None:
        """Show where the episodes stand, and film it."""
        self._screen.show(episodes)
        self._film.show(episodes)

    def wait(self, seconds: float) -> str:
        """What the screen's keys say."""
        return self._screen.wait(seconds)

    def close(self) -> None:
        """Close the screen and write the file."""
        self._screen.close()
        self._film.close()
