"""One update of the agent, worked out by hand: targets, losses, gradients, weights, symmetries."""

import dataclasses
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from test_agent import ACTIONS, FEATURES, SMALL, remember_episodes

from agent import AT_ONCE, DQNAgent
from environments.lanes import Step
from environments.symmetry import Symmetry
from replay.samplers import Prioritized
from replay_memory import Batch


def linear_agent(online: list[list[float]], target: list[list[float]], **settings: Any) -> DQNAgent:
    """Make an agent whose networks are Q(s, a) = sum_i s_i * weights[i][a]."""
    agent = DQNAgent(FEATURES, ACTIONS, dataclasses.replace(SMALL, **settings))
    for name, weights in (("online", online), ("target", target)):
        inputs = keras.Input((2,))
        model = keras.Model(inputs, keras.layers.Dense(2, use_bias=False)(inputs))
        model.set_weights([np.array(weights, np.float32)])
        setattr(agent, name, model)
    agent.online.compile(optimizer=keras.optimizers.SGD(1.0))
    agent.online.optimizer.build(agent.online.trainable_variables)
    agent._values_in_one_view = lambda observations: agent.online(np.array(observations)).numpy()
    agent._target_values = lambda observations: agent.target(np.array(observations)).numpy()
    return agent


def batch(returns: list[float], discounts: list[float], actions: list[int]) -> Batch:
    """Make a batch of transitions from the observation (1, 2) to (3, 1)."""
    n = len(returns)
    observations, next_observations = np.tile([[1, 2]], (n, 1)), np.tile([[3, 1]], (n, 1))
    return Batch(
        observations.astype(np.float32),
        np.ones((n, 2), bool),
        np.array(actions, np.int32),
        np.array(returns, np.float32),
        np.array(discounts, np.float32),
        next_observations.astype(np.float32),
        np.ones((n, 2), bool),
        np.ones(n, np.float32),
        np.arange(n),
    )


