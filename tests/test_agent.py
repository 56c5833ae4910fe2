"""The agent's numbers, worked out by hand: targets, losses, gradients, target copies, epsilon."""

import dataclasses
from typing import Any

import gymnasium as gym
import keras
import numpy as np
import pytest
import tensorflow as tf

from agent import DQNAgent, td_loss
from config import Config
from environments.symmetry import Symmetry
from replay_memory import Batch

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
    huber_delta=1.0,
)


def linear_agent(online: list[list[float]], target: list[list[float]], **settings: Any) -> DQNAgent:
    """An agent whose networks are Q(s, a) = sum_i s_i * weights[i][a]."""
    agent = DQNAgent(FEATURES, ACTIONS, dataclasses.replace(SMALL, **settings))
    for name, weights in (("online", online), ("target", target)):
        inputs = keras.Input((2,))
        model = keras.Model(inputs, keras.layers.Dense(2, use_bias=False)(inputs))
        model.set_weights([np.array(weights, np.float32)])
        setattr(agent, name, model)
    agent.online.compile(optimizer=keras.optimizers.SGD(1.0))
    agent.online.optimizer.build(agent.online.trainable_variables)
    return agent


def batch(returns: list[float], discounts: list[float], actions: list[int]) -> Batch:
    """Transitions from the observation (1, 2) to (3, 1)."""
    n = len(returns)
    observations, next_observations = np.tile([[1, 2]], (n, 1)), np.tile([[3, 1]], (n, 1))
    return Batch(
        observations.astype(np.float32),
        np.array(actions, np.int32),
        np.array(returns, np.float32),
        np.array(discounts, np.float32),
        next_observations.astype(np.float32),
        np.ones((n, 2), bool),
        np.arange(n),
        np.full(n, 1 / n),
    )


