"""What a search may change: `learning_rate=1e-5:1e-2` is a range, `target_every=50,100,250` are choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from config import Config
from console.arguments import whole_number
from console.errors import InputError
from console.nearest import did_you_mean
from console.settings import types_of

# What is not searched: it names files or the game, ends a run, or belongs to the evaluation that compares trials.
FIXED = {
    *("preset", "env", "env_args", "seed", "models_dir", "logs_dir", "init_from", "episodes", "steps", "actors"),
    *("aggregate_every", "checkpoint_every", "evaluate_every", "evaluate_episodes", "contest_factor"),
}


class Range(NamedTuple):
    """From `low` to `high`: drawn log-uniformly if both are above 0, else uniformly; whole numbers if both are."""

    low: float
    high: float

    @property
    def ends(self) -> tuple[float, ...]:
        """The values that a check of the range must try."""
        return self.low, self.high

    def domain(self) -> Any:
        """Return Ray Tune's domain."""
        from ray import tune

        low, high = self
        if isinstance(low, int) and isinstance(high, int):
            return tune.lograndint(low, high + 1) if low > 0 else tune.randint(low, high + 1)
        return tune.loguniform(low, high) if low > 0 else tune.uniform(low, high)


class Choice(NamedTuple):
    """One of these values."""

    values: tuple[Any, ...]

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values that a check of the choices must try."""
        return self.values

    def domain(self) -> Any:
        """Return Ray Tune's domain."""
        from ray import tune

        return tune.choice(list(self.values))


def parse_search(texts: Sequence[str]) -> dict[str, Range | Choice]:
    """Parse NAME=LOW:HIGH and NAME=A,B,C, of settings by their names or flags.

    Raises:
        InputError: one is of another form, or no setting that can be searched.
    """
    found: dict[str, Range | Choice] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        name = name.lstrip("-").replace("-", "_")
        names = [each for each in types_of(Config) if each not in FIXED]
        if name not in names:
            why = "is not searched" if name in FIXED else f"is no setting{did_you_mean(name, names)}"
            raise InputError(f"--search {text}: {name} {why}")
        kind = types_of(Config)[name][0]
        try:
            if not equals or not values:
                raise ValueError("there is nothing to try")
            if ":" in values and kind in (int, float):
                low, high = (_read(each, kind) for each in values.split(":"))
                if not low < high:
                    raise ValueError(f"{low} is not below {high}")
                found[name] = Range(low, high)
            else:
                found[name] = Choice(tuple(_read(each, kind) for each in values.split(",")))
        except ValueError as error:
            raise InputError(f"--search {text}: {error}; write NAME=LOW:HIGH or NAME=A,B,C") from error
    return found


def _read(text: str, kind: type) -> Any:
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{text!r} is neither true nor false")
        return text.lower() == "true"
    return whole_number(text) if kind is int else kind(text)


def check_search(space: Mapping[str, Range | Choice], settings: Mapping[str, Any]) -> None:
    """Check that runs can be made with the ends of every range and with every choice.

    Raises:
        InputError: one cannot.
    """
    for name, values in space.items():
        for value in values.ends:
            try:
                Config.from_preset(**{**settings, name: value})
            except InputError as error:
                raise InputError(f"--search {name}: {error}") from error
