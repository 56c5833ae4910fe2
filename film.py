"""Episodes as a GIF or an MP4 file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from drawing import gif_of, picture_of
from episode import Episode
from startup import InputError

ENDINGS = (".gif", ".mp4")


def check_film(path: Path) -> None:
    """Raise InputError unless a film can be written to such a file."""
    if path.suffix.lower() not in ENDINGS or path.is_dir():
        raise InputError(f"--record {path} must be a file and end in {' or '.join(ENDINGS)}")
    if path.suffix.lower() == ".mp4":
        try:
            import imageio_ffmpeg  # noqa: F401
        except ImportError as error:
            raise InputError(
                "MP4 needs imageio-ffmpeg: pip install -r requirements-extra.txt, or --record OUT.gif"
            ) from error


class Film:
    """A screen for `play.py`: what it shows becomes a file.

    Args:
        path: of the file, a GIF or MP4 by its ending, written by `close`.
        fps: frames in a second of it.
        show_q: whether it shows Q-values.
    """

    def __init__(self, path: Path, fps: float, show_q: bool) -> None:
        self._path, self._fps, self._show_q = path, fps, show_q
        self._frames: list[np.ndarray] = []

    def show(self, episodes: Sequence[Episode]) -> None:
        """Add a frame."""
        self._frames.append(picture_of(episodes, self._show_q))

    def wait(self, seconds: float) -> str:
        """There is no need to."""
        return ""

    def close(self) -> None:
        """Write the file."""
        if self._path.suffix.lower() == ".gif":
            self._path.write_bytes(gif_of(self._frames, self._fps))
        else:
            write_mp4(self._path, self._frames, self._fps)
        print(f"wrote {self._path} ({self._path.stat().st_size / 1000:.0f} kB)")


def write_mp4(path: Path, frames: Sequence[np.ndarray], fps: float) -> None:
    """Write frames uint8 (height, width, 3) as H.264, which every browser plays."""
    from imageio_ffmpeg import write_frames

    # The codec wants even sides.
    height, width = (side // 2 * 2 for side in frames[0].shape[:2])
    writer = write_frames(str(path), (width, height), fps=fps, macro_block_size=2)
    writer.send(None)
    for frame in frames:
        writer.send(np.ascontiguousarray(frame[:height, :width]))
    writer.close()
