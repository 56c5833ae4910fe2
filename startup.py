"""What a script does before TensorFlow is imported, which takes seconds: read arguments, check them, complain well."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn, Self, TextIO


class InputError(ValueError):
    """Something the user gave cannot work; the message names it and says what would."""


@contextlib.contextmanager
def exit_on_bad_input(program: str | None = None) -> Iterator[None]:
    """End the program with one line on standard error and exit code 2 when an InputError is raised inside."""
    try:
        yield
    except InputError as error:
        print(f"{program or Path(sys.argv[0]).name}: error: {one_line(str(error))}", file=sys.stderr)
        raise SystemExit(2) from error


def one_line(text: str) -> str:
    """A text of somebody else's as one line of at most 1,000 characters, none of which steers a terminal."""
    line = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return line if len(line) <= 1_000 else f"{line[:500]} ... {line[-500:]}"


def end_quietly_on_ctrl_c() -> None:
    """End the program on Ctrl-C without a traceback, with the exit code that shells expect."""
    signal.signal(signal.SIGINT, lambda *_: sys.exit(130))


def end_quietly() -> None:
    """For scripts that only print: as `end_quietly_on_ctrl_c`, and also when nobody reads on, as in `| head`."""
    end_quietly_on_ctrl_c()
    if hasattr(signal, "SIGPIPE"):  # Windows has none
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)


class StopOnSignal:
    """Turns the first Ctrl-C or SIGTERM inside the block into `received`; a second one ends the program at once.

    Attributes:
        received: the signal's number, 0 before there was one.
    """

    def __init__(self) -> None:
        self.received = 0

    def __enter__(self) -> Self:
        self._previous: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():  # no other thread may handle signals
            self._previous = {
                number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)
            }
        return self

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        for each in self._previous:
            signal.signal(each, signal.SIG_DFL)
        with contextlib.suppress(
            OSError
        ):  # not print, which must not be used inside a print that the signal broke into
            os.write(2, b"\nending the run and saving it; once more ends at once\n")

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)


def say(text: str, file: TextIO | None = None) -> None:
    """Print a line, on standard error above tqdm's bar. If nobody reads there any more, this and all to come go
    nowhere: a run outlives the terminal and the `| tee` that it was started with."""
    from tqdm import tqdm  # `make` runs this file before anything is installed

    file = file or sys.stderr
    try:
        tqdm.write(text, file=file)
        file.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), file.fileno())


def make_parser(description: str) -> argparse.ArgumentParser:
    """An argument parser in the manner of all scripts here: no abbreviated flags, one line for a mistake."""
    return _Parser(description=description, allow_abbrev=False)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (--help lists all flags)\n")


def at_least(least: int) -> Callable[[str], int]:
    """An argparse type: a whole number not below `least`."""

    def whole_number(text: str) -> int:
        if (number := int(text)) < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {text}")
        return number

    whole_number.__name__ = "whole number"  # argparse names the type so in its message
    return whole_number


def check_writable(flag: str, folder: str) -> None:
    """Make the folder if need be, and raise InputError unless files can be written there."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(f"{flag} {folder} cannot be written ({error.strerror}): name another folder") from error


def check_output(flag: str, path: Path, endings: Sequence[str]) -> None:
    """Raise InputError unless a file with one of these endings can be written at a path."""
    if path.suffix.lower() not in endings or path.is_dir():
        raise InputError(f"{flag} {path} must be a file and end in {' or '.join(endings)}")
    check_writable(flag, str(path.parent))


def import_tensorflow() -> None:
    """Import TensorFlow for the first time, without the lines that it logs at every start.

    Raises:
        InputError: an unsupported Python, a Keras backend other than TensorFlow, or Keras settings other than
            channels_last and float32, each of which would fail later and less clearly.
    """
    check_python()
    _check_keras_settings()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # No setting silences what TensorFlow's C++ libraries log while they load: hold standard error back, and show it
    # only if the import fails.
    sys.stderr.flush()
    standard_error = os.dup(2)
    with tempfile.TemporaryFile() as held_back:
        os.dup2(held_back.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_logical_devices()  # this is when it looks for a GPU, and logs that there is none
        except Exception:
            held_back.seek(0)
            os.write(standard_error, held_back.read())
            raise
        finally:
            os.dup2(standard_error, 2)
            os.close(standard_error)


def check_python() -> None:
    """Raise InputError unless TensorFlow supports this Python."""
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        raise InputError(f"Python 3.11, 3.12 or 3.13 is needed, this is {sys.version.split()[0]}")


def _check_keras_settings() -> None:
    path = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "keras.json"
    try:
        settings = json.loads(path.read_text())
    except (OSError, ValueError):  # as Keras does: no file, or none that can be read, means its defaults
        settings = {}
    if not isinstance(settings, dict):
        raise InputError(f"{path} must hold a JSON object: mend or delete it")
    backend = os.environ.get("KERAS_BACKEND") or settings.get("backend", "tensorflow")
    if backend != "tensorflow":
        raise InputError(f"the Keras backend is {backend!r} (KERAS_BACKEND or {path}): set it to tensorflow")
    for key, needed in (("image_data_format", "channels_last"), ("floatx", "float32")):
        if settings.get(key, needed) != needed:
            raise InputError(f"{key} is {settings[key]!r} in {path}: set it to {needed}")


if __name__ == "__main__":  # `make` asks before it installs anything
    with exit_on_bad_input():
        check_python()
