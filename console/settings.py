"""Settings as a dataclass: fields with a help text, a flag and bounds, and the check of their values."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import field, fields
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from console.errors import InputError

BOUNDS = {"at_least": operator.ge, "above": operator.gt, "at_most": operator.le}


def setting(default: Any, help: str, **facts: Any) -> Any:
    """Return a dataclass field with its help text and other facts: any of `BOUNDS`, `choices`, or facts of your own."""
    metadata = {"help": help, **facts}
    if isinstance(default, dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


def flag_of(name: str) -> str:
    """Return the command line flag of a setting."""
    return "--" + name.replace("_", "-")


def types_of(settings: type) -> dict[str, tuple[type, ...]]:
    """Return the types that each field of a dataclass may have: (int,), or (int, NoneType) for `int | None`."""
    hints = get_type_hints(settings)
    return {k: get_args(v) if isinstance(v, UnionType) else (get_origin(v) or v,) for k, v in hints.items()}


def check_settings(settings: Any) -> None:
    """Check that every field of a dataclass has its type and lies within its bounds.

    Raises:
        InputError: a field does not.
    """
    types = types_of(type(settings))
    for each in fields(settings):
        value = getattr(settings, each.name)
        if value is not None or NoneType not in types[each.name]:
            _check_type(flag_of(each.name), value, types[each.name][0])
            _check_bounds(flag_of(each.name), value, each.metadata)


def _check_type(flag: str, value: Any, kind: type) -> None:
    # An int may stand for a float. A bool may not stand for an int, though it is one in Python.
    kinds: Any = (int, float) if kind is float else kind
    if not isinstance(value, kinds) or (isinstance(value, bool) and kind is not bool):
        raise InputError(f"{flag} must be of type {kind.__name__}, got {value!r}")
    if kind in (int, float) and not abs(value) < (2**63 if kind is int else 1e308):
        raise InputError(f"{flag} must be a finite number, got {value}")


def _check_bounds(flag: str, value: Any, facts: Mapping[str, Any]) -> None:
    for bound, holds in BOUNDS.items():
        if bound in facts and not holds(value, facts[bound]):
            raise InputError(f"{flag} must be {bound.replace('_', ' ')} {facts[bound]}, got {value}")
    if value not in facts.get("choices", (value,)):
        raise InputError(f"{flag} must be one of {', '.join(facts['choices'])}, got {value!r}")
