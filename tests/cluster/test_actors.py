"""A run whose lanes actors play: it depends on its seed alone, whatever happens to them. Here they need no Ray."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from inline import Inline
from interruptions import interrupted_after

from cluster import actors as module
from cluster.actor import LENGTH, Actor
from cluster.actors import Actors, in_order
from cluster.learner import Learner, make_lanes
from config import Config
from console.errors import InputError
from environments.lanes import Step
from experiments.kill_test import differences, fingerprint
from train import train
from training.evaluation import EVALUATION_SEED
from training.greedy_play import GreedyEpisodes, GreedyPlayer, make_evaluation_lanes, play_greedily, shares_of
from training.result import RunResult

SMALL: dict[str, Any] = {
    "env": "CartPole-v1", "steps": 600, "seed": 3, "lanes": 4, "actors": 2, "network": "dense", "learn_start": 100,
    "batch_size": 16, "learn_every": 4, "prioritized": True, "n_step": 2, "memory_size": 500, "evaluate_every": 300,
    "evaluate_episodes": 6, "max_episode_steps": 40,
}  # fmt: skip
Starters = list[Inline]


def config_in(folder: Path, **settings: Any) -> Config:
    folders = {"models_dir": str(folder / "models"), "logs_dir": str(folder / "logs")}
    return Config.from_preset(**{**SMALL, **folders, **settings})


def never(_: int) -> bool:
    return False


@pytest.fixture(scope="module", autouse=True)
def without_xla() -> Iterator[None]:
    """Compiling with it would take most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agent.suits_xla", lambda _: False)
        yield


def print_of(folder: Path) -> dict[str, Any]:
    """The fingerprint of a run, without the generators of this process, which actors in it have seeded."""
    found = fingerprint(folder)
    del found["state"]["generators"]
    return found


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[RunResult, Inline]]:
    """Trains with actors in this process."""

    def running(
        config: Config, dies: Callable[[int], bool] = never, resume: Path | None = None, **settings: Any
    ) -> Any:
        starters: Starters = []

        def crew(config: Config, address: str | None) -> Inline:
            starters.append(Inline(config, dies, **settings))
            return starters[-1]

        monkeypatch.setattr("cluster.learner.Crew", crew)
        result = train(config, resume=resume, quiet=True)
        assert starters[0].is_closed
        return result, starters[0]

    return running


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, without_xla: None) -> Any:
    """The fingerprint of a run without trouble."""
    folder = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cluster.learner.Crew", lambda config, address: Inline(config))
        train(config_in(folder), quiet=True)
    return print_of(folder)


