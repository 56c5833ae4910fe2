"""Lanes that actors play while the learner learns from what they played before (Horgan et al. 2018, "Distributed
prioritized experience replay")."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
import optree

from agent import DQNAgent
from cluster.actor import LENGTH, Chunk, code_version, join, newest_frames
from cluster.crew import LOOKS, PATIENCE, ActorLost
from config import Config
from console.errors import InputError
from console.messages import one_line, say
from environments.lanes import Lanes, Step, make_lanes
from environments.spaces import Observations, QValues, example_observation, write_lane
from storage.versions import versions
from training.greedy_play import GreedyEpisodes, InterruptedPlay, evaluation_lanes, shares_of

REPLACEMENTS = 3  # of an actor, in a row: if the last one dies too, the run ends
GOODBYE = 10.0  # seconds that actors have to close their environments


class Starter(Protocol):
    """Starts actors and calls them; see `cluster.crew.Crew`."""

    def start(self, number: int) -> Any:
        """Start an actor."""

    def call(self, actor: Any, method: str, *arguments: Any) -> Any:
        """Ask an actor for something."""

    def put(self, value: Any) -> Any:
        """Hand out a value once."""

    def result(self, actor: Any, reference: Any, seconds: float) -> tuple[bool, Any]:
        """Wait for an answer."""

    def moves(self, actor: Any) -> int | None:
        """Ask how far it is."""

    def kill(self, actor: Any) -> None:
        """End an actor."""

    def close(self) -> None:
        """End all."""


@dataclass(eq=False)
class _Call:
    """What an actor was asked for."""

    method: str
    arguments: tuple
    reference: Any = None


class _Member:
    """An actor, and another one in its place where it dies.

    Calls are answered in order. One that takes the place of another is given the state from before the first call that
    is not done, and asked again, so its answers are the same.

    Args:
        starter: starts it.
        number: of the actor.
        versions_here: of what this process runs on.
    """

    def __init__(self, starter: Starter, number: int, versions_here: dict[str, str]) -> None:
        self._starter, self._number, self._versions = starter, number, versions_here
        self._state: Any = None
        self._calls: list[_Call] = []
        self._start()

    def _start(self) -> None:
        self._actor = self._starter.start(self._number)
        self._prepared = self._starter.call(self._actor, "prepare")

    def check_first(self) -> None:
        """Wait until the first one is ready.

        Raises:
            InputError: it cannot start, or runs on other versions than this process.
        """
        try:
            self._check()
        except ActorLost as lost:
            reason = one_line(str(lost.__cause__ or "are all processors in use?").strip().splitlines()[-1])
            raise InputError(f"actor {self._number} cannot start: {reason}") from lost

    def _check(self) -> None:
        there, here = self._wait(self._prepared), self._versions
        for package in here.keys() & there.keys() - {"platform"}:
            if there[package] != here[package]:
                found = f"actor {self._number} has {package} {there[package]}, this process {here[package]}"
                raise InputError(f"{found}: all need the same")

    def ask(self, method: str, *arguments: Any) -> _Call:
        """Ask it for something, which `answer` waits for."""
        call = _Call(method, arguments)
        call.reference = self._starter.call(self._actor, method, *arguments)
        self._calls.append(call)
        return call

    def answer(self, call: _Call, should_stop: Callable[[], object] = bool) -> Any:
        """Wait for the answer to a call.

        Raises:
            InputError: it died too often, or what it was asked for failed.
            InterruptedPlay: `should_stop` said so.
        """
        for attempt in range(REPLACEMENTS + 1):
            try:
                if attempt:
                    self._replace()
                answer = self._wait(call.reference, should_stop)
                self._calls.remove(call)
                return answer
            except ActorLost as lost:
                if attempt == REPLACEMENTS:
                    raise InputError(
                        f"actor {self._number} {lost} {attempt + 1} times in a row; --resume goes on from the newest "
                        "checkpoint"
                    ) from lost
                say(f"warning: actor {self._number} {lost}; another one takes its place and plays the same again")
        raise AssertionError

    def keep(self, state: Any) -> None:
        """Take note of the state behind the calls that are done."""
        self._state = state

    def _replace(self) -> None:
        self._starter.kill(self._actor)
        self._start()
        self._check()
        if self._state is not None:
            restarted, _ = self._wait(self._starter.call(self._actor, "set_state", self._state))
            if restarted:
                raise InputError(
                    f"actor {self._number} died, and its environments cannot be put back where they stood "
                    f"({next(iter(restarted.values()))}): --resume goes on from the newest checkpoint"
                )
        for call in self._calls:
            call.reference = self._starter.call(self._actor, call.method, *call.arguments)

    def say_goodbye(self) -> None:
        """Ask it to close its environments."""
        self._goodbye = self._starter.call(self._actor, "close")

    def wait_for_goodbye(self, ends: float) -> None:
        """Wait until it has, to a time of `time.monotonic` at most; one that is dead or hangs cannot."""
        with contextlib.suppress(ActorLost, InputError):
            while time.monotonic() < ends and not self._starter.result(self._actor, self._goodbye, 0.5)[0]:
                pass

    def _wait(self, reference: Any, should_stop: Callable[[], object] = bool) -> Any:
        """Wait for an answer for as long as the actor plays."""
        moves, moved_at, looked_at = None, time.monotonic(), time.monotonic()
        while True:
            is_there, answer = self._starter.result(self._actor, reference, 1.0)
            if is_there:
                return answer
            if should_stop():
                raise InterruptedPlay
            now = time.monotonic()
            if now - looked_at >= PATIENCE / LOOKS:
                before, moves, looked_at = moves, self._starter.moves(self._actor), now
                if moves is not None and moves != before:
                    moved_at = now
            if now - moved_at > PATIENCE:
                raise ActorLost("hangs")


class Actors(Lanes):
    """Lanes that are played in other processes.

    Play goes by rounds. When the learner has all chunks of one, it asks every actor for the next, with the weights and
    epsilons of now, and learns from the first meanwhile. So a run depends on its seed alone, not on who is faster;
    who is slowest sets the pace.

    Args:
        config: of the run.
        starter: starts the actors.

    Raises:
        InputError: an actor cannot make its environments, or runs on other versions than this process.
    """

    def __init__(self, config: Config, starter: Starter) -> None:
        with make_lanes(config, 1) as one:
            self.observation_space, self.action_space = one.observation_space, one.action_space
            self.n_actions = one.n_actions
        self.count, self._config, self._starter = config.lanes, config, starter
        self._structure = optree.tree_structure(example_observation(self.observation_space))
        self._share = config.lanes // config.actors
        here = {**versions(), "this project": code_version()}
        self._members = [_Member(starter, number, here) for number in range(config.actors)]
        for member in self._members:
            member.check_first()
        self._states: list[Any] = []  # of the actors, behind the chunks of this round
        self._chunks: list[Chunk] = []  # of this round
        self._round: Chunk | None = None  # these, side by side
        self._at = 0  # the next step of the round
        self._asked: tuple[list[np.ndarray], np.ndarray] | None = None  # weights and epsilons, for the next round
        self._calls: list[_Call] = []
        self.learner: DQNAgent | None = None
        self.observations: Observations = None  # to act on next, as last handed out
        self.is_closed = False
        self.seconds_waited = 0.0

    @property
    def symmetries(self) -> Any:
        """See `Lanes.symmetries`."""
        with make_lanes(self._config, 1) as one:
            return one.symmetries

    def reset(self, seed: int) -> tuple[Observations, np.ndarray]:
        """Start an episode in every lane, lane i seeded with seed + i. Returns observations and masks to act on; of
        stacked frames the newest alone."""
        calls = [member.ask("reset", seed) for member in self._members]
        self._keep([member.answer(call) for member, call in zip(self._members, calls, strict=True)])
        self.observations, masks = self._seen_behind()
        return self.observations, masks

    def _keep(self, states: Sequence[Any]) -> None:
        self._states = list(states)
        for member, state in zip(self._members, states, strict=True):
            member.keep(state)

    def _seen_behind(self) -> tuple[Observations, np.ndarray]:
        """What the actors see behind this round, and the legal actions there."""
        stack = self._config.frame_stack
        seen = zip(*(newest_frames(state["observations"], stack) for state in self._states), strict=True)
        observations = optree.tree_unflatten(self._structure, [np.concatenate(arrays) for arrays in seen])
        return observations, np.concatenate([state["masks"] for state in self._states])

    def next_actions(self) -> np.ndarray:
        """Return the actions int (lanes,) of the next step, which the actors have taken already."""
        if self._round is None or self._at == LENGTH:
            self._begin_round()
        assert self._round
        return self._round.actions[self._at]

    @property
    def td_errors(self) -> np.ndarray:
        """The TD errors of the step that was taken last, by the actors' own networks: float32 (lanes,), or empty."""
        assert self._round
        return self._round.td_errors[self._at - 1]

    def _begin_round(self) -> None:
        if not self._asked:
            self._ask()
        began = time.perf_counter()
        self._chunks = [member.answer(call) for member, call in zip(self._members, self._calls, strict=True)]
        self.seconds_waited += time.perf_counter() - began
        self._keep([chunk.state for chunk in self._chunks])
        self._round, self._at = join(self._chunks), 0
        self._ask()

    def _ask(self) -> None:
        """Ask every actor for its part of the next round."""
        assert self.learner
        self._asked = self.learner.get_weights(), self.learner.epsilon
        self._call()

    def _call(self) -> None:
        assert self._asked
        weights, epsilons = self._starter.put(self._asked[0]), np.split(self._asked[1], len(self._members))
        self._calls = [member.ask("play", weights, each) for member, each in zip(self._members, epsilons, strict=True)]

    def step(self, actions: np.ndarray) -> Step:
        """Return the next step. The actors have taken it already, with these actions."""
        assert self._round
        step = self._round.step(self._at, self._structure)
        self._at += 1
        self.observations = step.next_observations
        return step

    def get_state(self) -> Any:
        """Save where the actors stand behind this round, the round and what of it is done, and what they were asked."""
        return {
            "actors": self._states,
            "chunks": [chunk._replace(state=None)._asdict() for chunk in self._chunks],
            "at": self._at,
            "asked": list(self._asked) if self._asked else None,
        }

    def set_state(self, state: Any, observations: Observations, masks: np.ndarray) -> dict[int, str]:
        """Go on where the lanes stood; see `environments.resume.set_lanes_state`."""
        calls = [member.ask("set_state", each) for member, each in zip(self._members, state["actors"], strict=True)]
        answers = [member.answer(call) for member, call in zip(self._members, calls, strict=True)]
        self._keep([state for _, state in answers])
        self._chunks = [Chunk(**chunk) for chunk in state["chunks"]]
        self._round, self._at = join(self._chunks) if self._chunks else None, int(state["at"])
        restarted = {
            number * self._share + lane: reason
            for number, (lanes, _) in enumerate(answers)
            for lane, reason in lanes.items()
        }
        if restarted and self._round and self._at < LENGTH:
            # What is left of the round leads where these lanes are not, and the others are past it.
            assert self.learner
            self.reset(int(np.random.SeedSequence([self._config.seed or 0, self.learner.steps]).generate_state(1)[0]))
            other = f"lane {next(iter(restarted))} leaves a round unfinished"
            restarted = {lane: restarted.get(lane, other) for lane in range(self.count)}
        if restarted:
            self._round, self._chunks = None, []
            behind, masks_behind = self._seen_behind()
            for lane in restarted:
                write_lane(observations, lane, optree.tree_map(lambda arrays, lane=lane: arrays[lane], behind))
                masks[lane] = masks_behind[lane]
        if state["asked"]:
            self._asked = state["asked"][0], state["asked"][1]
            self._call()
        self.observations = observations
        return restarted

    def make_player(self, config: Config, should_stop: Callable[[], object]) -> ActorsPlayer:
        """Make what plays greedily on the actors."""
        return ActorsPlayer(self, config, should_stop)

    def evaluate(self, lanes: int, episodes: int, seed: int, should_stop: Callable[[], object]) -> GreedyEpisodes:
        """Play greedily with the learner's weights, as `play_greedily` does in so many lanes. The actors share them.

        Raises:
            InterruptedPlay: `should_stop` said so.
        """
        assert self.learner
        weights, shares = self._starter.put(self.learner.get_weights()), shares_of(episodes, lanes)
        parts = [part for part in np.array_split(np.arange(lanes), len(self._members)) if shares[part].sum()]
        calls = [
            member.ask("evaluate", weights, len(part), int(shares[part].sum()), seed + int(part[0]))
            for member, part in zip(self._members, parts, strict=False)  # the last ones may have nothing to do
        ]
        answers = [member.answer(call, should_stop) for member, call in zip(self._members, calls, strict=False)]
        return in_order(answers, [shares[part] for part in parts])

    def close(self) -> None:
        """Let the actors close their environments, and end them."""
        self.is_closed = True
        ends = time.monotonic() + GOODBYE
        for member in self._members:
            member.say_goodbye()
        for member in self._members:
            member.wait_for_goodbye(ends)
        self._starter.close()


