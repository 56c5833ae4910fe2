"""Command lines: parsers, argument types, and checks before anything slow happens."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from console.errors import InputError


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


def add_trust_arguments(parser: argparse.ArgumentParser) -> None:
    """Let a script that reads a `.model` file take what of its settings must be repeated to be trusted."""
    parser.add_argument("--env", help="repeat it if the file names an environment of its own that you trust")
    parser.add_argument("--env-args", nargs="+", default=[], metavar="KEY=VALUE", help="the same, of paths among these")
    parser.add_argument("--network", help="the same, of a network file")


def trusted_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """What was given of `add_trust_arguments`, as `model_file.check_trusted` takes it.

    Raises:
        InputError: `--env-args` are none.
    """
    env_args = dict(parse_env_arg(text) for text in arguments.env_args)
    return {"env": arguments.env, "network": arguments.network, "env_args": env_args}


def parse_env_arg(text: str) -> tuple[str, Any]:
    """Parse KEY=VALUE; the value is JSON, or text if it is not.

    Raises:
        InputError: the text is not KEY=VALUE.
    """
    key, equals, value = text.partition("=")
    if not key.isidentifier() or not equals:
        raise InputError(f"--env-args takes KEY=VALUE, got {text!r}")
    try:
        return key, json.loads(value)
    except ValueError:  # what is not JSON (a number, true, false, a list) is text
        return key, value
