"""The agent around its update: copies of the target network, updates due, epsilon, actions, state."""

import dataclasses
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import gymnasium as gym
import keras
import numpy as np
import pytest
from conftest import transitions

from agent import DQNAgent
from config import Config
from environments.lanes import Step
from networks import build_q_network

FEATURES = gym.spaces.Box(-10, 10, (2,), np.float32)
ACTIONS = gym.spaces.Discrete(2)
SMALL = Config(
    seed=0,
    lanes=1,
    memory_size=100,
    learn_start=1,
    learn_every=1,
    batch_size=4,
    discount=0.5,
    n_step=1,
    epsilon_spread=0.0,
    huber_delta=1.0,
)


def remember_episodes(agent: DQNAgent, count: int) -> None:
    """Store `count` episodes of one step each."""
    ones = np.ones((1, 2), np.float32)
    for _ in range(count):
        agent.remember(ones, np.array([0]), Step(np.array([1.0]), np.array([True]), np.array([False]), ones))


def test_reward_clip_bounds_what_is_learned_from() -> None:
    agent = DQNAgent(FEATURES, ACTIONS, dataclasses.replace(SMALL, reward_clip=5.0))
    for reward in (-300.0, 3.0, 25.0):
        agent.remember([[1.0, 2.0]], [0], Step([reward], [True], [False], [[3.0, 1.0]]))
    assert [held.reward for held in transitions(agent.memory)] == [-5.0, 3.0, 5.0]
    agent = DQNAgent(FEATURES, ACTIONS, dataclasses.replace(SMALL, reward_clip=0.0))
    agent.remember([[1.0, 2.0]], [0], Step([-300.0], [True], [False], [[3.0, 1.0]]))
    assert transitions(agent.memory)[0].reward == -300.0


def test_target_starts_equal_to_online() -> None:
    agent = DQNAgent(FEATURES, ACTIONS, SMALL)
    for online, target in zip(agent.online.get_weights(), agent.target.get_weights(), strict=True):
        np.testing.assert_array_equal(online, target)


