"""The command line of `train.py`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, NamedTuple

from config import Config, flag_of
from console.arguments import make_parser, parse_env_arg
from console.errors import exit_on_bad_input
from presets import PRESETS

Command = Any


def read_command():
    import types
    from pathlib import Path

    from console.arguments import check_writable
    from console.signals import end_quietly_on_ctrl_c
    from console.tensorflow_import import import_tensorflow
    from environments.check import check_env
    from storage.model_file import read_model
    from storage.run_folder import find_run, settings_to_resume

    end_quietly_on_ctrl_c()  # training itself ends more carefully, see StopOnSignal
    CONFIG, GIVEN, RESUME, QUIET = parse_command_line()
    with exit_on_bad_input():
        RUN_DIR = None if RESUME is None else find_run(RESUME, CONFIG.logs_dir)
        CONFIG = settings_to_resume(RUN_DIR, GIVEN) if RUN_DIR else CONFIG
        check_writable("--models-dir", CONFIG.models_dir)
        check_writable("--logs-dir", CONFIG.logs_dir)
        check_env(CONFIG)
        if CONFIG.init_from and not RUN_DIR:
            read_model(Path(CONFIG.init_from), only_weights=True)
        import_tensorflow()
    return types.SimpleNamespace(config=CONFIG, resume=RUN_DIR, quiet=QUIET)


def parse_config(arguments: Sequence[str] | None = None) -> Config:
    """The settings of `parse_command_line`."""
    return parse_command_line(arguments).config


class CommandLine(NamedTuple):
    """What `train.py` was told: the settings, those of them that were given, the run to resume (None to start one), and
    whether to show no progress."""

    config: Config
    given: dict[str, Any]
    resume: str | None
    quiet: bool


def parse_command_line(arguments: Sequence[str] | None = None) -> CommandLine:
    """Read the command line of `train.py`; a mistake ends the program with one line and exit code 2."""
    parser = make_parser(
        "Train a deep Q-network on a Gymnasium environment with discrete actions. The defaults are Blob's; other "
        "environments' are in presets.py."
    )
    for setting in fields(Config):
        default = setting.default if setting.name != "env_args" else "none"
        kind = str(setting.type).removesuffix(" | None")
        options: dict[str, Any] = {
            "help": f"{setting.metadata['help']} (default: {default})",
            "default": argparse.SUPPRESS,
        }
        if kind == "bool":
            options["action"] = argparse.BooleanOptionalAction
        elif setting.name == "env_args":
            options |= {"nargs": "*", "metavar": "KEY=VALUE"}
        elif setting.name == "preset":
            options |= {"choices": tuple(PRESETS)}
        elif "choices" in setting.metadata:
            options |= {"choices": setting.metadata["choices"]}
        else:
            options |= {"type": {"int": int, "float": float, "str": str}[kind], "metavar": kind.upper()}
        parser.add_argument(flag_of(setting.name), **options)
    parser.add_argument(
        "--size", type=int, metavar="INT", help="cells along Blob's side, short for --env-args size=INT"
    )
    parser.add_argument(
        "--resume",
        metavar="RUN",
        help="go on with a run in --logs-dir from its last checkpoint; latest is the last run",
    )
    parser.add_argument("--quiet", action="store_true", help="show no progress, only what the run came to")
    given = vars(parser.parse_args(arguments))
    size, resume, quiet = given.pop("size"), given.pop("resume"), given.pop("quiet")
    with exit_on_bad_input(parser.prog):
        if "env_args" in given:
            given["env_args"] = dict(parse_env_arg(text) for text in given["env_args"])
        if size is not None:
            given["env_args"] = {"size": size, **given.get("env_args", {})}
        # A run to resume has settings of its own, with which those given are checked later.
        config = Config.from_preset(**{k: v for k, v in given.items() if not resume or k == "logs_dir"})
        return CommandLine(config, given, resume, quiet)
