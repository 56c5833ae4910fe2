"""What an actor plays, how it is packed, and the first TD errors."""

import random
from typing import Any

import gymnasium as gym
import numpy as np
import optree
import pytest

from cluster.actor import LENGTH, Actor, Chunk, join
from config import Config
from environments.lanes import make_lanes
from environments.spaces import example_observation
from experiments.kill_test import differences
from networks import build_q_network, compile_q_values

ENVIRONMENTS: dict[str, dict[str, Any]] = {
    "CartPole": {"env": "CartPole-v1", "max_episode_steps": 12},
    "stacks and masks": {"env": "Taxi-v4", "max_episode_steps": 9, "frame_stack": 3},
    "Blob, which says what is a success": {"env": "Blob-v0", "env_args": {"size": 4}, "max_episode_steps": 11},
    "a table of cards, whose observations are tuples": {"env": "Blackjack-v1"},
}


def config_of(**settings: Any) -> Config:
    return Config.from_preset(**{"lanes": 4, "actors": 2, "seed": 5, "network": "dense", **settings})


def prepared(config: Config, number: int = 0, seed: int = 9) -> Actor:
    actor = Actor(config, number)
    actor.prepare()
    actor.reset(seed)
    return actor


def weights_of(config: Config) -> list[np.ndarray]:
    with make_lanes(config, 1) as envs:
        return build_q_network(envs.observation_space, envs.n_actions, **config.network_settings()).get_weights()


def newest(observations: Any, stack: int) -> Any:
    return optree.tree_map(lambda array: array[:, -1:] if stack > 1 else array, observations)


@pytest.mark.parametrize("settings", ENVIRONMENTS.values(), ids=ENVIRONMENTS)
def test_chunks_hold_what_was_played(settings: dict[str, Any]) -> None:
    """Two actors side by side play what four lanes play with the same actions, through two rounds."""
    config = config_of(**settings)
    actors, weights = [prepared(config, number) for number in range(2)], weights_of(config)
    with make_lanes(config, 4) as envs:
        envs.reset(9)
        structure = optree.tree_structure(example_observation(envs.observation_space))
        ends = 0
        for _ in range(2):
            chunk = join([actor.play(weights, np.full(2, 0.5)) for actor in actors])
            for index in range(LENGTH):
                expected, found = envs.step(chunk.actions[index]), chunk.step(index, structure)
                ends += int(expected.ended.sum())
                for name in ("rewards", "terminated", "truncated", "successor_masks", "next_masks"):
                    np.testing.assert_array_equal(getattr(found, name), getattr(expected, name), name)
                for name in ("successors", "next_observations"):
                    seen = newest(getattr(expected, name), config.frame_stack)
                    optree.tree_map(np.testing.assert_array_equal, getattr(found, name), seen)
                assert (found.successes is None) == (expected.successes is None)
                if expected.successes is not None:
                    np.testing.assert_array_equal(found.successes, expected.successes)
        assert ends > 4  # else nothing was tried


@pytest.mark.parametrize(("n_step", "env"), [(1, "CartPole-v1"), (3, "CartPole-v1"), (3, "Taxi-v4")])
def test_first_td_errors(n_step: int, env: str) -> None:
    """Against plain loops: rewards up to n steps ahead, to the end of the episode or of the chunk, then the highest
    legal value of what came, unless the episode terminated."""
    config = config_of(env=env, n_step=n_step, prioritized=True, reward_clip=0.5, max_episode_steps=7)
    actor, weights = prepared(config), weights_of(config)
    seen, masks, steps = [actor._observations], [actor._masks], []
    step = actor._envs.step

    def stepping(actions: np.ndarray) -> Any:
        steps.append(step(actions))
        seen.append(steps[-1].next_observations)
        masks.append(steps[-1].next_masks)
        return steps[-1]

    actor._envs.step = stepping
    chunk = actor.play(weights, np.full(2, 0.7))
    network = actor._network
    values = compile_q_values(network, actor._envs.observation_space)
    expected = np.zeros((LENGTH, 2))
    for lane in range(2):
        for first in range(LENGTH):
            target, weight, index = 0.0, 1.0, first
            while True:
                target += weight * np.clip(steps[index].rewards[lane], -0.5, 0.5)
                weight *= config.discount
                if steps[index].ended[lane] or index + 1 in (first + n_step, LENGTH):
                    break
                index += 1
            if not steps[index].terminated[lane]:
                legal = steps[index].successor_masks[lane]
                target += weight * values(steps[index].successors)[lane][legal].max()
            expected[first, lane] = target - values(seen[first])[lane, chunk.actions[first, lane]]
    assert any(step.truncated.any() for step in steps)
    np.testing.assert_allclose(chunk.td_errors, expected, rtol=1e-4, atol=1e-4)