def update(agent: DQNAgent, batch: Batch, weights: list[float] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Do one update, not compiled. Returns its three statistics and the TD errors."""
    batch = batch._replace(weights=np.array(weights or [1.0] * len(batch.actions), np.float32))
    stats, td_errors = agent._gradient_step(batch)
    return stats.numpy(), td_errors.numpy()


def next_values(agent: DQNAgent, legal: list[bool]) -> np.ndarray:
    """Value the observation (3, 1), where these actions are legal."""
    next_batch = batch([0.0], [1.0], [0])._replace(next_masks=np.array([legal]))
    return agent._loss.next_values(agent.online, agent.target, next_batch).numpy()


# With these weights the online network values (1, 2) at (1*1+2*0, 1*2+2*1) = (1, 4) and (3, 1) at (3, 7): it picks
# action 1 there. The target network values (3, 1) at (3*2+1*1, 3*1+1*0) = (7, 3): its maximum is 7, and 3 for action 1.
ONLINE = [[1.0, 2.0], [0.0, 1.0]]
TARGET = [[2.0, 1.0], [1.0, 0.0]]


@pytest.mark.parametrize(("double", "expected"), [(False, 7.0), (True, 3.0)])
def test_bootstrap_is_the_target_networks_value(double: bool, expected: float) -> None:
    agent = linear_agent(ONLINE, TARGET, double=double)
    assert next_values(agent, [True, True]) == pytest.approx([expected])


@pytest.mark.parametrize("double", [False, True])
@pytest.mark.parametrize(("legal", "expected"), [([True, False], 7.0), ([False, True], 3.0)])
def test_bootstrap_looks_at_legal_actions_alone(double: bool, legal: list[bool], expected: float) -> None:
    # If only action 1 is legal, it counts although action 0 is worth more. If only action 0 is, double DQN must not
    # pick action 1, which the online network prefers.
    agent = linear_agent(ONLINE, TARGET, double=double)
    assert next_values(agent, legal) == pytest.approx([expected])


def test_a_soft_update_at_rate_1_does_without_a_target_network() -> None:
    # After every update the target network equals the online one, so action 0 is worth 3 at (3, 1), as the online
    # network says. No gradient flows through it: (Q((1, 2), 0) - (1 + 0.5 * 3))^2 = (1 - 2.5)^2, whose gradient on
    # (w00, w10) is -3 * (1, 2).
    agent = linear_agent(ONLINE, ONLINE, double=False, loss="mse", target_update="soft", target_rate=1.0)
    assert next_values(agent, [True, False]) == pytest.approx([3.0])
    update(agent, batch([1.0], [0.5], [0])._replace(next_masks=np.array([[True, False]])))
    for model in (agent.online, agent.target):
        np.testing.assert_allclose(model.get_weights()[0], [[4, 2], [6, 1]])


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


def test_reported_q_values_are_of_legal_actions() -> None:
    # As above, but in the first row action 1 is illegal: max_a Q is 1 and 4, their mean 2.5.
    agent = linear_agent(ONLINE, TARGET, double=False, loss="mse")
    legal = np.array([[True, False], [True, True]])
    stats, td_errors = update(agent, batch([1.0, 6.0], [0.5, 0.0], [0, 1])._replace(masks=legal))
    assert stats == pytest.approx([8.125, 2.5, 4.0])
    assert td_errors == pytest.approx([3.5, 2.0])


def test_weights_scale_the_losses() -> None:
    # As above with the weights 1 and 0.25: (12.25 + 0.25 * 4) / 2 = 6.625. The gradient on action 1's column,
    # Q = w01 + 2 * w11 = 4, is 0.25 * 2 * (4 - 6) * (1, 2) / 2 = (-0.5, -1): SGD adds (0.5, 1).
    agent = linear_agent(ONLINE, TARGET, double=False, loss="mse")
    stats, td_errors = update(agent, batch([1.0, 6.0], [0.5, 0.0], [0, 1]), [1.0, 0.25])
    assert stats[0] == pytest.approx(6.625)
    assert td_errors == pytest.approx([3.5, 2.0])
    np.testing.assert_allclose(agent.online.get_weights()[0][:, 1], [2.5, 2])


def test_draws_are_corrected_by_beta(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = DQNAgent(FEATURES, ACTIONS, dataclasses.replace(SMALL, priority_beta=0.4))
    remember_episodes(agent, 1)
    betas, sample = [], agent.memory.sample

    def noting(*arguments: Any) -> Batch:
        betas.append(arguments[-1])
        return sample(*arguments)

    monkeypatch.setattr(agent.memory, "sample", noting)
    agent.update()
    assert betas == [0.4]


def test_priorities_are_td_errors_from_the_first_on() -> None:
    # The online network values action 0 at 1. Rewards of 8 and 0 that end an episode are TD errors of 7 and -1. After a
    # reward of 2 that does not, the target network values what follows at 7, or at 3 where only action 1 is legal:
    # errors of 2 + 0.5 * 7 - 1 = 4.5 and 2 + 0.5 * 3 - 1 = 2.5. With alpha 1 the priorities are these and 0.001.
    expected = [7.001, 1.001, 4.501, 2.501]
    agent = linear_agent(ONLINE, TARGET, prioritized=True, priority_alpha=1.0, batch_size=64)
    for reward, terminated, masks in ((8.0, True, True), (0.0, True, True), (2.0, False, True), (2.0, False, [[0, 1]])):
        agent.act(np.array([[1.0, 2.0]], np.float32))
        step = Step([reward], [terminated], [False], [[3.0, 1.0]], np.array(masks, bool))
        agent.remember([[1.0, 2.0]], [0], step)
    assert isinstance(agent.memory.sampler, Prioritized)
    assert agent.memory.sampler._tree[np.arange(4)] == pytest.approx(expected)
    # An update draws all of them in 64 draws, and sets them anew: its step moves the values only afterwards.
    agent.memory.set_priorities(np.arange(4), np.full(4, 3.0))
    agent._update = agent._gradient_step
    agent.update()
    assert agent.memory.sampler._tree[np.arange(4)] == pytest.approx(expected)
    # What was not acted on in training has no values: its priority is the largest so far, and drawn soon.
    agent.act(np.array([[1.0, 2.0]], np.float32), epsilon=0.5)
    agent.remember([[1.0, 2.0]], [0], Step([0.0], [True], [False], [[3.0, 1.0]]))
    assert agent.memory.sampler._tree[np.array([4])] == pytest.approx([7.001])


def test_batches_are_drawn_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 40 transitions, 6 batches of 4 are drawn at once: one from each quarter of the memory. TD errors are made up:
    those of transition i are i + 1, and become its priority."""
    config = dataclasses.replace(SMALL, prioritized=True, priority_alpha=1.0, batch_size=4)
    agent = DQNAgent(FEATURES, ACTIONS, config)
    remember_episodes(agent, 40)
    drawn, batches, sample = [], [], agent.memory.sample

    def noting(*arguments: Any) -> Batch:
        drawn.append(sample(*arguments))
        return drawn[-1]

    def step(batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        batches.append(batch)
        return tf.fill([3], float(len(batches))), tf.constant(batch.slots + 1, tf.float32)

    monkeypatch.setattr(agent.memory, "sample", noting)
    agent._update = step
    assert [stats.loss for stats in agent.update(6)] == [1, 2, 3, 4, 5, 6] and agent.updates == 6
    assert [len(batch.slots) for batch in drawn] == [24]
    for batch in batches:
        assert (batch.slots // 10).tolist() == [0, 1, 2, 3] and batch.observations.flags.c_contiguous
    assert isinstance(agent.memory.sampler, Prioritized)
    slots = np.unique(drawn[0].slots)
    assert agent.memory.sampler._tree[slots] == pytest.approx(slots + 1 + Prioritized.EPSILON)


def test_not_too_many_batches_are_drawn_together(monkeypatch: pytest.MonkeyPatch) -> None:
    agent = DQNAgent(FEATURES, ACTIONS, SMALL)
    counts: list[int] = []

    def update(count: int) -> list[int]:
        counts.append(count)
        return [0] * count

    monkeypatch.setattr(agent, "update", update)
    agent._updates_due = 2 * AT_ONCE + 3
    assert len(agent.learn()) == 2 * AT_ONCE + 3 and counts == [AT_ONCE, AT_ONCE, 3] and agent.learn() == []


def test_weight_decay_by_hand() -> None:
    # Rows of weight 0 have no gradient, so Adam moves nothing. A learning rate of 0.5 and a decay of 0.2 take
    # 0.5 * 0.2 = a tenth of every weight.
    agent = DQNAgent(FEATURES, ACTIONS, dataclasses.replace(SMALL, learning_rate=0.5, weight_decay=0.2))
    before = agent.online.get_weights()
    update(agent, batch([1.0], [0.5], [0]), [0.0])
    for weights, decayed in zip(before, agent.online.get_weights(), strict=True):
        np.testing.assert_allclose(decayed, 0.9 * weights, rtol=1e-6)


@pytest.mark.parametrize("double", [False, True])
def test_compiled_update_equals_numpy_reference(double: bool) -> None:
    """On the real network, the loss is the one that NumPy computes from the networks' Q-values."""
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

    ones, slots = np.ones(8, np.float32), np.arange(8)
    stats, td_errors = agent._update(
        Batch(observations, masks, actions, returns, discounts, next_observations, masks, ones, slots)
    )
    assert stats.numpy()[0] == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(td_errors.numpy(), targets - taken, rtol=1e-4, atol=1e-5)


def test_update_is_traced_once_for_all_batch_sizes() -> None:
    traced = []

    class Counting(DQNAgent):
        def _gradient_step(self, batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
            traced.append(batch)  # Python runs only while the function is traced
            return super()._gradient_step(batch)

    agent = Counting(FEATURES, ACTIONS, SMALL)
    remember_episodes(agent, 5)
    agent.update()
    for size in (1, 7, 64):
        agent._update(agent.memory.sample(size, 1, 0.9, np.random.default_rng(0)))
    assert len(traced) == 1


SWAP = Symmetry(np.array([1, 0]), np.ones(2, np.int8), np.array([1, 0]))


def test_a_symmetry_turns_observations_and_actions_of_the_batch() -> None:
    """A swap of the two features swaps the two actions. The update sees the swapped batch."""
    agent = DQNAgent(FEATURES, ACTIONS, SMALL, [SWAP])
    observation, next_observation = np.array([[1, 2]], np.float32), np.array([[3, 4]], np.float32)
    no = np.zeros(1, bool)
    agent.act(observation, np.array([[False, True]]))
    agent.remember(observation, [0], Step([1.0], no, no, next_observation, [[True, False]]))
    seen: list[Batch] = []

    def see(batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        seen.append(batch)
        return tf.zeros(3), tf.zeros(4)

    agent._update = see
    agent.update()
    (swapped,) = seen
    np.testing.assert_array_equal(swapped.observations, [[2, 1]] * 4)
    np.testing.assert_array_equal(swapped.next_observations, [[4, 3]] * 4)
    np.testing.assert_array_equal(swapped.masks, [[True, False]] * 4)
    np.testing.assert_array_equal(swapped.next_masks, [[False, True]] * 4)
    np.testing.assert_array_equal(swapped.actions, [1] * 4)
    np.testing.assert_array_equal(swapped.returns, [1.0] * 4)
    np.testing.assert_array_equal(swapped.discounts, [0.5] * 4)
    np.testing.assert_array_equal(swapped.weights, [1.0] * 4)
