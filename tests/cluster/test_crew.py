"""What actors on Ray answer, and what is refused before any is started. Ray itself is played by a few lines."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from cluster.crew import BYTES, ActorLost, Crew
from cluster.ray_session import ray_session
from config import Config
from console.errors import InputError

CONFIG = Config.from_preset(env="CartPole-v1", actors=2, lanes=4)


class RayError(Exception):
    pass


class GetTimeoutError(RayError):
    pass


class RayTaskError(RayError):
    def __init__(self, cause: Exception) -> None:
        self.cause = cause


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Answers what `answer` holds, or raises it."""
    errors = SimpleNamespace(RayError=RayError, GetTimeoutError=GetTimeoutError, RayTaskError=RayTaskError)
    fake = SimpleNamespace(exceptions=errors, cpus=2.0, answer=None)

    def get(reference: Any, timeout: float) -> Any:
        if isinstance(fake.answer, Exception):
            raise fake.answer
        return fake.answer

    fake.get, fake.remote = get, lambda **_: lambda kind: SimpleNamespace(remote=lambda *given: given)
    fake.cluster_resources = lambda: {"CPU": fake.cpus}
    fake.init, fake.shutdown = lambda **_: None, lambda: None
    monkeypatch.setitem(sys.modules, "ray", fake)
    monkeypatch.setattr("console.ray_installation.find_spec", lambda name: name)
    return fake


@pytest.fixture
def crew(ray: SimpleNamespace) -> Iterator[Crew]:
    with contextlib.closing(Crew(CONFIG)) as made:
        yield made


def test_answers(ray: SimpleNamespace, crew: Crew) -> None:
    ray.answer = 7
    assert crew.result(None, None, 1) == (True, 7)
    ray.answer = GetTimeoutError()
    assert crew.result(None, None, 1) == (False, None)
    ray.answer = RayError("the node is gone")
    with pytest.raises(ActorLost, match="died"):
        crew.result(None, None, 1)


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (
            InputError("--env own.py:Game fails in step: ValueError: x (own.py, line 3)"),
            "--env own.py:Game fails",
        ),
        (MemoryError("no room\nat all"), "MemoryError: no room at all"),
    ],
)
def test_what_fails_in_an_actor_is_one_line(ray: SimpleNamespace, crew: Crew, cause: Exception, words: str) -> None:
    ray.answer = RayTaskError(cause)
    with pytest.raises(InputError, match=f"^an actor failed: {words}") as raised:
        crew.result(None, None, 1)
    assert "\n" not in str(raised.value)


def test_how_far_an_actor_is(ray: SimpleNamespace, crew: Crew) -> None:
    """One that does not answer may hang; one without a processor would wait for ever."""
    actor = SimpleNamespace(moves=SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda: None)))
    ray.answer = 64
    assert crew.moves(actor) == 64
    ray.answer = GetTimeoutError()
    assert crew.moves(actor) is None
    ray.cpus = 1.0
    with pytest.raises(InputError, match=r"this machine has too few processors for --actors 2, .*: 1; name fewer"):
        crew.moves(actor)
    with pytest.raises(InputError, match="too few processors"):
        crew.start(0)


def test_too_little_memory(ray: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = SimpleNamespace(available=BYTES * 3 // 2)
    monkeypatch.setattr("cluster.crew.psutil.virtual_memory", lambda: memory)
    with pytest.raises(InputError, match=r"--actors 2 take 0\.7 GB, this machine has 0\.5 GB free: at most 1 fit"):
        Crew(CONFIG)


def test_sessions_of_a_process_share_a_token(ray: SimpleNamespace) -> None:
    """Ray reads it once. Nobody else can, and it is gone afterwards."""
    tokens = []
    for _ in range(2):
        with ray_session(None, {}):
            path = Path(os.environ["RAY_AUTH_TOKEN_PATH"])
            tokens.append(path.read_text())
            assert path.stat().st_mode & 0o777 == 0o600
        assert not path.exists() and "RAY_AUTH_TOKEN_PATH" not in os.environ
    assert tokens[0] == tokens[1] and len(tokens[0]) == 64


def test_processes_find_the_project(ray: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, Any] = {}
    ray.init = lambda **settings: given.update(settings)
    monkeypatch.setenv("PYTHONPATH", "/mine")
    with ray_session(None, {"OMP_NUM_THREADS": "1"}, cpus=10_000):
        variables = given["runtime_env"]["env_vars"]
    assert variables["OMP_NUM_THREADS"] == "1" and variables["PYTHONPATH"].split(os.pathsep)[1:] == ["/mine"]
    assert given["num_cpus"] == 10_000 and not given["include_dashboard"]