def test_no_td_errors_without_priorities() -> None:
    config = config_of(env="CartPole-v1")
    chunks = [prepared(config, number).play(weights_of(config), np.ones(2)) for number in range(2)]
    assert join(chunks).td_errors.shape == (LENGTH, 0)


@pytest.mark.parametrize("settings", [{}, {"noisy": True}, {"loss": "iqn", "prioritized": True}], ids=str)
def test_another_one_plays_the_same(settings: dict[str, Any]) -> None:
    """With noise, and quantiles drawn at random, and although only the first one evaluates."""
    config = config_of(env="CartPole-v1", **settings)
    one, weights = prepared(config), weights_of(config)
    one.play(weights, np.full(2, 0.3))
    state = one.get_state()
    one.evaluate(weights, 2, 3, 77)
    other = Actor(config, 0)
    other.prepare()
    assert other.set_state(state)[0] == {}
    for _ in range(2):
        assert_same(one.play(weights, np.full(2, 0.3)), other.play(weights, np.full(2, 0.3)))
    assert one.moves() > other.moves() >= 2 * LENGTH


def assert_same(one: Chunk, other: Chunk) -> None:
    assert differences(one._asdict(), other._asdict()) == []


class Lucky(gym.Env):
    """Rewards come from Python's and NumPy's global generators, which its observations do not show."""

    observation_space = gym.spaces.Box(0, 1, (1,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return np.zeros(1, np.float32), {}

    def step(self, action: int) -> Any:
        return np.zeros(1, np.float32), random.random() + np.random.random(), False, False, {}


def test_global_generators_are_part_of_the_state() -> None:
    gym.register("Lucky-v0", Lucky, max_episode_steps=5)  # type: ignore[arg-type]
    config = config_of(env="Lucky-v0")
    actor, weights = prepared(config), weights_of(config)
    state = actor.get_state()
    first = actor.play(weights, np.ones(2))
    actor.evaluate(weights, 2, 2, 0)
    then = actor.play(weights, np.ones(2))
    actor.set_state(state)
    np.testing.assert_array_equal(actor.play(weights, np.ones(2)).rewards, first.rewards)
    np.testing.assert_array_equal(actor.play(weights, np.ones(2)).rewards, then.rewards)
    actor.close()
    del gym.registry["Lucky-v0"]


def test_an_episode_that_is_played_again_is_progress() -> None:
    """Else an actor that goes on where another stood would seem to hang."""
    config = config_of(env="CartPole-v1")
    actor = prepared(config)
    actor.play(weights_of(config), np.zeros(2))
    state, before = actor.get_state(), actor.moves()
    actor.set_state(state)
    assert actor.moves() == before + sum(len(lane["actions"]) for lane in state["lanes"]) > before


def test_actors_draw_different_numbers() -> None:
    config = config_of(env="CartPole-v1", noisy=True)
    one, other = (prepared(config, number).play(weights_of(config), np.full(2, 0.5)) for number in range(2))
    assert (one.actions != other.actions).any()
