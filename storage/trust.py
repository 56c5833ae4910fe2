"""Trust: a file may name code and paths of its own only if the user names them too."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from config import Config
from console.errors import InputError
from console.settings import flag_of
from environments.names import find_spec, package_of

# Their environments may be made without asking; `environments` has the games of consoles.
KNOWN_MODULES = ("blob_env", "environments", "gymnasium", "ale_py", "vizdoom")


def check_trusted(path: Path, config: Config, trusted: Mapping[str, Any]) -> None:
    """Check that the user trusts the code and the paths that a file names, and named no others.

    Args:
        path: the file or folder, for the message.
        config: its settings.
        trusted: the settings that the user gave; "env", "env_args" and "network" count.

    Raises:
        InputError: the file names code or a path that is not in `trusted`, or `trusted` differs from the file.
    """
    if any(trusted.get(setting) != value for setting, value in untrusted_settings(config).items()):
        raise InputError(f"{path} names code or a path of its own. If you trust it, repeat it: {trust_flags(config)}")
    for setting, own in (("env", config.env), ("network", config.network)):
        if trusted.get(setting) not in (None, own):
            raise InputError(f"{path} was made with --{setting} {own}, which cannot change: leave it out")
    if any(item not in config.env_args.items() for item in trusted.get("env_args", {}).items()):
        raise InputError(f"{path} was made with --env-args {config.env_args}, which cannot change: leave them out")


def trust_flags(config: Config) -> str:
    """Return the flags with which a script trusts a file with these settings; "" if it needs none."""
    flags = []
    for setting, value in untrusted_settings(config).items():
        texts = [f"{k}={v}" for k, v in value.items()] if isinstance(value, dict) else [value]
        flags += [flag_of(setting), *map(shlex.quote, texts)]
    return " ".join(flags)


def untrusted_settings(config: Config) -> dict[str, Any]:
    """Return the settings that name code or paths from outside this project and the known packages.

    A stranger's file must not make anyone run or open them: an environment, a network, and options of the environment
    that look like paths.
    """
    untrusted: dict[str, Any] = {}
    if not _is_known(config.env):
        untrusted["env"] = config.env
    if ":" in config.network:
        untrusted["network"] = config.network
    if paths := {name: value for name, value in config.env_args.items() if _may_be_path(value)}:
        untrusted["env_args"] = paths
    return untrusted


def _is_known(env: str) -> bool:
    """Whether an environment is registered by a known module. Imports nothing that a file names."""
    if ":" in env:
        return False
    try:
        spec, _ = find_spec(env)
    except InputError:
        return True  # no such environment, which `make_env` reports better
    return package_of(spec) in KNOWN_MODULES


def _may_be_path(value: Any) -> bool:
    return not isinstance(value, bool | int | float) and bool(re.search(r"[./\\]", str(value)))
