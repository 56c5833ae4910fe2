"""The command line of `train.py`, checked before TensorFlow is imported."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Any, NamedTuple

from config import Config
from console.arguments import LATEST, check_writable, make_parser, parse_env_arg, whole_number
from console.errors import InputError, exit_on_bad_input
from console.messages import one_line, say
from console.ray_installation import check_ray
from console.settings import flag_of, types_of
from console.signals import end_quietly_on_ctrl_c
from console.tensorflow_import import check_installation, import_tensorflow
from environments.check import check_env
from storage.model_file import read_model
from storage.run_folder import settings_to_resume
from storage.runs import find_run_to_resume

# The settings, as --help shows them.
GROUPS = {
    "what matters most": (
        *("env", "preset", "episodes", "steps", "seed", "lanes", "learning_rate", "discount", "epsilon_min"),
        "memory_size",
    ),
    "the environment": (
        *("env_args", "max_episode_steps", "frame_stack", "screen_size", "symmetries", "processes", "actors"),
    ),
    "the run": (
        *("models_dir", "logs_dir", "aggregate_every", "evaluate_every", "evaluate_episodes", "contest_factor"),
        *("checkpoint_every", "init_from"),
    ),
    "the network and its updates": (
        *("network", "dueling", "batch_size", "learn_start", "learn_every", "learning_rate_schedule", "loss"),
        *("huber_delta", "v_max", "weight_decay", "gradient_clip"),
    ),
    "targets": ("target_update", "target_every", "target_rate", "double", "munchausen", "n_step", "reward_clip"),
    "replay": ("prioritized", "priority_alpha", "priority_beta"),
    "exploration": ("noisy", "epsilon_schedule", "epsilon_decay", "epsilon_steps", "epsilon_spread"),
    "tables": ("method", "trace_decay"),
}


class Command(NamedTuple):
    """A checked command to `train.py`: the settings, the log folder of the run to resume (None for a new run), whether
    to show no progress, and the address of the Ray cluster where actors play (None for this machine)."""

    config: Config
    resume: Path | None
    quiet: bool
    address: str | None


def read_command() -> Command:
    """Read and check the command line, then import TensorFlow.

    TensorFlow takes seconds to import, and the user should not have to wait that long to hear of a mistake. A mistake
    ends the program with one line and exit code 2.
    """
    end_quietly_on_ctrl_c()  # training itself handles signals with StopOnSignal
    with exit_on_bad_input():
        settings, run, quiet, address, only_check = parse_command_line()
        resume = None if run is None else find_run_to_resume(run, settings.get("logs_dir", Config.logs_dir))
        config = settings_to_resume(resume, settings) if resume else Config.from_preset(**settings)
        if address and not config.actors:
            raise InputError("--address is where --actors play: name their number too")
        if config.actors:
            check_ray(address)
        verdict = _check(config, new=resume is None)
        if only_check:
            say(one_line(verdict), sys.stdout)
            sys.exit()
        check_installation()
        if not quiet:
            starts = "TensorFlow and Ray take" if config.actors else "TensorFlow takes"
            say(one_line(f"{_what(config)}; {starts} some seconds to start"))
        import_tensorflow()
    return Command(config, resume, quiet, address)


def _what(config: Config) -> str:
    """What a run does, in short."""
    length = f"{config.steps:,} steps" if config.steps else f"{config.episodes:,} episodes"
    return f"training on {config.env} for {length}, with the settings of the preset {config.preset}"


def _check(config: Config, new: bool) -> str:
    check_writable("--models-dir", config.models_dir)
    check_writable("--logs-dir", config.logs_dir)
    verdict = check_env(config)
    if config.init_from and new:
        read_model(Path(config.init_from), only_weights=True)
    return verdict


class Given(NamedTuple):
    """A command line as it was typed: only the settings that were given, the run to resume, whether to be quiet, the
    address of a Ray cluster, and whether only to check the environment."""

    settings: dict[str, Any]
    resume: str | None
    quiet: bool
    address: str | None = None
    check: bool = False


def parse_command_line(arguments: Sequence[str] | None = None) -> Given:
    """Parse the command line. `Config` checks the values of the settings.

    Raises:
        InputError: an option of the environment is not KEY=VALUE.
        SystemExit: argparse has reported another mistake.
    """
    settings = vars(_make_parser().parse_args(arguments))
    size, *rest = [settings.pop(name) for name in ("size", "resume", "quiet", "address", "check")]
    if "env_args" in settings:
        settings["env_args"] = dict(parse_env_arg(text) for text in settings["env_args"])
    if size is not None:
        settings["env_args"] = {"size": size, **settings.get("env_args", {})}
    return Given(settings, *rest)


def _make_parser() -> argparse.ArgumentParser:
    parser = make_parser(
        "Train a deep Q-network on a Gymnasium environment with discrete actions. The defaults below are Blob's; for "
        "another environment, the preset that suits it sets some of them differently: see presets/generic.toml, and "
        "the other files there.",
        usage="%(prog)s [--env ID] [other settings]",
        stray="for an environment, write --env {}",
    )
    settings = {setting.name: setting for setting in fields(Config)}
    for title, names in GROUPS.items():
        group = parser.add_argument_group(title)
        for name in names:
            group.add_argument(flag_of(name), default=argparse.SUPPRESS, **_options(settings[name]))
    parser.add_argument(
        "--size", type=whole_number, metavar="INT", help="cells along Blob's side, short for --env-args size=INT"
    )
    parser.add_argument(
        "--resume",
        metavar="RUN",
        nargs="?",
        const=LATEST,
        help="continue a run from its last checkpoint: its name or log folder, or latest, the default",
    )
    parser.add_argument("--quiet", action="store_true", help="show no progress, only the results")
    parser.add_argument(
        "--address",
        metavar="HOST:PORT",
        help="of a Ray cluster whose machines --actors play on (default: this machine)",
    )
    parser.add_argument("--check", action="store_true", help="only check the environment, and say what it is like")
    return parser


def _options(setting: Field) -> dict[str, Any]:
    """Return what argparse needs to know about a setting."""
    default = "none" if setting.default in (None, MISSING) else setting.default
    if setting.name == "preset":
        default = "the one that suits --env and --method"
    help = {"help": f"{setting.metadata['help']} (default: {default})"}
    kind = types_of(Config)[setting.name][0]
    if "choices" in setting.metadata:
        return {**help, "choices": setting.metadata["choices"]}
    if kind is dict:
        return {**help, "nargs": "*", "metavar": "KEY=VALUE"}
    if kind is bool:
        return {**help, "action": argparse.BooleanOptionalAction}
    return {**help, "type": whole_number if kind is int else kind, "metavar": kind.__name__.upper()}