def test_agents_built_at_once_have_their_own_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras draws from one generator for all threads, so that each must build its networks undisturbed."""

    def slowly(*spaces: Any, **settings: Any) -> keras.Model:
        time.sleep(0.1)  # in which the other thread would seed the generator
        return build_q_network(*spaces, **settings)

    monkeypatch.setattr("agent.build_q_network", slowly)
    configs = [dataclasses.replace(SMALL, seed=seed) for seed in (1, 2)]
    alone = [DQNAgent(FEATURES, ACTIONS, config) for config in configs]
    with ThreadPoolExecutor() as pool:
        at_once = list(pool.map(lambda config: DQNAgent(FEATURES, ACTIONS, config), configs))
    for one, other in zip(alone, at_once, strict=True):
        np.testing.assert_array_equal(first_weight(one.online), first_weight(other.online))


def first_weight(model: keras.Model) -> np.ndarray:
    return model.get_weights()[0]


def test_target_is_copied_every_n_episodes_and_not_before() -> None:
    agent = DQNAgent(FEATURES, ACTIONS, dataclasses.replace(SMALL, target_every=3))
    before = first_weight(agent.target)
    agent.online.set_weights([w + 1 for w in agent.online.get_weights()])
    remember_episodes(agent, 2)
    np.testing.assert_array_equal(first_weight(agent.target), before)
    remember_episodes(agent, 1)
    np.testing.assert_array_equal(first_weight(agent.target), before + 1)
    agent.online.set_weights([w + 1 for w in agent.online.get_weights()])
    remember_episodes(agent, 2)
    np.testing.assert_array_equal(first_weight(agent.target), before + 1)
    remember_episodes(agent, 1)
    np.testing.assert_array_equal(first_weight(agent.target), before + 2)


def test_target_is_copied_when_lanes_jump_over_the_multiple() -> None:
    # Two lanes end together at every step: the counts 2 and 4 pass N = 3 without being equal to it.
    agent = DQNAgent(FEATURES, ACTIONS, dataclasses.replace(SMALL, lanes=2, target_every=3))
    agent.online.set_weights([w + 1 for w in agent.online.get_weights()])
    ones, ended = np.ones((2, 2), np.float32), np.array([True, True])
    for copied in (False, True):
        agent.remember(ones, np.zeros(2, int), Step(np.ones(2), ended, ~ended, ones))
        assert np.array_equal(first_weight(agent.target), first_weight(agent.online)) == copied


def test_target_is_copied_every_n_updates() -> None:
    agent = DQNAgent(FEATURES, ACTIONS, dataclasses.replace(SMALL, target_update="updates", target_every=2))
    remember_episodes(agent, 5)
    agent.update()
    assert not np.array_equal(first_weight(agent.target), first_weight(agent.online))
    agent.update()
    np.testing.assert_array_equal(first_weight(agent.target), first_weight(agent.online))


def test_soft_update_blends_after_every_update() -> None:
    agent = DQNAgent(FEATURES, ACTIONS, dataclasses.replace(SMALL, target_update="soft", target_rate=0.25))
    remember_episodes(agent, 5)
    before = first_weight(agent.target)
    agent.update()
    expected = before + 0.25 * (first_weight(agent.online) - before)
    np.testing.assert_allclose(first_weight(agent.target), expected, rtol=1e-6)


def test_updates_are_due_once_every_learn_every_steps() -> None:
    # 2 lanes, an update every 3 steps, from 4 transitions on: after 2, 4, 6, 8, 10, 12 steps 0, 1, 2, 2, 3, 4 multiples
    # of 3 have passed. The one passed at 4 steps counts, as the memory holds 4 by then.
    agent = DQNAgent(FEATURES, ACTIONS, dataclasses.replace(SMALL, lanes=2, learn_every=3, learn_start=4))
    ones, no = np.ones((2, 2), np.float32), np.zeros(2, bool)
    done = []
    for _ in range(6):
        agent.remember(ones, np.zeros(2, int), Step(np.ones(2), no, no, ones))
        done.append(len(agent.learn()))
    assert done == [0, 1, 1, 0, 1, 1]
    assert agent.updates == 4


def test_several_updates_are_due_when_the_lanes_outnumber_learn_every() -> None:
    # 4 lanes, an update every 2 steps: 2 at every vector step.
    agent = DQNAgent(FEATURES, ACTIONS, dataclasses.replace(SMALL, lanes=4, learn_every=2))
    ones, no = np.ones((4, 2), np.float32), np.zeros(4, bool)
    for _ in range(3):
        agent.remember(ones, np.zeros(4, int), Step(np.ones(4), no, no, ones))
        assert len(agent.learn()) == 2


def test_epsilon_by_episodes() -> None:
    agent = DQNAgent(FEATURES, ACTIONS, dataclasses.replace(SMALL, epsilon_decay=0.5, epsilon_min=0.2))
    seen = []
    for _ in range(4):
        seen += agent.epsilon.tolist()
        remember_episodes(agent, 1)
    assert seen == [1.0, 0.5, 0.25, 0.2]


def test_lanes_explore_unequally() -> None:
    """Four lanes lie at 2, 6, 10 and 14 sixteenths; a sixteenth is lowest, so 1, 5, 9 and 13 fifteenths of the way."""
    config = Config(lanes=4, epsilon_decay=0.5, epsilon_min=0.4, epsilon_spread=1.0)
    assert config.epsilon(0, 0).tolist() == [1, 1, 1, 1]
    assert config.epsilon(1, 0) == pytest.approx([0.5, 0.6, 0.76, 0.92])
    assert config.epsilon(99, 0) == pytest.approx([0.44, 0.6, 0.76, 0.92])
    half = dataclasses.replace(config, epsilon_spread=0.5, epsilon_schedule="steps", epsilon_steps=10)
    assert half.epsilon(0, 5) == pytest.approx([0.7, 0.7, 0.7, 0.7])
    assert half.epsilon(0, 99) == pytest.approx([0.42, 0.5, 0.58, 0.66])
    lowest = dataclasses.replace(config, lanes=32).lowest_epsilons()
    assert lowest[:2].tolist() == [0.4, 0.4] and np.all(np.diff(lowest[1:]) > 0)
    # Three times as steep: 3, 15, 27 and 39 fifteenths of the way, of which the last three are past its end.
    steep = dataclasses.replace(config, epsilon_spread=3.0)
    assert steep.lowest_epsilons() == pytest.approx([0.52, 1, 1, 1])


def test_each_lane_acts_by_its_own_epsilon() -> None:
    """With lowest epsilons of 0.2 and 11/15, a lane differs from the greedy action in 2/3 of that share of the time."""
    agent = DQNAgent(FEATURES, gym.spaces.Discrete(3), dataclasses.replace(SMALL, lanes=2, epsilon_spread=1.0))
    agent.episodes = 10**9
    observations = np.random.default_rng(0).random((2, 2)).astype(np.float32)
    greedy = agent.act(observations, epsilon=0.0)
    differing = np.mean([agent.act(observations) != greedy for _ in range(3_000)], axis=0)
    assert differing == pytest.approx([2 / 15, 22 / 45], abs=0.04)  # four standard deviations of at most 0.009
    # For another number of observations there are no lanes: the lowest epsilon counts.
    many = np.tile(observations[:1], (3_000, 1))
    assert (agent.act(many) != agent.act(many, epsilon=0.0)).mean() == pytest.approx(2 / 15, abs=0.04)


def test_lineage_epsilon_after_1000_episodes() -> None:
    agent = DQNAgent(FEATURES, ACTIONS, dataclasses.replace(SMALL, epsilon_decay=0.99975, epsilon_min=0.001))
    agent.episodes = 1000
    assert agent.epsilon == pytest.approx([0.7787763])  # exp(1000 * ln 0.99975) = exp(-0.2500313)


def test_epsilon_by_steps() -> None:
    # Linear from 1 to 0.2 over 4 steps: 1 - 0.8 * steps / 4, then 0.2.
    agent = DQNAgent(
        FEATURES, ACTIONS, dataclasses.replace(SMALL, epsilon_schedule="steps", epsilon_steps=4, epsilon_min=0.2)
    )
    seen = []
    for _ in range(6):
        seen += agent.epsilon.tolist()
        remember_episodes(agent, 1)
    assert seen == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2, 0.2])


def test_act_is_greedy_at_epsilon_0_and_uniform_at_1() -> None:
    agent = DQNAgent(FEATURES, gym.spaces.Discrete(3, start=5), SMALL)
    observations = np.random.default_rng(0).normal(size=(3000, 2)).astype(np.float32)
    greedy = agent.q_values(observations).argmax(axis=1)
    np.testing.assert_array_equal(agent.act(observations, epsilon=0.0), greedy)
    counts = np.bincount(agent.act(observations, epsilon=1.0), minlength=3)
    assert len(counts) == 3  # actions count from 0, wherever the space starts
    # Each of 3 actions is expected 1000 times with standard deviation sqrt(3000 * 1/3 * 2/3) = 26: allow 4 of them.
    assert np.abs(counts - 1000).max() < 104
    # At epsilon 0.3 an action differs from the greedy one with probability 0.3 * 2/3 = 0.2: 600 +- 22.
    differing = (agent.act(observations, epsilon=0.3) != greedy).sum()
    assert abs(differing - 600) < 88
    # Without one it is the agent's own: 1 before the first episode.
    assert abs((agent.act(observations) != greedy).sum() - 2000) < 104


def test_masks_are_stored_with_the_observations_acted_on() -> None:
    """Two lanes; the episode of the first ends in the first step."""
    agent = DQNAgent(FEATURES, ACTIONS, dataclasses.replace(SMALL, lanes=2))
    observations, no = np.ones((2, 2), np.float32), np.zeros(2, bool)
    first, led_to, second = np.array([[[True, False]] * 2, [[False, True]] * 2, [[True, True], [False, True]]])
    agent.act(observations, first)
    agent.remember(observations, [0, 0], Step(no, np.array([True, False]), no, observations, led_to))
    agent.act(observations, second)
    agent.remember(observations, [1, 1], Step(no, no, no, observations, first))
    held = transitions(agent.memory)
    assert [one.mask.tolist() for one in held] == [*first.tolist(), *second.tolist()]
    assert [one.next_mask.tolist() for one in held] == [*led_to.tolist(), *first.tolist()]


def test_masks_that_act_was_not_given_are_those_of_the_step_before() -> None:
    """A loop of one's own may choose its actions itself: the masks of successors stay what they were."""
    agent = DQNAgent(FEATURES, ACTIONS, SMALL)
    observations, no = np.ones((1, 2), np.float32), np.zeros(1, bool)
    for legal in ([True, False], [False, True], [True, False]):
        agent.remember(observations, [0], Step(no, no, no, observations, [legal]))
    agent.act(np.ones((5, 2), np.float32), np.ones((5, 2), bool))  # of other observations
    agent.remember(observations, [0], Step(no, no, no, observations))
    held = transitions(agent.memory)
    assert [one.next_mask.tolist() for one in held] == [[True, False], [False, True], [True, False], [True, True]]
    assert [one.mask.tolist() for one in held] == [[True, True], [True, False], [False, True], [True, False]]


