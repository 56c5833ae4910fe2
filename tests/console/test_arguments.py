"""Types of arguments, the flags that repeat trusted settings, and the checks of paths."""

import argparse
from pathlib import Path
from typing import Any

import pytest

from console.arguments import (
    add_trust_arguments,
    at_least,
    check_output,
    check_writable,
    make_parser,
    parse_env_arg,
    trusted_settings,
)
from console.errors import InputError


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("size=8", "size", 8),
        ("rate=0.5", "rate", 0.5),
        ("moves=true", "moves", True),
        ("map=[1, 2]", "map", [1, 2]),
        ("name=8x8", "name", "8x8"),
        ("name=", "name", ""),
        ("rule=a=b", "rule", "a=b"),
    ],
)
def test_an_env_arg_is_json_or_text(text: str, key: str, value: Any) -> None:
    assert parse_env_arg(text) == (key, value)
    assert type(parse_env_arg(text)[1]) is type(value)


@pytest.mark.parametrize("text", ["size", "=8", "two words=8", ""])
def test_an_env_arg_without_a_key_or_a_value(text: str) -> None:
    with pytest.raises(InputError, match="--env-args takes KEY=VALUE, got "):
        parse_env_arg(text)


def test_at_least() -> None:
    assert at_least(1)("1") == 1
    with pytest.raises(argparse.ArgumentTypeError, match="must be at least 1, got 0"):
        at_least(1)("0")


def test_mistakes_are_one_line_and_flags_are_written_out(capsys: pytest.CaptureFixture[str]) -> None:
    parser = make_parser("A script.")
    parser.add_argument("--episodes", type=at_least(1))
    for mistake, words in (("--episodes=x", "invalid whole number value: 'x'"), ("--epis=3", "unrecognized arguments")):
        with pytest.raises(SystemExit) as stopped:
            parser.parse_args([mistake])
        (line,) = capsys.readouterr().err.splitlines()
        assert stopped.value.code == 2 and words in line and line.endswith("(--help lists all flags)")


def test_trusted_settings_are_those_repeated() -> None:
    parser = make_parser("A script.")
    add_trust_arguments(parser)
    assert trusted_settings(parser.parse_args([])) == {"env": None, "network": None, "env_args": {}}
    given = ["--env", "a:B", "--network", "c.py:d", "--env-args", "map=m.txt", "n=3"]
    repeated = {"env": "a:B", "network": "c.py:d", "env_args": {"map": "m.txt", "n": 3}}
    assert trusted_settings(parser.parse_args(given)) == repeated


def test_outputs(tmp_path: Path) -> None:
    check_output("--out", tmp_path / "new" / "page.HTML", (".html",))
    assert (tmp_path / "new").is_dir() and not list((tmp_path / "new").iterdir())
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"--out .*file cannot be written .*: name another folder"):
        check_output("--out", tmp_path / "file" / "a.gif", (".gif",))
    with pytest.raises(InputError, match=r"--out a.txt must be a file and end in .gif or .mp4"):
        check_output("--out", Path("a.txt"), (".gif", ".mp4"))
    with pytest.raises(InputError, match=r"--logs-dir .* cannot be written"):
        check_writable("--logs-dir", str(tmp_path / "file"))
