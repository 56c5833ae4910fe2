"""Command lines: the parser, types of arguments, and checks of paths before any slow work starts."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from console.errors import InputError
from console.nearest import answer_flag

LATEST = "latest"  # names a model or a run


def make_parser(description: str, usage: str | None = None, stray: str = "") -> argparse.ArgumentParser:
    """Return a parser that takes no abbreviated flags and answers a mistake in one line.

    Args:
        description, usage: for --help.
        stray: an answer to words that are one too many; {} is the first of them.
    """
    parser = _Parser(description=description, usage=usage, allow_abbrev=False)
    parser.stray = stray
    return parser


class _Parser(argparse.ArgumentParser):
    stray = ""

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse, and answer what is unknown with what may be meant."""
        found, unknown = self.parse_known_args(args, namespace)
        if unknown:
            self.error(f"unrecognized arguments: {' '.join(unknown)}{self._answer(unknown)}")
        return found

    def _answer(self, unknown: Sequence[str]) -> str:
        flags = [text for text in unknown if text.startswith("-")]
        answers = [answer_flag(flag, self._option_string_actions) for flag in flags] or [self.stray.format(unknown[0])]
        return "".join(f"; {answer}" for answer in dict.fromkeys(answers) if answer)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (--help lists all flags)\n")


def whole_number(text: str) -> int:
    """An argparse type: a whole number, which may be written 25000, 25_000, 25,000 or 25e3."""
    try:
        return int(text.replace(",", ""))
    except ValueError:
        if (number := float(text)).is_integer():
            return int(number)
        raise


whole_number.__name__ = "whole number"  # argparse says "invalid whole number value"


def at_least(least: int) -> Callable[[str], int]:
    """Return an argparse type: a whole number, `least` or more."""

    def bounded(text: str) -> int:
        if (number := whole_number(text)) < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, got {text}")
        return number

    bounded.__name__ = whole_number.__name__
    return bounded


def check_writable(flag: str, folder: str) -> None:
    """Create a folder if needed, and check that files can be written there.

    Raises:
        InputError: they cannot.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise InputError(f"{flag} {folder} cannot be written ({error.strerror}): name another folder") from error


def check_output(flag: str, path: Path, endings: Sequence[str]) -> None:
    """Check that a file with one of these endings, such as ".gif", can be written at `path`.

    Raises:
        InputError: it cannot.
    """
    if path.suffix.lower() not in endings or path.is_dir():
        raise InputError(f"{flag} {path} must be a file and end in {' or '.join(endings)}")
    check_writable(flag, str(path.parent))


def add_model_argument(parser: argparse.ArgumentParser) -> None:
    """Add the model to use, for `storage.runs.find_model`, and `add_trust_arguments`."""
    parser.add_argument(
        "model",
        nargs="?",
        default=LATEST,
        help="a .model file, a run's name or folder, or latest (default: the newest best model, or the one that comes "
        "with the project)",
    )
    add_trust_arguments(parser)


def add_trust_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that repeat a file's own settings, as proof that the user trusts the code and paths they name."""
    parser.add_argument("--env", help="repeat the model's --env, if it is code that you trust")
    parser.add_argument(
        "--env-args",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="repeat the model's --env-args that are paths, if you trust them",
    )
    parser.add_argument("--network", help="repeat the model's --network, if it is code that you trust")


def trusted_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the settings given through `add_trust_arguments`, for `storage.trust.check_trusted`.

    Raises:
        InputError: an argument of `--env-args` is not KEY=VALUE.
    """
    env_args = dict(parse_env_arg(text) for text in arguments.env_args)
    return {"env": arguments.env, "network": arguments.network, "env_args": env_args}


def parse_env_arg(text: str) -> tuple[str, Any]:
    """Split KEY=VALUE. The value is JSON (a number, true, a list), or else plain text.

    Raises:
        InputError: the text is not KEY=VALUE.
    """
    key, equals, value = text.partition("=")
    if not key.isidentifier() or not equals:
        raise InputError(f"--env-args takes KEY=VALUE, got {text!r}")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value