def update(agent: DQNAgent, batch: Batch, weights: list[float] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """One eager update: its three statistics and the TD errors."""
    stats, td_errors = agent._update_eagerly(*batch[:6], np.array(weights or [1.0] * len(batch.actions), np.float32))
    return stats.numpy(), td_errors.numpy()


# With these weights the online network values (1, 2) at (1*1+2*0, 1*2+2*1) = (1, 4) and (3, 1) at (3, 7): it picks
# action 1 there. The target network values (3, 1) at (3*2+1*1, 3*1+1*0) = (7, 3): its maximum is 7, and 3 for action 1.
ONLINE = [[1.0, 2.0], [0.0, 1.0]]
TARGET = [[2.0, 1.0], [1.0, 0.0]]


@pytest.mark.parametrize(("double", "expected"), [(False, 7.0), (True, 3.0)])
def test_bootstrap_is_the_target_networks_value(double: bool, expected: float) -> None:
    agent = linear_agent(ONLINE, TARGET, double=double)
    next_observations = np.array([[3.0, 1.0]], np.float32)
    assert agent._bootstrap(next_observations, np.array([[True, True]])).numpy() == pytest.approx([expected])


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize(("legal", "expected"), [([True, False], 7.0), ([False, True], 3.0)])
def test_bootstrap_looks_at_legal_actions_alone(double: bool, legal: list[bool], expected: float) -> None:
    # Plain, action 1 is worth less than action 0 but alone is legal; double, the online network would pick action 1.
    agent = linear_agent(ONLINE, TARGET, double=double)
    next_observations = np.array([[3.0, 1.0]], np.float32)
    assert agent._bootstrap(next_observations, np.array([legal])).numpy() == pytest.approx([expected])


def test_a_soft_update_at_rate_1_bootstraps_from_the_online_network() -> None:
    # The online network values action 0 at 3 there, and no gradient flows through that:
    # (Q((1, 2), 0) - (1 + 0.5 * 3))^2 = (1 - 2.5)^2, whose gradient on (w00, w10) is -3 * (1, 2).
    agent = linear_agent(ONLINE, ONLINE, double=False, loss="mse", target_update="soft", target_rate=1.0)
    next_observations, mask = np.array([[3.0, 1.0]], np.float32), np.array([[True, False]])
    assert agent._bootstrap(next_observations, mask).numpy() == pytest.approx([3.0])
    update(agent, batch([1.0], [0.5], [0])._replace(next_masks=mask))
    np.testing.assert_allclose(agent.online.get_weights()[0], [[4, 2], [6, 1]])
    # The update has copied the network: it now values action 0 at 3 * 4 + 1 * 6 = 18.
    assert agent._bootstrap(next_observations, mask).numpy() == pytest.approx([18.0])


@pytest.mark.parametrize(
    ("double", "discount", "loss", "expected"),
    [
        # target 1 + 0.5 * 7 = 4.5, Q((1, 2), 0) = 1, TD error 3.5
        (False, 0.5, "mse", 12.25),
        (False, 0.5, "huber", 3.0),
        # target 1 + 0.5 * 3 = 2.5, TD error 1.5
        (True, 0.5, "mse", 2.25),
        (True, 0.5, "huber", 1.0),
        # terminated: target 1, TD error 0
        (True, 0.0, "mse", 0.0),
    ],
)
def test_loss_of_one_transition(double: bool, discount: float, loss: str, expected: float) -> None:
    agent = linear_agent(ONLINE, TARGET, double=double, loss=loss)
    (loss_value, _, _), _ = update(agent, batch([1.0], [discount], [0]))
    assert loss_value == pytest.approx(expected)


def test_gradient_step_moves_only_the_action_taken() -> None:
    # The loss is (Q((1, 2), 0) - 4.5)^2 with Q = w00 + 2 * w10 = 1, so its gradient on (w00, w10) is
    # 2 * (1 - 4.5) * (1, 2) = (-7, -14), and SGD with step 1 adds (7, 14). The target does not move: no gradient flows
    # through the bootstrap, and the other action's column stays.
    agent = linear_agent(ONLINE, TARGET, double=False, loss="mse")
    update(agent, batch([1.0], [0.5], [0]))
    np.testing.assert_allclose(agent.online.get_weights()[0], [[8, 2], [14, 1]])
    np.testing.assert_allclose(agent.target.get_weights()[0], TARGET)


def test_gradient_clip_bounds_the_global_norm() -> None:
    # The gradient (-7, -14) of the test above has the norm sqrt(245); clipped to norm 1 the step is (7, 14) / that.
    agent = linear_agent(ONLINE, TARGET, double=False, loss="mse", gradient_clip=1.0)
    update(agent, batch([1.0], [0.5], [0]))
    step = np.array([7, 14]) / np.sqrt(245)
    np.testing.assert_allclose(agent.online.get_weights()[0], [[1 + step[0], 2], [step[1], 1]], rtol=1e-6)


def test_update_reports_mean_loss_and_q_values() -> None:
    # Q((1, 2)) = (1, 4), so max_a Q is 4 in both rows. TD errors: 4.5 - 1 = 3.5 for action 0; terminated with return 6:
    # 6 - 4 = 2 for action 1. Mean of squares (12.25 + 4) / 2.
    agent = linear_agent(ONLINE, TARGET, double=False, loss="mse")
    stats, td_errors = update(agent, batch([1.0, 6.0], [0.5, 0.0], [0, 1]))
    assert stats == pytest.approx([8.125, 4.0, 4.0])
    assert td_errors == pytest.approx([3.5, 2.0])


def test_weights_scale_the_losses() -> None:
    # As above with the weights 1 and 0.25: (12.25 + 0.25 * 4) / 2 = 6.625. The gradient on action 1's column,
    # Q = w01 + 2 * w11 = 4, is 0.25 * 2 * (4 - 6) * (1, 2) / 2 = (-0.5, -1): SGD adds (0.5, 1).
    agent = linear_agent(ONLINE, TARGET, double=False, loss="mse")
    stats, td_errors = update(agent, batch([1.0, 6.0], [0.5, 0.0], [0, 1]), [1.0, 0.25])
    assert stats[0] == pytest.approx(6.625)
    assert td_errors == pytest.approx([3.5, 2.0])
    np.testing.assert_allclose(agent.online.get_weights()[0][:, 1], [2.5, 2])


def test_importance_weights_by_hand() -> None:
    # Drawn with chances 0.4, 0.1 and 0.1: (N P) ** -beta over the largest of them is (P / P_min) ** -beta. Half-way
    # through the run beta = 0.4 + 0.6 / 2 = 0.7: 4 ** -0.7 = 0.378929. At its end 4 ** -1 = 0.25.
    agent = DQNAgent(FEATURES, ACTIONS, dataclasses.replace(SMALL, episodes=10, priority_beta=0.4))
    chances = np.array([0.4, 0.1, 0.1])
    for episodes, expected in ((0, 4**-0.4), (5, 0.378929), (10, 0.25), (12, 0.25)):
        agent.episodes = episodes
        assert agent._importance_weights(chances) == pytest.approx([expected, 1, 1], rel=1e-5)


def test_prioritized_update_takes_note_of_the_td_errors() -> None:
    # Two transitions, of which the first wins 8 and the second 0, both terminated, on the online network's Q = 1 of
    # action 0: TD errors 7 and -1. With alpha 1 the priorities become 7.001 and 1.001.
    agent = linear_agent(ONLINE, TARGET, prioritized=True, priority_alpha=1.0, batch_size=64)
    for reward in (8.0, 0.0):
        agent.remember([[1.0, 2.0]], [0], [reward], [True], [False], [[3.0, 1.0]])
    agent._update = agent._update_eagerly
    agent.update()
    assert agent.memory._tree[np.arange(2)] == pytest.approx([7.001, 1.001])  # type: ignore[attr-defined]


def test_reward_clip_bounds_what_is_learned_from() -> None:
    agent = DQNAgent(FEATURES, ACTIONS, dataclasses.replace(SMALL, reward_clip=5.0))
    for reward in (-300.0, 3.0, 25.0):
        agent.remember([[1.0, 2.0]], [0], [reward], [True], [False], [[3.0, 1.0]])
    assert [agent.memory[i].reward for i in range(3)] == [-5.0, 3.0, 5.0]
    agent = DQNAgent(FEATURES, ACTIONS, dataclasses.replace(SMALL, reward_clip=0.0))
    agent.remember([[1.0, 2.0]], [0], [-300.0], [True], [False], [[3.0, 1.0]])
    assert agent.memory[0].reward == -300.0


def test_weight_decay_by_hand() -> None:
    # Rows that weigh nothing have no gradient, so that Adam does not move; a learning rate of 0.5 and a decay of 0.2
    # take 0.5 * 0.2 = a tenth of every weight.
    agent = DQNAgent(FEATURES, ACTIONS, dataclasses.replace(SMALL, learning_rate=0.5, weight_decay=0.2))
    before = agent.online.get_weights()
    update(agent, batch([1.0], [0.5], [0]), [0.0])
    for weights, decayed in zip(before, agent.online.get_weights(), strict=True):
        np.testing.assert_allclose(decayed, 0.9 * weights, rtol=1e-6)


def test_td_loss_by_hand() -> None:
    # Errors 0.5, 1, -3. Squares 0.25, 1, 9. Huber with delta 1: 0.125, 0.5, 3 - 0.5 = 2.5; with delta 2: 0.125, 0.5,
    # 2 * (3 - 1) = 4.
    targets, predictions = tf.constant([1.5, 2.0, 0.0]), tf.constant([1.0, 1.0, 3.0])
    assert td_loss(targets, predictions, "mse", 1.0).numpy() == pytest.approx([0.25, 1, 9])
    assert td_loss(targets, predictions, "huber", 1.0).numpy() == pytest.approx([0.125, 0.5, 2.5])
    assert td_loss(targets, predictions, "huber", 2.0).numpy() == pytest.approx([0.125, 0.5, 4])


@pytest.mark.parametrize("double", [False, True])
def test_compiled_update_equals_numpy_reference(double: bool) -> None:
    """The compiled update on the real network: same loss as NumPy computes from the networks' Q-values."""
    config = dataclasses.replace(SMALL, double=double, loss="mse")
    agent = DQNAgent(FEATURES, ACTIONS, config)
    generator = np.random.default_rng(1)
    agent.target.set_weights([w + generator.normal(0, 0.1, w.shape) for w in agent.target.get_weights()])
    observations, next_observations = generator.normal(size=(2, 8, 2)).astype(np.float32)
    actions = generator.integers(2, size=8).astype(np.int32)
    returns, discounts = generator.normal(size=(2, 8)).astype(np.float32)

    target_values, online_values = agent.target(next_observations).numpy(), agent.online(next_observations).numpy()
    masks = generator.integers(2, size=(8, 2)).astype(bool)
    masks[:, 0] |= ~masks[:, 1]  # something is legal
    picked = np.where(masks, online_values if double else target_values, -np.inf).argmax(axis=1)
    targets = returns + discounts * target_values[np.arange(8), picked]
    taken = agent.online(observations).numpy()[np.arange(8), actions]
    expected = np.mean((targets - taken) ** 2)

    ones = np.ones(8, np.float32)
    stats, td_errors = agent._update(observations, actions, returns, discounts, next_observations, masks, ones)
    assert stats.numpy()[0] == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(td_errors.numpy(), targets - taken, rtol=1e-4, atol=1e-5)


def test_target_starts_equal_to_online() -> None:
    agent = DQNAgent(FEATURES, ACTIONS, SMALL)
    for online, target in zip(agent.online.get_weights(), agent.target.get_weights(), strict=True):
        np.testing.assert_array_equal(online, target)


def remember_episodes(agent: DQNAgent, count: int) -> None:
    """Store `count` episodes of one step each."""
    ones = np.ones((1, 2), np.float32)
    for _ in range(count):
        agent.remember(ones, np.array([0]), np.array([1.0]), np.array([True]), np.array([False]), ones)


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
    # Two lanes end together at every step: counts 2, 4 with N = 3 pass 3 without meeting it.
    agent = DQNAgent(FEATURES, ACTIONS, dataclasses.replace(SMALL, lanes=2, target_every=3))
    agent.online.set_weights([w + 1 for w in agent.online.get_weights()])
    ones, ended = np.ones((2, 2), np.float32), np.array([True, True])
    for copied in (False, True):
        agent.remember(ones, np.zeros(2, int), np.ones(2), ended, ~ended, ones)
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
    # 2 lanes, an update every 3 steps, from 4 transitions on: after 2, 4, 6, 8, 10, 12 steps the multiples of 3 passed
    # are 0, 1, 2, 2, 3, 4, of which the one passed at 4 steps counts as the memory holds 4 by then.
    agent = DQNAgent(FEATURES, ACTIONS, dataclasses.replace(SMALL, lanes=2, learn_every=3, learn_start=4))
    ones, no = np.ones((2, 2), np.float32), np.zeros(2, bool)
    done = []
    for _ in range(6):
        agent.remember(ones, np.zeros(2, int), np.ones(2), no, no, ones)
        done.append(len(agent.learn()))
    assert done == [0, 1, 1, 0, 1, 1]
    assert agent.updates == 4


def test_several_updates_are_due_when_the_lanes_outnumber_learn_every() -> None:
    # 4 lanes, an update every 2 steps: 2 at every vector step.
    agent = DQNAgent(FEATURES, ACTIONS, dataclasses.replace(SMALL, lanes=4, learn_every=2))
    ones, no = np.ones((4, 2), np.float32), np.zeros(4, bool)
    for _ in range(3):
        agent.remember(ones, np.zeros(4, int), np.ones(4), no, no, ones)
        assert len(agent.learn()) == 2


def test_epsilon_by_episodes() -> None:
    agent = DQNAgent(FEATURES, ACTIONS, dataclasses.replace(SMALL, epsilon_decay=0.5, epsilon_min=0.2))
    seen = []
    for _ in range(4):
        seen.append(agent.epsilon)
        remember_episodes(agent, 1)
    assert seen == [1.0, 0.5, 0.25, 0.2]


def test_lineage_epsilon_after_1000_episodes() -> None:
    agent = DQNAgent(FEATURES, ACTIONS, dataclasses.replace(SMALL, epsilon_decay=0.99975, epsilon_min=0.001))
    agent.episodes = 1000
    assert agent.epsilon == pytest.approx(0.7787763)  # exp(1000 * ln 0.99975) = exp(-0.2500313)


def test_epsilon_by_steps() -> None:
    # Linear from 1 to 0.2 over 4 steps: 1 - 0.8 * steps / 4, then 0.2.
    agent = DQNAgent(
        FEATURES, ACTIONS, dataclasses.replace(SMALL, epsilon_schedule="steps", epsilon_steps=4, epsilon_min=0.2)
    )
    seen = []
    for _ in range(6):
        seen.append(agent.epsilon)
        remember_episodes(agent, 1)
    assert seen == pytest.approx([1.0, 0.8, 0.6, 0.4, 0.2, 0.2])


def test_act_is_greedy_at_epsilon_0_and_uniform_at_1() -> None:
    agent = DQNAgent(FEATURES, gym.spaces.Discrete(3, start=5), SMALL)
    observations = np.random.default_rng(0).normal(size=(3000, 2)).astype(np.float32)
    greedy = agent.q_values(observations).argmax(axis=1) + 5
    np.testing.assert_array_equal(agent.act(observations, 0.0), greedy)
    counts = np.bincount(agent.act(observations, 1.0), minlength=8)
    assert counts[:5].sum() == 0
    # Each of 3 actions is expected 1000 times with standard deviation sqrt(3000 * 1/3 * 2/3) = 26: allow 4 of them.
    assert np.abs(counts[5:] - 1000).max() < 104
    # At epsilon 0.3 an action differs from the greedy one with chance 0.3 * 2/3 = 0.2: 600 +- 22.
    differing = (agent.act(observations, 0.3) != greedy).sum()
    assert abs(differing - 600) < 88


def test_actions_of_a_space_that_does_not_start_at_0_are_stored_from_0() -> None:
    agent = DQNAgent(FEATURES, gym.spaces.Discrete(3, start=5), SMALL)
    ones, no = np.ones((1, 2), np.float32), np.zeros(1, bool)
    agent.remember(ones, np.array([7]), np.ones(1), no, no, ones)
    assert agent.memory[0].action == 2


def test_state_round_trip_continues_identically() -> None:
    config = dataclasses.replace(SMALL, lanes=2)

    def go_on(agent: DQNAgent, steps: int) -> list[Any]:
        generator, trace = np.random.default_rng(3), []
        for _ in range(steps):
            observations = generator.normal(size=(2, 2)).astype(np.float32)
            actions = agent.act(observations, 0.5)
            ended = generator.random(2) < 0.3
            agent.remember(observations, actions, generator.random(2), ended, ~ended & False, observations)
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


def test_update_is_traced_once_for_all_batch_sizes() -> None:
    traced = []

    class Counting(DQNAgent):
        def _update_eagerly(self, *batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            traced.append(batch)  # Python runs only while the function is traced
            return super()._update_eagerly(*batch)

    agent = Counting(FEATURES, ACTIONS, SMALL)
    remember_episodes(agent, 5)
    agent.update()
    for size in (1, 7, 64):
        agent._update(*agent.memory.sample(size, 1, 0.9, np.random.default_rng(0))[:6], np.ones(size, np.float32))
    assert len(traced) == 1


SWAP = Symmetry(np.array([1, 0]), np.ones(2, np.int8), np.array([1, 0]))


def test_a_symmetry_turns_observations_and_actions_of_the_batch() -> None:
    """Under a swap of the two features, which swaps the two actions, the update sees the swapped batch."""
    agent = DQNAgent(FEATURES, ACTIONS, SMALL, [SWAP])
    observation, next_observation = np.array([[1, 2]], np.float32), np.array([[3, 4]], np.float32)
    no = np.zeros(1, bool)
    agent.remember(observation, [0], [1.0], no, no, next_observation, [[True, False]])
    seen: list[np.ndarray] = []

    def see(*batch: np.ndarray) -> tuple[tf.Tensor, tf.Tensor]:
        seen.extend(batch)
        return tf.zeros(3), tf.zeros(4)

    agent._update = see
    agent.update()
    observations, actions, returns, discounts, next_observations, next_masks, weights = seen
    np.testing.assert_array_equal(observations, [[2, 1]] * 4)
    np.testing.assert_array_equal(next_observations, [[4, 3]] * 4)
    np.testing.assert_array_equal(next_masks, [[False, True]] * 4)
    np.testing.assert_array_equal(actions, [1] * 4)
    np.testing.assert_array_equal(returns, [1.0] * 4)
    np.testing.assert_array_equal(discounts, [0.5] * 4)
    np.testing.assert_array_equal(weights, [1.0] * 4)
