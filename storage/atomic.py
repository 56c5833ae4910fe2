"""Write files whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

LONGEST_PREFIX = 200  # bytes: a file name may have 255


@contextlib.contextmanager
def atomic_write(path: Path, suffix: str = ".part") -> Iterator[Path]:
    """Write a file whole or not at all.

    Yields:
        A temporary path beside `path`, with a dot before its name. It takes the place of `path` once the block has
        ended and the data is on disk. A kill leaves it behind.

    Raises:
        OSError: the file cannot be written; the old one at `path` is still there.
    """
    prefix = f".{os.fsdecode(os.fsencode(path.name)[:LONGEST_PREFIX])}."
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=prefix, suffix=suffix, delete=False) as file:
        temporary = Path(file.name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())  # only its owner can read a new temporary file
        os.replace(temporary, path)  # atomic within a folder
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Flush the folder itself to disk; otherwise a power cut could undo the rename."""
    if os.name == "posix":  # Windows cannot open folders
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
