"""Actors in this process, which die and hang when a test says so."""

from collections.abc import Callable
from typing import Any

import numpy as np

from cluster.actor import Actor
from cluster.crew import ActorLost
from config import Config


class Inline:
    """Starts actors without Ray.

    Args:
        config: of the run.
        dies: asked before every call, from its number on: whether the actor that is called dies.
        make: makes an actor.
    """

    def __init__(
        self, config: Config, dies: Callable[[int], bool] = lambda _: False, make: type[Actor] = Actor
    ) -> None:
        self._config, self._dies, self._make = config, dies, make
        self._dead: set[int] = set()
        self.hung: set[int] = set()
        self.calls = self.deaths = 0
        self.started: list[Actor] = []
        self.is_closed = False

    def start(self, number: int) -> Actor:
        self.started.append(self._make(self._config, number))
        return self.started[-1]

    def call(self, actor: Actor, method: str, *arguments: Any) -> Any:
        self.calls += 1
        if id(actor) not in self._dead and self._dies(self.calls):
            self._dead.add(id(actor))
            self.deaths += 1
        if id(actor) in self._dead | self.hung:
            return None
        try:
            # Arrays that come from Ray cannot be written to.
            return True, read_only(getattr(actor, method)(*map(read_only, arguments)))
        except Exception as error:
            return False, error

    def put(self, value: Any) -> Any:
        return value

    def result(self, actor: Actor, reference: Any, seconds: float) -> tuple[bool, Any]:
        if id(actor) in self.hung:
            return False, None
        if reference is None:
            raise ActorLost("died")
        is_done, answer = reference
        if not is_done:
            raise answer
        return True, answer

    def moves(self, actor: Actor) -> int | None:
        return actor.moves()

    def kill(self, actor: Actor) -> None:
        self._dead.add(id(actor))

    def close(self) -> None:
        self.is_closed = True


def read_only(value: Any) -> Any:
    """Copy a value, with arrays that cannot be written to."""
    if isinstance(value, np.ndarray):
        copy = value.copy()
        copy.flags.writeable = False
        return copy
    if isinstance(value, dict):
        return {key: read_only(part) for key, part in value.items()}
    if isinstance(value, list):
        return [read_only(part) for part in value]
    if isinstance(value, tuple):
        parts = [read_only(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value
