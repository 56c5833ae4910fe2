"""Measures what --actors are worth: steps and updates in a second, how old the weights are that play, what goes over
the wire, and how much a learner can take in: python -m experiments.actors_benchmark"""

from __future__ import annotations

import dataclasses
import time
from typing import Any, NamedTuple

import numpy as np
import optree

from console.tensorflow_import import import_tensorflow

import_tensorflow()

from agent import DQNAgent  # noqa: E402
from cluster.actors import Actors  # noqa: E402
from cluster.crew import Crew  # noqa: E402
from cluster.learner import Learner  # noqa: E402
from config import Config  # noqa: E402
from console.arguments import at_least, make_parser  # noqa: E402
from console.errors import exit_on_bad_input  # noqa: E402
from console.signals import end_quietly_on_ctrl_c  # noqa: E402
from environments.lanes import Lanes, Step, make_lanes  # noqa: E402
from replay_memory import ReplayMemory  # noqa: E402

SLOW: dict[str, Any] = {
    "env": "experiments.slow_environments:SlowCartPole", "steps": 10**9, "seed": 1, "network": "dense",
    "batch_size": 64, "learn_every": 4, "learn_start": 500, "epsilon_steps": 1,
}  # fmt: skip
PONG: dict[str, Any] = {"env": "ALE/Pong-v5", "steps": 10**9, "seed": 1, "learn_start": 1_000, "memory_size": 20_000}
LANES = 4  # of an actor


class Speed(NamedTuple):
    """What was measured in some seconds. Staleness is of the weights that chose an action: the updates done since they
    were sent, when it comes into the memory."""

    steps: float
    updates: float
    megabytes: float
    waited: float
    staleness: float
    oldest: int

    def __str__(self) -> str:
        """A row of the table."""
        return (
            f"{self.steps:9,.0f}{self.updates:10,.0f}{self.megabytes:9.3f}{self.waited:9.0%}{self.staleness:11,.0f}"
            f"{self.oldest:8,}"
        )


TITLE = f"{'steps/s':>9}{'updates/s':>10}{'MB/s':>9}{'waits':>9}{'staleness':>11}{'most':>8}"


class Watched(Actors):
    """Notes what comes in, and with which weights it was played."""

    def __init__(self, config: Config) -> None:
        super().__init__(config, Crew(config))
        self.bytes, self.asked_at, self.played_with = 0, 0, 0

    def _ask(self) -> None:
        assert self.learner
        self.played_with, self.asked_at = self.asked_at, self.learner.updates
        super()._ask()

    def _begin_round(self) -> None:
        super()._begin_round()
        chunks: Any = [chunk._asdict() for chunk in self._chunks]
        leaves: list[Any] = optree.tree_leaves(chunks)
        self.bytes += sum(leaf.nbytes for leaf in leaves if isinstance(leaf, np.ndarray))


def speed(config: Config, seconds: int, learns: bool) -> Speed:
    """Run the loop of `train.py` for some seconds, after as many rounds as it takes until it learns."""
    with Watched(config) if config.actors else make_lanes(config, config.lanes, resumable=True) as envs:
        spaces = envs.observation_space, envs.action_space, config, envs.symmetries
        agent = Learner(*spaces, actors=envs) if isinstance(envs, Watched) else DQNAgent(*spaces)
        observations, masks = envs.reset(0)
        before: tuple[Any, ...] = ()
        ages: list[int] = []
        while True:
            actions = agent.act(observations, masks)
            step = envs.step(actions)
            agent.remember(observations, actions, step)
            if learns:
                agent.learn()
            observations, masks = step.next_observations, step.next_masks
            if not before and agent.steps > config.learn_start + 64 * envs.count:
                before, ages = counts(agent, envs), []
            if isinstance(envs, Watched):
                ages.append(agent.updates - envs.played_with)
            if before and time.perf_counter() - before[0] > seconds:
                now = counts(agent, envs)
                took, steps, updates, sent, waited = (b - a for a, b in zip(before, now, strict=True))
                return Speed(
                    steps / took, updates / took, sent / took / 1e6, waited / took, float(np.mean(ages or 0)),
                    max(ages, default=0),
                )  # fmt: skip


def counts(agent: DQNAgent, envs: Lanes) -> tuple[float, ...]:
    """Return the time, steps, updates, bytes received and seconds waited so far."""
    sent, waited = (envs.bytes, envs.seconds_waited) if isinstance(envs, Watched) else (0, 0.0)
    return time.perf_counter(), agent.steps, agent.updates, sent, waited


def intake(frame: tuple[int, ...], lanes: int, seconds: int) -> float:
    """Append steps of all lanes to a memory. Returns transitions in a second."""
    example = np.zeros(frame, np.uint8)
    memory = ReplayMemory(max(20_000, lanes), lanes, example, 6, stack=4 if len(frame) > 1 else 1, priority_alpha=0.6)
    seen = np.zeros((lanes, *((1, *frame[1:]) if len(frame) > 1 else frame)), np.uint8)
    nothing = np.zeros(lanes)
    step, masks = Step(nothing, nothing > 0, nothing > 0, seen), np.ones((lanes, 6), bool)
    newest, steps, began = np.arange(lanes), 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        memory.append(seen, np.zeros(lanes, int), step, masks)
        memory.set_priorities(memory.frames.slots(newest), np.ones(lanes))
        steps += lanes
    return steps / (time.perf_counter() - began)


def main() -> None:
    """Run the command line."""
    end_quietly_on_ctrl_c()
    parser = make_parser(__doc__ or "")
    parser.add_argument("--seconds", type=at_least(1), default=20, help="for each figure (default: %(default)s)")
    parser.add_argument("--milliseconds", type=float, default=2.0, help="of a slow step (default: %(default)s)")
    parser.add_argument("--actors", type=at_least(1), nargs="+", default=[1, 2, 3, 4], help="(default: 1 2 3 4)")
    arguments = parser.parse_args()
    slow = Config.from_preset(**SLOW, env_args={"milliseconds": arguments.milliseconds})
    pong = Config.from_preset(**PONG)
    with exit_on_bad_input():
        print(f"{arguments.milliseconds} ms a step, {LANES} lanes an actor\n{'':<34}{TITLE}")
        for learns in (False, True):
            for actors in arguments.actors:
                config = dataclasses.replace(slow, actors=actors, lanes=LANES * actors)
                name = f"{actors} actors, {'learning' if learns else 'feeding only'}"
                print(f"{name:<34}{speed(config, arguments.seconds, learns)}", flush=True)
        lanes = LANES * max(arguments.actors)
        for processes in (False, True):
            config = dataclasses.replace(slow, processes=processes, lanes=lanes)
            name = f"{lanes} lanes, {'--processes' if processes else 'one process'}, learning"
            print(f"{name:<34}{speed(config, arguments.seconds, True)}", flush=True)
        print("Pong, 8 lanes")
        for actors in (0, 1, 2):
            name = f"{actors} actors, learning"
            config = dataclasses.replace(pong, actors=actors)
            print(f"{name:<34}{speed(config, arguments.seconds, True)}", flush=True)
        print("a learner's intake alone, transitions/s")
        for frame in ((4,), (4, 84, 84)):
            for lanes in (16, 128, 512):
                shape = "x".join(map(str, frame))
                print(f"observations {shape}, {lanes} lanes: {intake(frame, lanes, 3):,.0f}", flush=True)


if __name__ == "__main__":
    main()
