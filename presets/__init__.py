"""Presets: settings that suit an environment, in one TOML file each.

A file holds settings of `Config`, and may also say

- `extends`: another file, whose settings it starts from;
- `on_top`: true if it starts from the preset that suits the environment;
- `suits`: the environments that get it by default, as beginnings of their IDs. A file named like an ID suits that
  environment without saying so;
- `methods`: the methods that get it by default; only "dqn" without it;
- `sizes`: the least and the greatest `size`, among the environment's options, for which it is the default.

A file whose name begins with an underscore is only a base for others.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

_FILES = {path.stem: tomllib.loads(path.read_text("utf-8")) for path in Path(__file__).parent.glob("*.toml")}
_NOT_SETTINGS = ("extends", "on_top", "suits", "methods", "sizes")


def _settings(name: str) -> dict[str, Any]:
    """Return the settings of a file on top of those it extends."""
    file = _FILES[name]
    base = _settings(file["extends"]) if "extends" in file else {}
    return base | {key: value for key, value in file.items() if key not in _NOT_SETTINGS}


PRESETS: dict[str, dict[str, Any]] = {name: _settings(name) for name in sorted(_FILES) if not name.startswith("_")}


def settings_of(preset: str, suitable: str) -> dict[str, Any]:
    """Return the settings of a preset, for an environment that another one suits; none if there is no such preset."""
    is_on_top = _FILES.get(preset, {}).get("on_top")
    return (PRESETS[suitable] if is_on_top else {}) | PRESETS.get(preset, {})


def preset_of(env: str, method: str = "dqn", env_args: Mapping[str, Any] = MappingProxyType({})) -> str:
    """Return the name of the preset that suits an environment, its options and a method best, all as in `Config`."""
    env_id, size = env.rpartition(":")[2], env_args.get("size")
    return max(PRESETS, key=lambda name: _fit(name, env_id, method, size))


def _fit(name: str, env_id: str, method: str, size: object) -> tuple[int, bool]:
    """Return the length of the longest beginning of the ID that a preset suits, or -1, and whether it is for the
    size."""
    file = _FILES[name]
    least, greatest = file.get("sizes", (None, None))
    if method not in file.get("methods", ["dqn"]):
        return -1, False
    if least is not None and not (isinstance(size, int) and least <= size <= greatest):
        return -1, False
    beginnings = [env_id] if name == env_id else file.get("suits", [])
    return max((len(text) for text in beginnings if env_id.startswith(text)), default=-1), least is not None
