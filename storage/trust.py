"""What a file may name without the user's word: no code and no paths of its own."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym

from config import Config
from console.errors import InputError
from environments.make import find_spec


def check_trusted(path: Path, config: Config, repeated: Mapping[str, Any]) -> None:
    """Refuse code and paths that a file names, unless the user has named them too, and others than the file's.

    Raises:
        InputError: the settings of the file at `path` name some that are not in `repeated`, or have others.
    """
    if any(repeated.get(setting) != value for setting, value in untrusted_settings(config).items()):
        raise InputError(f"{path} names code or a path of its own. If you trust it, repeat it: {trust_flags(config)}")
    for setting, own in (("env", config.env), ("network", config.network)):
        if repeated.get(setting) not in (None, own):
            raise InputError(f"{path} was made with --{setting} {own}, which cannot change: leave it out")
    if any(item not in config.env_args.items() for item in repeated.get("env_args", {}).items()):
        raise InputError(f"{path} was made with --env-args {config.env_args}, which cannot change: leave them out")


def trust_flags(config: Config) -> str:
    """The flags that a script needs beside a file with these settings; empty for none."""
    flags = []
    for setting, value in untrusted_settings(config).items():
        texts = [f"{k}={v}" for k, v in value.items()] if isinstance(value, dict) else [value]
        flags += [f"--{setting.replace('_', '-')}", *map(shlex.quote, texts)]
    return " ".join(flags)


def untrusted_settings(config: Config) -> dict[str, Any]:
    """The settings that name code or paths other than this project's and the known packages', which a stranger's file
    must not make anyone run or open: an environment, a network, and options of the environment that look like paths."""
    foreign: dict[str, Any] = {}
    root = ""
    if ":" not in config.env:
        try:
            root = str(find_spec(config.env)[0].entry_point).partition(":")[0].partition(".")[0]
        except gym.error.Error:
            root = "gymnasium"  # it does not know the name, and says so when it is to make it
    if root not in ("blob_env", "gymnasium", "ale_py", "vizdoom"):
        foreign["env"] = config.env
    if ":" in config.network:
        foreign["network"] = config.network
    paths = {
        k: v
        for k, v in config.env_args.items()
        if not isinstance(v, bool | int | float) and re.search(r"[./\\]", str(v))
    }
    return {**foreign, "env_args": paths} if paths else foreign
