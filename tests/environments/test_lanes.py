"""Environments side by side: a step by hand, the numbering of actions, and which vector version is used."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import odd_env  # noqa: F401 (registers Odd-v0)
import optree
import pytest
from conftest import transitions
from gymnasium.spaces import Box, Dict, Discrete, Tuple
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from agent import DQNAgent
from blob_env import BlobVectorEnv
from config import Config
from console.errors import InputError
from environments.actions import best_actions
from environments.lanes import Lanes, make_lanes
from environments.make import has_vector_version
from replay_memory import ReplayMemory

Form = Callable[[int, int], Any]  # makes an observation of two numbers
SMALL = Box(0, 9, (1,), np.float32)
FORMS: dict[str, tuple[gym.Space, Form]] = {
    "array": (Box(0, 9, (2,), np.float32), lambda episode, steps: np.array([episode, steps], np.float32)),
    "dict": (
        Dict(episode=Discrete(9), steps=SMALL),
        lambda episode, steps: {"episode": np.int64(episode), "steps": np.array([steps], np.float32)},
    ),
    "tuple": (
        Tuple([Discrete(9), Dict(steps=SMALL)]),
        lambda episode, steps: (np.int64(episode), {"steps": np.array([steps], np.float32)}),
    ),
}


class Walk(gym.Env):
    """Observes the episode and its steps. Seeded evenly it terminates after 2 steps, oddly it is truncated after 3.

    Only the action of the number of steps is legal, counted from 0; the actions themselves count from 5.
    """

    taken: ClassVar[list[int]] = []

    def __init__(self, form: str = "array") -> None:
        self.observation_space, self._form = FORMS[form]
        self.action_space = Discrete(3, start=5)
        self._episode = -1

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        if seed is not None:
            self._is_even = seed % 2 == 0
        self._episode, self._steps = self._episode + 1, 0
        return self._form(self._episode, 0), self._info()

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict]:
        self.taken.append(int(action))
        self._steps += 1
        terminated, truncated = self._is_even and self._steps == 2, self._steps == 3
        info = self._info() | {"is_success": terminated}
        return self._form(self._episode, self._steps), float(action), terminated, truncated, info

    def _info(self) -> dict:
        return {"action_mask": np.eye(3, dtype=np.int8)[min(self._steps, 2)]}


def walk(form: str = "array") -> Config:
    gym.registry.pop("Walk-v0", None)
    gym.register("Walk-v0", lambda **options: Walk(**options))
    Walk.taken.clear()
    return Config(env="Walk-v0", env_args={"form": form})


@pytest.mark.parametrize("form", FORMS)
def test_episode_ends_by_hand(form: str) -> None:
    """Two lanes, of which the first ends in the second step, and the second in the third."""

    def assert_observed(observations: Any, *expected: tuple[int, int]) -> None:
        stacked = optree.tree_map(lambda *parts: np.stack(parts), *[FORMS[form][1](*one) for one in expected])
        optree.tree_map_(np.testing.assert_array_equal, observations, stacked)

    def assert_legal(masks: Any, *actions: int) -> None:
        assert masks.tolist() == np.eye(3, dtype=bool)[list(actions)].tolist()

    envs = make_lanes(walk(form), 2)
    observations, masks = envs.reset(seed=4)
    assert_observed(observations, (0, 0), (0, 0))
    assert_legal(masks, 0, 0)

    step = envs.step(np.array([0, 2]))
    assert np.array_equal(step.rewards, [5.0, 7.0]) and not step.ended.any() and step.successes is None
    assert_observed(step.successors, (0, 1), (0, 1))
    assert_legal(step.successor_masks, 1, 1)
    assert_observed(step.next_observations, (0, 1), (0, 1))
    assert_legal(step.next_masks, 1, 1)

    step = envs.step(np.array([1, 1]))
    assert np.array_equal(step.terminated, [True, False]) and np.array_equal(step.truncated, [False, False])
    assert step.ended.tolist() == [True, False] and step.successes is not None and step.successes[0]
    assert_observed(step.successors, (0, 2), (0, 2))
    assert_legal(step.successor_masks, 2, 2)
    assert_observed(step.next_observations, (1, 0), (0, 2))
    assert_legal(step.next_masks, 0, 2)

    step = envs.step(np.array([0, 0]))
    assert np.array_equal(step.terminated, [False, False]) and np.array_equal(step.truncated, [False, True])
    assert step.ended.tolist() == [False, True] and step.successes is not None and not step.successes[1]
    assert_observed(step.successors, (1, 1), (0, 3))
    assert_legal(step.successor_masks, 1, 2)
    assert_observed(step.next_observations, (1, 1), (1, 0))
    assert_legal(step.next_masks, 1, 0)


def test_actions_count_from_0() -> None:
    """The environment's count from 5; an agent takes and stores 0 to 2."""
    config = walk()
    envs = make_lanes(config, 3)
    agent = DQNAgent(envs.observation_space, envs.action_space, replace(config, seed=0, lanes=3))
    observations, _ = envs.reset(seed=0)
    envs.step(actions := np.array([0, 1, 2]))
    assert Walk.taken == [5, 6, 7]
    step = envs.step(actions)
    agent.remember(observations, actions, step)
    assert [held.action for held in transitions(agent.memory)] == [0, 1, 2]
    assert set(agent.act(np.tile(observations, (20, 1)), epsilon=1.0).tolist()) == {0, 1, 2}


