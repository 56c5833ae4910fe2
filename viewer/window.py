"""Show episodes in a window, and read its keys."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence

# Set before pygame is imported. SDL must not draw with OpenGL: Mesa's LLVM crashes beside TensorFlow's.
os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
os.environ.setdefault("SDL_FRAMEBUFFER_ACCELERATION", "0")
import pygame

from viewer.drawing import picture_of, with_caption
from viewer.episode import Episode

MIN_PIXELS = 500  # along the longer side: small pictures are enlarged
KEY_REPEAT = 400, 100  # milliseconds until a key held down repeats, and between its repeats


def can_open_window() -> bool:
    """Return whether there is a display, or a stand-in that the user asked for in SDL_VIDEODRIVER."""
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"} & os.environ.keys():
        return False  # searching for a display, SDL would print complaints
    try:
        pygame.display.init()
        is_stand_in = pygame.display.get_driver() in ("offscreen", "dummy") and not os.environ.get("SDL_VIDEODRIVER")
        pygame.display.quit()
    except pygame.error:
        return False
    return not is_stand_in


class Window:
    """A screen in a window of its own, which reads the keys pressed there.

    Args:
        show_q: whether to show Q-values.
        keys: lines that say what the keys do, shown below the picture.
    """

    def __init__(self, show_q: bool, keys: Sequence[str] = ()) -> None:
        self._show_q, self._keys = show_q, keys
        pygame.display.init()
        self._surface: pygame.Surface | None = None  # opened at its final size, to be placed well on the display
        pygame.key.set_repeat(*KEY_REPEAT)

    def show(self, episodes: Sequence[Episode]) -> None:
        """Draw the current state of the episodes."""
        frame = picture_of(episodes, self._show_q)
        times = max(1, MIN_PIXELS // max(frame.shape))
        frame = frame.repeat(times, axis=0).repeat(times, axis=1)
        frame = with_caption(frame, self._keys)
        size = frame.shape[1], frame.shape[0]
        if self._surface is None or self._surface.get_size() != size:
            self._surface = pygame.display.set_mode(size)
        # pygame's first axis runs to the right, an image's first axis runs down.
        pygame.surfarray.blit_array(self._surface, frame.transpose(1, 0, 2))
        pygame.display.flip()
        pygame.display.set_caption(f"{episodes[0].name}: {episodes[0]}")

    def wait(self, seconds: float) -> str:
        """Wait for a key. Returns its name, "" if none was pressed in time, or "escape" if the window was closed."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            event = pygame.event.wait(max(1, round(min(left, 1) * 1000)))
            if event.type == pygame.QUIT:
                return "escape"
            if event.type == pygame.KEYDOWN:
                return pygame.key.name(event.key)
        return ""

    def close(self) -> None:
        """Close the window."""
        pygame.display.quit()
