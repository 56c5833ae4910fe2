"""Write episodes to a GIF or MP4 file."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from console.arguments import check_output
from console.errors import InputError
from storage.atomic import atomic_write
from viewer.drawing import encode_gif, picture_of
from viewer.episode import Episode


def check_film(path: Path) -> None:
    """Raise InputError unless a film can be written to this path."""
    check_output("--record", path, (".gif", ".mp4"))
    if path.suffix.lower() == ".mp4":
        try:
            import imageio_ffmpeg  # noqa: F401
        except ImportError as error:
            raise InputError("--record OUT.mp4 needs imageio-ffmpeg: pip install imageio-ffmpeg") from error


class Film:
    """A screen that becomes a file, written whole or not at all.

    Args:
        path: of the file, a GIF or an MP4 by its ending. `close` writes it.
        fps: frames per second.
        show_q: whether to show Q-values.
    """

    def __init__(self, path: Path, fps: float, show_q: bool) -> None:
        self._path, self._fps, self._show_q = path, fps, show_q
        self._folder = tempfile.TemporaryDirectory()
        self._mp4 = Path(self._folder.name) / "film.mp4"
        self._writer: Any = None  # writes an MP4 frame by frame
        self._images: list[Image.Image] = []  # of a GIF, quantized: one byte per pixel

    def show(self, episodes: Sequence[Episode]) -> None:
        """Add a frame."""
        self._frame = picture_of(episodes, self._show_q)
        self._add()

    def _add(self) -> None:
        if self._path.suffix.lower() == ".gif":
            self._images.append(Image.fromarray(self._frame).quantize(256))
            return
        height, width = (side // 2 * 2 for side in self._frame.shape[:2])  # the codec needs even sides
        if not self._writer:
            from imageio_ffmpeg import write_frames

            # Its default codec is H.264, which every browser plays.
            self._writer = write_frames(str(self._mp4), (width, height), fps=self._fps, macro_block_size=2)
            self._writer.send(None)
        self._writer.send(np.ascontiguousarray(self._frame[:height, :width]))

    def wait(self, seconds: float) -> str:
        """Repeat the last frame for this time. Returns "", since a film has no keys."""
        for _ in range(round(seconds * self._fps) - 1):
            self._add()
        return ""

    def close(self) -> None:
        """Write the file.

        Raises:
            InputError: it cannot be written.
        """
        try:
            with self._folder, atomic_write(self._path) as path:
                if self._writer:
                    self._writer.close()
                    shutil.copyfile(self._mp4, path)
                else:
                    path.write_bytes(encode_gif(self._images, self._fps))
        except OSError as error:
            raise InputError(f"--record {self._path} cannot be written ({error.strerror or error})") from error
        print(f"wrote {self._path} ({self._path.stat().st_size / 1000:.0f} kB)")