def test_an_environment_that_cannot_be_made_is_refused() -> None:
    with pytest.raises(InputError, match="there is no environment 'Nowhere-v0': Environment"):
        make_lanes(Config(env="Nowhere-v0"), 2)
    with pytest.raises(InputError, match=r"with \{'size': 1\}: ValueError: size must be"):
        make_lanes(Config(env_args={"size": 1}), 2)


@pytest.mark.parametrize(
    "make", [lambda: Config.from_preset(env="CartPole-v1"), lambda: Config.from_preset(env="Odd-v0")]
)
def test_no_step_is_spent_on_resetting(make: Callable[[], Config]) -> None:
    """CartPole-v1 registers a vector version that only knows NEXT_STEP autoreset; our lanes are single ones."""
    envs = make_lanes(make(), 2)
    envs.reset(seed=0)
    counted = 0
    for _ in range(100):
        step = envs.step(np.zeros(2, np.int64))
        assert np.array_equal(step.rewards, [1.0, 1.0])  # a reset's row would give 0
        differ = (step.successors != step.next_observations).any(axis=1)
        assert differ.tolist() == step.ended.tolist()
        counted += int(step.ended.sum())
    assert counted >= 18


def test_the_stored_mask_is_the_final_observations_not_the_resets() -> None:
    """Taxi truncated after 3 steps: four lanes beside four single environments that are played by hand."""
    lanes, steps = 4, 30
    envs = make_lanes(Config(env="Taxi-v4", max_episode_steps=3), lanes)
    singles = [gym.make("Taxi-v4", max_episode_steps=3) for _ in range(lanes)]
    memory = ReplayMemory(1000, lanes, np.zeros((), np.int32), 6)
    generator = np.random.default_rng(0)
    observations, masks = envs.reset(seed=5)
    expected = [single.reset(seed=5 + i)[1]["action_mask"] for i, single in enumerate(singles)]
    differ = 0
    for _ in range(steps):
        np.testing.assert_array_equal(masks, np.array(expected, bool))
        actions = best_actions(generator.random((lanes, 6)), masks)
        step = envs.step(actions)
        memory.append(observations, actions, step, masks)
        stored = transitions(memory)[-lanes:]
        for i, single in enumerate(singles):
            np.testing.assert_array_equal(stored[i].mask, np.array(expected[i], bool))
            *_, single_terminated, single_truncated, info = single.step(actions[i])
            expected[i] = info["action_mask"]
            np.testing.assert_array_equal(stored[i].next_mask, info["action_mask"].astype(bool))
            if single_terminated or single_truncated:
                assert stored[i].truncated
                expected[i] = single.reset()[1]["action_mask"]
                differ += int((expected[i] != info["action_mask"]).any())
        observations, masks = step.next_observations, step.next_masks
    assert differ > 20  # most resets put the taxi where other actions are legal


