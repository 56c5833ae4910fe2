"""A dataclass of settings checks the type and the bounds of each."""

from __future__ import annotations

from dataclasses import dataclass
from types import NoneType
from typing import Any

import pytest

from console.errors import InputError
from console.settings import check_settings, flag_of, setting, types_of


@dataclass(frozen=True)
class Oven:
    """Settings of every type."""

    degrees: int = setting(180, "heat", at_least=50, at_most=250)
    bake_hours: float = setting(1.0, "time", above=0)
    mode: str = setting("top", "which side heats", choices=("top", "bottom"))
    fan: bool = setting(False, "moving air")
    timer: int | None = setting(None, "minutes until it rings", at_least=1)
    options: dict[str, Any] = setting({}, "the rest")

    def __post_init__(self) -> None:
        check_settings(self)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("degrees", 50), ("degrees", 250), ("bake_hours", 2), ("bake_hours", 1e-9), ("mode", "bottom")),
        *(("fan", True), ("timer", None), ("timer", 1), ("options", {"a": 1})),
    ],
)
def test_values_that_suit(name: str, value: Any) -> None:
    assert getattr(Oven(**{name: value}), name) == value


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("degrees", 49, "--degrees must be at least 50, got 49"),
        ("degrees", 251, "--degrees must be at most 250, got 251"),
        ("degrees", 180.0, "--degrees must be of type int, got 180.0"),
        ("degrees", True, "--degrees must be of type int, got True"),
        ("degrees", None, "--degrees must be of type int, got None"),
        ("degrees", 2**63, "--degrees must be a finite number, got 9223372036854775808"),
        ("bake_hours", 0, "--bake-hours must be above 0, got 0"),
        ("bake_hours", float("nan"), "--bake-hours must be a finite number, got nan"),
        ("bake_hours", float("inf"), "--bake-hours must be a finite number, got inf"),
        ("bake_hours", "1", "--bake-hours must be of type float, got '1'"),
        ("mode", "both", "--mode must be one of top, bottom, got 'both'"),
        ("mode", 1, "--mode must be of type str, got 1"),
        ("fan", 1, "--fan must be of type bool, got 1"),
        ("timer", 0, "--timer must be at least 1, got 0"),
        ("timer", "soon", "--timer must be of type int, got 'soon'"),
        ("options", [], "--options must be of type dict, got []"),
    ],
)
def test_values_that_do_not_suit(name: str, value: Any, message: str) -> None:
    with pytest.raises(InputError) as error:
        Oven(**{name: value})
    assert str(error.value) == message


def test_types_and_flags() -> None:
    assert types_of(Oven) == {
        **{"degrees": (int,), "bake_hours": (float,), "mode": (str,), "fan": (bool,)},
        **{"timer": (int, NoneType), "options": (dict,)},
    }
    assert flag_of("bake_hours") == "--bake-hours"
    assert Oven().options is not Oven().options