def test_updates_that_are_due_are_not_forgotten() -> None:
    # An update for each of 3 steps, then one call.
    agent = DQNAgent(FEATURES, ACTIONS, SMALL)
    remember_episodes(agent, 3)
    assert len(agent.learn()) == 3
    assert agent.learn() == []


def test_state_round_trip_continues_identically() -> None:
    config = dataclasses.replace(SMALL, lanes=2)

    def go_on(agent: DQNAgent, steps: int) -> list[Any]:
        generator, trace = np.random.default_rng(3), []
        for _ in range(steps):
            observations = generator.normal(size=(2, 2)).astype(np.float32)
            actions = agent.act(observations, epsilon=0.5)
            ended = generator.random(2) < 0.3
            agent.remember(observations, actions, Step(generator.random(2), ended, ~ended & False, observations))
            trace.append((actions.tolist(), agent.learn()))
        return trace

    first = DQNAgent(FEATURES, ACTIONS, config)
    go_on(first, 10)
    state, steps = first.get_state(), first.memory.get_steps()
    expected = go_on(first, 10)
    second = DQNAgent(FEATURES, ACTIONS, dataclasses.replace(config, seed=99))
    second.set_state(state, [steps])
    np.testing.assert_array_equal(second.td_errors, state["td_errors"])
    assert len(second.td_errors) == config.batch_size
    assert go_on(second, 10) == expected
    assert (second.steps, second.updates, second.episodes) == (first.steps, first.updates, first.episodes)