class Counters(VectorEnv):
    """A user's own vector version: every lane counts to `most`, resets in the same step and can be put back."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(self, num_envs: int = 1, most: int = 3, max_episode_steps: int = 50) -> None:
        self.num_envs, self.most, self.max_episode_steps = num_envs, most, max_episode_steps
        self.single_observation_space, self.single_action_space = Discrete(most + 1), Discrete(2)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[np.ndarray, dict]:
        self.numbers = np.zeros(self.num_envs, np.int64)
        return self.numbers.copy(), {}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict]:
        self.numbers += actions
        ended = self.numbers == self.most
        final = np.array([np.int64(number) if end else None for number, end in zip(self.numbers, ended, strict=True)])
        self.numbers[ended] = 0
        infos = {"final_obs": final, "_final_obs": ended} if ended.any() else {}
        return self.numbers.copy(), np.ones(self.num_envs), ended, np.zeros(self.num_envs, bool), infos

    def get_state(self) -> np.ndarray:
        return self.numbers.copy()

    def set_state(self, state: np.ndarray) -> None:
        self.numbers = state.copy()


class Forgetful(VectorEnv):
    """Resets in the same step, but cannot be put back."""

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP}


class Late(Counters):
    """Resets in the next step."""

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP}


class Counter(gym.Env):
    """One lane of `Counters`."""

    def __init__(self, most: int = 3) -> None:
        self.observation_space, self.action_space = Discrete(most + 1), Discrete(2)


def counter(vector_version: Any, limit: int | None = 50, **settings: Any) -> Config:
    gym.registry.pop("Counter-v0", None)
    gym.register(
        "Counter-v0", lambda **options: Counter(**options), vector_entry_point=vector_version, max_episode_steps=limit
    )
    return Config(env="Counter-v0", **settings)


def test_which_vector_versions_are_used() -> None:
    assert has_vector_version(Config()) and has_vector_version(Config(env="blob_env:Blob-v0"))
    assert not has_vector_version(Config(frame_stack=2))
    assert not has_vector_version(Config(env="CartPole-v1"))  # resets in the next step
    assert not has_vector_version(Config(env="Taxi-v4"))  # has none
    assert has_vector_version(counter(Counters))
    assert has_vector_version(counter("test_lanes:Counters"))
    assert not has_vector_version(counter(Counters, frame_stack=2))
    assert not has_vector_version(counter(Late))
    assert not has_vector_version(counter(Forgetful))
    # Greedy play might never end without a limit.
    assert not has_vector_version(counter(Counters, limit=None))
    assert has_vector_version(counter(Counters, limit=None, max_episode_steps=9))


@pytest.mark.parametrize("vector_version", ["nowhere:Counters", "test_lanes:Missing", lambda **_: None])
def test_a_vector_version_that_cannot_be_loaded_is_left_alone(vector_version: Any) -> None:
    assert not has_vector_version(counter(vector_version))


def test_a_users_own_vector_version_is_stepped() -> None:
    """It gets the options and the limit, steps by hand, and goes back to where it stood."""
    envs = make_lanes(counter(Counters, env_args={"most": 2}, max_episode_steps=9), 3, resumable=True)
    inside = envs._envs
    assert isinstance(inside, Counters) and (inside.num_envs, inside.most, inside.max_episode_steps) == (3, 2, 9)
    observations, masks = envs.reset(seed=0)
    assert observations.tolist() == [0, 0, 0] and masks.shape == (3, 2) and masks.all()
    assert envs.step(np.array([0, 1, 1])).next_observations.tolist() == [0, 1, 1]
    state = envs.get_state()
    for _ in range(2):
        step = envs.step(np.array([1, 0, 1]))
        assert step.successors.tolist() == [1, 1, 2]
        assert step.next_observations.tolist() == [1, 1, 0]
        assert step.ended.tolist() == [False, False, True]
        assert envs.set_state(state, observations, masks) == {}


def test_blob_is_stepped_by_its_vector_version_and_cartpole_lane_by_lane() -> None:
    def kind(envs: Lanes) -> type:
        return type(envs._envs)

    assert kind(make_lanes(Config(), 2)) is BlobVectorEnv
    assert kind(make_lanes(Config(env="CartPole-v1"), 2)) is gym.vector.SyncVectorEnv


def test_an_environment_may_reuse_its_arrays() -> None:
    """The lanes' steps are those of the same environment with fresh arrays, last observations included."""
    fresh, reused = (
        make_lanes(Config.from_preset(env="Odd-v0", env_args={"wrong": wrong}), 2) for wrong in ("nothing", "buffer")
    )
    assert np.array_equal(fresh.reset(5)[0], reused.reset(5)[0])
    for i in range(25):  # episodes end in steps 10 and 20
        one, other = fresh.step(np.zeros(2, int)), reused.step(np.zeros(2, int))
        assert np.array_equal(one.successors, other.successors)
        assert np.array_equal(one.next_observations, other.next_observations)
        assert (one.successors == one.next_observations).all() == (i % 10 != 9)
