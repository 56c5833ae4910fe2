"""Actors as processes of Ray: started, called, and given up when they die or hang."""

from __future__ import annotations

import contextlib
from typing import Any

import psutil

from cluster.actor import Actor
from cluster.ray_session import go_to_folder, ray_session
from config import Config
from console.errors import InputError
from console.messages import one_line

BYTES = 350_000_000  # that an actor takes, at least
PATIENCE = 600.0  # seconds without a step after which an actor counts as hung
LOOKS = 10  # at its steps, in that time

# One thread each, as they share the cores with each other and with the learner, which has the GPU to itself.
ENVIRONMENT = {
    **dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1"),
    "CUDA_VISIBLE_DEVICES": "-1",
}


class ActorLost(Exception):
    """An actor died or hangs."""


class RemoteActor(Actor):
    """An actor in a process of Ray's, which keeps Ctrl-C away from it."""

    def prepare(self) -> dict[str, str]:
        """See `Actor.prepare`."""
        go_to_folder()
        return super().prepare()


class Crew:
    """The actors of a run on Ray.

    Args:
        config: of the run.
        address: of the cluster; None for this machine.

    Raises:
        InputError: there is no cluster at the address, or it has too few processors, or this machine too little memory.
    """

    def __init__(self, config: Config, address: str | None = None) -> None:
        free = psutil.virtual_memory().available
        if not address and config.actors * BYTES > free:
            raise InputError(
                f"--actors {config.actors} take {config.actors * BYTES / 1e9:,.1f} GB, this machine has "
                f"{free / 1e9:,.1f} GB free: at most {free // BYTES} fit"
            )
        self._config = config
        self._where = f"the cluster at {address}" if address else "this machine"
        self._stack = contextlib.ExitStack()
        self._stack.enter_context(ray_session(address, ENVIRONMENT, cpus=config.actors))
        import ray

        self._ray = ray
        # A group of its own answers while the actor plays. Not `max_restarts`: Ray would call the constructor again,
        # and then, before anybody could say where the last one stood, the calls that were waiting.
        remote: Any = ray.remote
        self._class = remote(num_cpus=1, scheduling_strategy="SPREAD", concurrency_groups={"watch": 1})(RemoteActor)

    def start(self, number: int) -> Any:
        """Start an actor. Returns a handle.

        Raises:
            InputError: there are too few processors, as a machine of the cluster may be gone.
        """
        self._check_processors()
        return self._class.remote(self._config, number)

    def _check_processors(self) -> None:
        cpus = int(self._ray.cluster_resources().get("CPU", 0))
        if cpus < self._config.actors:
            raise InputError(
                f"{self._where} has too few processors for --actors {self._config.actors}, which need one each: "
                f"{cpus}; name fewer, or join more machines"
            )

    def call(self, actor: Any, method: str, *arguments: Any) -> Any:
        """Ask an actor for something. It does one after the other. Returns a reference for `result`."""
        return getattr(actor, method).remote(*arguments)

    def put(self, value: Any) -> Any:
        """Hand out a value once for all calls that take it. Returns what to give to them."""
        return self._ray.put(value)

    def result(self, actor: Any, reference: Any, seconds: float) -> tuple[bool, Any]:
        """Wait for an answer. Returns whether it is there, and the answer.

        Raises:
            ActorLost: the actor died.
            InputError: what it was asked for failed.
        """
        try:
            return True, self._ray.get(reference, timeout=seconds)
        except self._ray.exceptions.GetTimeoutError:
            return False, None
        except self._ray.exceptions.RayTaskError as error:
            cause = error.cause
            reason = str(cause) if isinstance(cause, InputError) else f"{type(cause).__name__}: {cause}"
            raise InputError(f"an actor failed: {one_line(reason)}") from error
        except self._ray.exceptions.RayError as error:
            raise ActorLost("died") from error

    def moves(self, actor: Any) -> int | None:
        """The steps that an actor has played; None if it does not answer.

        Raises:
            InputError: as `start`, since an actor without a processor waits for ever.
        """
        self._check_processors()
        method = actor.moves.options(concurrency_group="watch")
        with contextlib.suppress(self._ray.exceptions.RayError):
            return int(self._ray.get(method.remote(), timeout=5))
        return None

    def kill(self, actor: Any) -> None:
        """End an actor's process, if it lives."""
        self._ray.kill(actor)

    def close(self) -> None:
        """End all processes."""
        self._stack.close()