def test_it_learns_from_all_lanes(tmp_path: Path, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The actors' TD errors are the priorities of what was not drawn yet: the learner computes none itself."""
    monkeypatch.setattr("agent.DQNAgent._first_td_errors", None)
    result, starter = run(config_in(tmp_path, learn_start=500, steps=500, memory_size=500))
    memory = result.agent.memory
    assert result.steps == 500 and len(memory) == 500 and result.updates == 1
    played = starter.started[0].get_state()["observations"][0]
    assert played.shape == (2, 4)
    priorities = memory.sampler.get_state()["priorities"]
    assert len(np.unique(priorities[priorities > 0])) > 400  # not one value, the largest, for all


@pytest.mark.parametrize("after", [1, LENGTH, 100])
def test_interrupted_anywhere_and_resumed(tmp_path: Path, run: Any, whole: Any, after: int) -> None:
    """In the middle of a round or between two: it goes on in the same step."""
    config = config_in(tmp_path)
    with interrupted_after(after):
        result, _ = run(config)
    assert result.interrupted and result.steps == 4 * after
    run(config, resume=result.log_dir)
    assert differences(print_of(tmp_path), whole) == []


def test_fifty_deaths(tmp_path: Path, run: Any, whole: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """At random calls, those of an actor in another's place among them."""
    monkeypatch.setattr(module, "REPLACEMENTS", 1_000)
    generator = np.random.default_rng(0)
    _, starter = run(config_in(tmp_path), lambda call: call > 4 and generator.random() < 0.6)
    assert starter.deaths >= 50
    assert differences(print_of(tmp_path), whole) == []


def test_too_many_deaths(tmp_path: Path, run: Any, capsys: pytest.CaptureFixture[str]) -> None:
    config = config_in(tmp_path)
    with pytest.raises(InputError, match=r"actor [01] died 4 times in a row; --resume goes on from the newest check"):
        run(config, lambda call: call > 20)
    assert capsys.readouterr().err.count("died; another one takes its place") == 3


def test_an_actor_hangs(tmp_path: Path, run: Any, whole: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """It stands still for the time of patience; one that is only slow is waited for."""
    monkeypatch.setattr(module, "PATIENCE", 0.2)

    class Hangs(Inline):
        """Its actor 1 hangs from the twentieth call on."""

        def call(self, actor: Actor, method: str, *arguments: Any) -> Any:
            if self.calls == 20:
                self.hung.add(id(self.started[1]))
            return super().call(actor, method, *arguments)

    starter = Hangs(config_in(tmp_path))
    monkeypatch.setattr("cluster.learner.Crew", lambda config, address: starter)
    train(config_in(tmp_path), quiet=True)
    assert len(starter.started) == 3 and "actor 1 hangs; another one takes" in capsys.readouterr().err
    assert differences(print_of(tmp_path), whole) == []


def test_a_slow_actor_is_waited_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    clock = itertools.count(0, 0.05)

    class Slow(Inline):
        """Answers at the hundredth look, and moves all the while."""

        waits = 0

        def result(self, actor: Actor, reference: Any, seconds: float) -> tuple[bool, Any]:
            self.waits += 1
            return super().result(actor, reference, seconds) if self.waits % 100 == 0 else (False, None)

        def moves(self, actor: Actor) -> int:
            return self.waits

    monkeypatch.setattr("cluster.actors.time.monotonic", lambda: next(clock))
    config = config_in(tmp_path)
    Actors(config, Slow(config)).close()


class Unlike(Actor):
    """Runs on another version of a package."""

    def prepare(self) -> dict[str, str]:
        return {**super().prepare(), "keras": "2.0"}


def test_other_versions(tmp_path: Path, run: Any) -> None:
    with pytest.raises(InputError, match=r"^actor 0 has keras 2\.0, this process 3\.\S+: all need the same$"):
        run(config_in(tmp_path), make=Unlike)


class Unrepeatable(gym.Env):
    """Draws from a generator that no seed reaches."""

    observation_space = gym.spaces.Box(0, 1, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)
    draws = np.random.default_rng(0)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return np.array([self.draws.random()], np.float32), {}

    def step(self, action: int) -> Any:
        return np.array([self.draws.random()], np.float32), 1.0, False, False, {}


@pytest.fixture
def unrepeatable() -> Any:
    gym.register("Unrepeatable-v0", Unrepeatable, max_episode_steps=20)  # type: ignore[arg-type]
    yield {"env": "Unrepeatable-v0"}
    del gym.registry["Unrepeatable-v0"]


def test_an_environment_that_cannot_be_put_back(tmp_path: Path, run: Any, unrepeatable: Any) -> None:
    """If its actor dies the run ends, and resuming starts episodes anew and says so."""
    config = config_in(tmp_path, **unrepeatable)
    with pytest.raises(InputError, match=r"actor . died, and its environments cannot be put back .*: --resume goes on"):
        run(config, lambda call: call == 12)


@pytest.mark.parametrize("after", [LENGTH, LENGTH + 5])
def test_lanes_start_anew_on_resuming(tmp_path: Path, run: Any, unrepeatable: Any, after: int, capsys: Any) -> None:
    """Between rounds or in one: episodes are cut where they were."""
    config = config_in(tmp_path, **unrepeatable, memory_size=1_000)
    with interrupted_after(after):
        result, _ = run(config)
    capsys.readouterr()
    again, _ = run(config, resume=result.log_dir)
    assert capsys.readouterr().err.count("starts a new episode") == 4
    frames = again.agent.memory.get_steps(after - 1)
    assert frames["ended"][0].all() and again.steps == 600
    follows = frames["observations_0"][1:] != frames["observations_0"][:-1]
    assert follows.all()  # no observation is stored twice


def test_evaluations_are_shared(tmp_path: Path) -> None:
    """Eleven episodes in four lanes by three actors are those that one process plays, in its order."""
    config = config_in(tmp_path, lanes=6, actors=3, evaluate_episodes=11)
    with make_evaluation_lanes(config, 4) as envs:
        network = Learner.__mro__[1](envs.observation_space, envs.action_space, config)
        expected = play_greedily(envs, network.q_values, 11, 50, config)
    parts = []
    for lanes, first in ((2, 0), (1, 2), (1, 3)):
        with make_evaluation_lanes(config, lanes) as envs:
            count = int(shares_of(11, 4)[first : first + lanes].sum())
            parts.append(play_greedily(envs, network.q_values, count, 50 + first, config))
    shares = np.split(shares_of(11, 4), [2, 3])
    for found, right in zip(vars(in_order(parts, shares)).values(), vars(expected).values(), strict=True):
        if right is None:
            assert found is None
        else:
            np.testing.assert_allclose(found, right, rtol=1e-5)


def test_successes_that_only_some_know() -> None:
    """As in one process, they are unknown for all then."""
    one, numbers = np.zeros(1), np.zeros(1, int)
    parts = [GreedyEpisodes(one, numbers, known, one > 0, one) for known in (np.ones(1, bool), None)]
    for order in (parts, parts[::-1]):
        assert in_order(order, [np.ones(1, int)] * 2).successes is None


def test_environments_are_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if one actor hangs, which is waited for a moment only."""
    monkeypatch.setattr(module, "GOODBYE", 0.1)
    closed = []
    monkeypatch.setattr(Actor, "close", lambda self: closed.append(self))
    starter = Inline(config_in(tmp_path))
    actors = Actors(config_in(tmp_path), starter)
    starter.hung.add(id(starter.started[0]))
    actors.close()
    assert closed == [starter.started[1]] and starter.is_closed


def test_actors_evaluate_as_the_learner_does(tmp_path: Path, run: Any) -> None:
    """More actors than lanes to evaluate in, too."""
    config = config_in(tmp_path, lanes=6, actors=3, evaluate_episodes=2, steps=402, evaluate_every=10_000)
    result, _ = run(config)
    player = GreedyPlayer(config, bool)
    returns = player.play(result.agent.q_values, 2, EVALUATION_SEED).returns
    assert result.best and result.best.scores["avg"] == returns.mean()
    player.close()


def test_a_learner_acts_elsewhere_by_itself(tmp_path: Path, run: Any) -> None:
    config = config_in(tmp_path)
    result, _ = run(config)
    values = result.agent.q_values(np.zeros((5, 4), np.float32))
    np.testing.assert_array_equal(result.agent.act(np.zeros((5, 4), np.float32), epsilon=0), values.argmax(axis=1))
    seen = np.zeros((4, 4), np.float32)
    actions = result.agent.act(seen)
    assert actions.shape == (4,)
    result.agent.remember(seen, actions, Step(np.zeros(4), np.zeros(4), np.zeros(4), seen))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"actors": 3}, "--lanes 4 cannot be shared evenly by --actors 3"),
        ({"processes": True}, "--actors are processes already: leave out --processes"),
        (
            {"method": "sarsa", "env": "Taxi-v4", "network": "auto", "prioritized": False},
            "--method sarsa learns a table",
        ),
    ],
    ids=str,
)
def test_refusals(tmp_path: Path, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        config_in(tmp_path, **settings)


def test_without_actors_there_is_no_ray(tmp_path: Path) -> None:
    config = dataclasses.replace(config_in(tmp_path), actors=0)
    with make_lanes(config) as envs:
        assert not isinstance(envs, Actors)