class ActorsPlayer:
    """Plays greedily on the actors; see `training.greedy_play.GreedyPlayer`."""

    def __init__(self, actors: Actors, config: Config, should_stop: Callable[[], object]) -> None:
        self._actors, self._should_stop = actors, should_stop
        self.lanes = evaluation_lanes(config, config.evaluate_episodes)

    def play(self, q_values: QValues, episodes: int, seed: int) -> GreedyEpisodes:
        """Play with the learner's weights, which `q_values` has too."""
        return self._actors.evaluate(self.lanes, episodes, seed, self._should_stop)

    def close(self) -> None:
        """The actors end by themselves."""


def in_order(parts: Sequence[GreedyEpisodes], shares: Sequence[np.ndarray]) -> GreedyEpisodes:
    """Put episodes of neighbouring lanes together, in the order in which one process plays them: the first of every
    lane, then the second.

    Args:
        parts: of some lanes each.
        shares: episodes of each of these lanes, int (lanes,).
    """
    # Each part is in that order already, so it is enough to know which turn its episodes were.
    turns = [turn for share in shares for turn in range(share.max()) for _ in range(int((share > turn).sum()))]
    order = np.argsort(turns, kind="stable")

    def together(name: str) -> Any:
        arrays = [getattr(part, name) for part in parts]
        is_known = all(array is not None for array in arrays)
        return np.concatenate(arrays)[order] if is_known else None

    return GreedyEpisodes(*(together(field.name) for field in fields(GreedyEpisodes)))
