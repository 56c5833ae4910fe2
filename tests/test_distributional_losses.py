"""C51, quantiles and Munchausen targets: worked out by hand, against NumPy, and learning a known distribution."""

import dataclasses
import itertools
from typing import Any

import gymnasium as gym
import keras
import numpy as np
import pytest
import tensorflow as tf
from test_agent import SMALL

from agent import DQNAgent
from blocks.heads import ATOMS, QUANTILES, SAMPLES, atoms, midpoints
from config import Config
from console.errors import InputError
from environments.lanes import Step
from losses import C51, MUNCHAUSEN_SHARE, TEMPERATURE, Quantiles, ScalarQ, make_loss
from networks import build_q_network
from replay_memory import Batch

SPACE = gym.spaces.Box(-5, 5, (2,), np.float32)
COMBINATIONS = [
    *itertools.product(["mse", "c51", "qr", "iqn"], [False, True], [False]),
    *itertools.product(["mse", "qr", "iqn"], [False], [True]),
]


def batch(returns: list[float], discounts: list[float], actions: list[int] | None = None) -> Batch:
    """Transitions between observations that do not matter, all actions legal."""
    n = len(returns)
    nothing, legal = np.zeros((n, 2), np.float32), np.ones((n, 2), bool)
    taken, slots = np.array(actions or [0] * n, np.int32), np.arange(n)
    rewards, factors = np.array(returns, np.float32), np.array(discounts, np.float32)
    return Batch(nothing, legal, taken, rewards, factors, nothing, legal, np.ones(n, np.float32), slots)


def step(reward: float, terminated: bool, following: np.ndarray) -> Step:
    """What one lane's action led to."""
    return Step(np.array([reward]), np.array([terminated]), np.array([False]), following)


def saying(outputs: Any) -> Any:
    """A network that says the same of every observation."""
    return lambda observations: outputs


def on_atoms(*places: int) -> tf.Tensor:
    """Logits (1, 51, actions) that give all the probability to an atom, for each action another."""
    logits = np.full((1, ATOMS, len(places)), -1e9, np.float32)
    logits[0, places, np.arange(len(places))] = 0
    return tf.constant(logits)


def project(v_max: float, reward: float, discount: float, *places: int) -> dict[float, float]:
    """The target of C51, as the probability of each return that has one."""
    outputs = saying(on_atoms(*places))
    targets = C51(Config(loss="c51", v_max=v_max)).targets(outputs, outputs, batch([reward], [discount]))
    found = {round(float(z), 3): float(p) for z, p in zip(atoms(v_max), targets[0], strict=True) if p > 1e-6}
    assert sum(found.values()) == pytest.approx(1)
    return found


def test_the_projection_by_hand() -> None:
    """With v_max 25 the atoms are -25, -24, ..., 25: atom 29 is 4, atom 20 is -5. The next action of the higher mean
    counts, 4: 0.3 + 0.5 * 4 = 2.3 lies three tenths of the way from 2 to 3. Where the game ends, the reward is all."""
    assert project(25, 0.3, 0.5, 29, 20) == pytest.approx({2.0: 0.7, 3.0: 0.3})
    assert project(25, 0.3, 0.5, 20, 29) == pytest.approx({2.0: 0.7, 3.0: 0.3})
    assert project(25, -3.0, 0.0, 29, 20) == pytest.approx({-3.0: 1.0})
    assert project(25, 40.0, 1.0, 29, 20) == pytest.approx({25.0: 1.0})
    assert project(25, -24.5 - 4, 1.0, 29, 20) == pytest.approx({-25.0: 0.5, -24.0: 0.5})
    assert project(2.5, 0.33, 0.0, 29, 20) == pytest.approx({0.3: 0.7, 0.4: 0.3}, abs=1e-4)


def test_cross_entropy_and_divergence_by_hand() -> None:
    """Equal logits give each atom 1/51. Against a certain target both are log 51. Against a target of two equal halves
    the cross entropy is the same, and the divergence less by the target's own entropy, log 2."""
    targets = np.zeros((2, ATOMS), np.float32)
    targets[0, 7], targets[1, [3, 4]] = 1, 0.5
    logits = tf.constant(np.stack([np.zeros((2, ATOMS)), np.full((2, ATOMS), 5.0)], axis=2), tf.float32)
    losses, errors = C51(Config(loss="c51"))(logits, tf.constant(targets), tf.constant([0, 1]))
    np.testing.assert_allclose(losses, [np.log(51)] * 2, rtol=1e-5)
    np.testing.assert_allclose(errors, [np.log(51), np.log(51) - np.log(2)], rtol=1e-5)


@pytest.mark.parametrize(("delta", "expected"), [(1.0, 0.625), (2.0, 0.40625)])
def test_the_quantile_huber_loss_by_hand(delta: float, expected: float) -> None:
    """Quantiles 0 and 2 at the fractions 0.25 and 0.75, targets 1 and 3.

    Delta 1. From 0 the errors are 1 and 3, Huber's 0.5 and 2.5, both times 0.25 as they are above: 0.375 on average.
    From 2 they are -1 and 1, Huber's 0.5 each, times 0.25 (below) and 0.75: 0.25. The sum is 0.625. Delta 2 (Huber's
    divided by it): 0.25 and 2, 0.28125 on average; 0.25 each, 0.125. The TD error of the means is 2 - 1.
    """
    outputs = tf.constant([[[9.0, 0.0], [9.0, 2.0]]]), tf.constant([[0.25, 0.75]])
    loss = Quantiles(Config(loss="qr", huber_delta=delta))
    losses, errors = loss(outputs, tf.constant([[1.0, 3.0]]), tf.constant([1]))
    assert losses.numpy() == pytest.approx([expected]) and errors.numpy() == pytest.approx([1.0])


def test_munchausen_by_hand() -> None:
    """With tau 0.03 and Q-values 0 and 0.03 log 3 the policy is 1/4 and 3/4. The next value, sum pi (Q - tau log pi),
    is tau log(sum exp(Q / tau)) = 0.03 log 4. The bonus of action 0 is 0.9 * 0.03 log(1/4); where the other one is
    better by 9, tau log pi is -9, cut to -1."""
    loss = ScalarQ(Config(munchausen=True))
    near, far = (tf.constant([[0.0, better]]) for better in (0.03 * np.log(3), 9.0))
    for values, bonus, value in ((near, 0.027 * np.log(1 / 4), 0.03 * np.log(4)), (far, -0.9, 9.0)):
        targets = loss.targets(saying(values), saying(values), batch([2.0], [0.5]))
        assert targets.numpy() == pytest.approx([2 + bonus + 0.5 * value], rel=1e-5)


def test_munchausen_counts_legal_actions_alone() -> None:
    """The illegal action is the best by far: the policy takes the other for certain, so there is no bonus, and the next
    value is its own."""
    values = saying(tf.constant([[1.0, 50.0]]))
    one = batch([2.0], [0.5])._replace(masks=np.array([[True, False]]), next_masks=np.array([[True, False]]))
    assert ScalarQ(Config(munchausen=True)).targets(values, values, one).numpy() == pytest.approx([2.5])


@pytest.mark.parametrize(("loss", "double", "munchausen"), COMBINATIONS)
def test_targets_equal_a_numpy_reference(loss: str, double: bool, munchausen: bool) -> None:
    generator = np.random.default_rng(1)
    config = Config(loss=loss, double=double, munchausen=munchausen, network="dense")
    learned = make_loss(config)
    networks = [build_q_network(SPACE, 3, **config.network_settings()) for _ in range(2)]
    for network in networks:
        network.set_weights([generator.normal(0, 0.3, weights.shape) for weights in network.get_weights()])
    online, target = (learned.outputs_of(network) for network in networks)
    masks, next_masks = generator.random((2, 16, 3)) < 0.6
    masks[:, 0] = next_masks[:, 0] = True
    actions = masks.argmax(axis=1).astype(np.int32)
    returns, discounts = generator.normal(size=(2, 16)).astype(np.float32)
    observations, following = generator.normal(size=(2, 16, 2)).astype(np.float32)
    drawn = Batch(observations, masks, actions, returns, discounts, following, next_masks, np.ones(16), returns)
    expected = np.stack([reference(learned, online, target, drawn, i) for i in range(16)])
    np.testing.assert_allclose(learned.targets(online, target, drawn).numpy(), expected, rtol=1e-4, atol=1e-5)


def reference(loss: ScalarQ, online: Any, target: Any, drawn: Batch, i: int) -> np.ndarray:
    """The target of one transition, action by action."""

    def values(network: Any, observations: np.ndarray) -> np.ndarray:  # (k, actions), one of them for a scalar
        outputs = network(observations[i : i + 1])
        found = np.asarray(outputs[0] if isinstance(loss, Quantiles) else outputs)[0].astype(float)
        if isinstance(loss, C51):
            exponentials = np.exp(found - found.max(axis=0))
            return exponentials / exponentials.sum(axis=0)
        return np.atleast_2d(found)

    def q_values(found: np.ndarray) -> np.ndarray:
        return atoms(10.0) @ found if isinstance(loss, C51) else found.mean(axis=0)

    def log_policy(q: np.ndarray, legal: np.ndarray) -> dict[int, float]:
        highest = q[legal].max()
        log_sum = highest + TEMPERATURE * np.log(np.exp((q[legal] - highest) / TEMPERATURE).sum())
        return {int(a): q[a] - log_sum for a in np.flatnonzero(legal)}

    after, reward, legal = values(target, drawn.next_observations), float(drawn.returns[i]), drawn.next_masks[i]
    if loss._munchausen:
        logs = log_policy(q_values(values(target, drawn.observations)), drawn.masks[i])
        reward += MUNCHAUSEN_SHARE * max(-1.0, logs[int(drawn.actions[i])])
        logs = log_policy(q_values(after), legal)
        next_values = sum(np.exp(log / TEMPERATURE) * (after[:, a] - log) for a, log in logs.items())
    else:
        q = q_values(values(online, drawn.next_observations) if loss._double else after)
        next_values = after[:, max(np.flatnonzero(legal), key=lambda a: q[a])]
    if isinstance(loss, C51):
        found = np.zeros(ATOMS)
        for z, probability in zip(atoms(10.0), next_values, strict=True):
            place = (np.clip(reward + drawn.discounts[i] * z, -10, 10) + 10) / 0.4
            lower = min(int(place), ATOMS - 2)
            found[lower] += (1 - (place - lower)) * probability
            found[lower + 1] += (place - lower) * probability
        return found
    found = reward + drawn.discounts[i] * next_values
    return found if isinstance(loss, Quantiles) else found[0]


@pytest.mark.parametrize("loss", ["c51", "qr", "iqn"])
@pytest.mark.parametrize("dueling", [False, True])
def test_a_network_ends_in_the_means_of_what_is_learned(loss: str, dueling: bool) -> None:
    generator = np.random.default_rng(2)
    config = Config(loss=loss, dueling=dueling, network="dense", v_max=7)
    network, learned = build_q_network(SPACE, 3, **config.network_settings()), make_loss(config)
    network.set_weights([generator.normal(0, 0.3, weights.shape) for weights in network.get_weights()])
    observations = generator.normal(size=(4, 2)).astype(np.float32)
    outputs = learned.outputs_of(network)(observations)
    values = learned.values(outputs).numpy()
    assert values.shape == (4, {"c51": ATOMS, "qr": QUANTILES, "iqn": SAMPLES}[loss], 3)
    means = (values * atoms(7)[:, None]).sum(axis=1) if loss == "c51" else values.mean(axis=1)
    np.testing.assert_allclose(network(observations), means, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(learned.q_values(outputs), means, rtol=1e-4, atol=1e-5)


def test_iqn_draws_fractions_in_training_alone() -> None:
    """One from each of 16 parts, uniform in it: over 500 draws the mean place in a part is 1/2, with a standard error
    of 0.289 / sqrt(500 * 16) = 0.0032, and the mean square 1/3."""
    config = Config(loss="iqn", network="dense")
    outputs = make_loss(config).outputs_of(build_q_network(SPACE, 2, **config.network_settings()))
    observations = np.zeros((500, 2), np.float32)
    np.testing.assert_allclose(outputs(observations)[1], np.tile(midpoints(SAMPLES), (500, 1)), rtol=1e-6)
    places = outputs(observations, training=True)[1].numpy() * SAMPLES - np.arange(SAMPLES)
    assert places.min() >= 0 and places.max() <= 1
    assert abs(places.mean() - 1 / 2) < 0.013 and abs((places**2).mean() - 1 / 3) < 0.013
    assert len(np.unique(places.round(5))) > 7_000


@pytest.mark.parametrize("loss", ["c51", "qr", "iqn"])
def test_the_distribution_of_returns_is_learned(loss: str) -> None:
    """From A the only step leads to B, and from B the game ends with 1 or, one time in four, with -1. The discount is
    0.5, so from A the return is 0.5 or, one time in four, -0.5: a mean of 0.25, and the lower quarter of the quantiles
    is -0.5."""
    config = dataclasses.replace(
        SMALL, loss=loss, v_max=2.0, network="dense", prioritized=False, batch_size=64, memory_size=4_000,
        learning_rate=1e-3, weight_decay=0.0, target_every=50, target_update="updates", huber_delta=0.01,
    )  # fmt: skip
    agent = DQNAgent(SPACE, gym.spaces.Discrete(1), config)
    at_a, at_b = np.array([[1, 0]], np.float32), np.array([[0, 1]], np.float32)
    for i in range(2_000):
        agent.remember(at_a, [0], step(0.0, False, at_b))
        agent.remember(at_b, [0], step(-1.0 if i % 4 == 0 else 1.0, True, at_a))
    for _ in range(75):
        agent.update(8)
    assert agent.q_values(at_a)[0] == pytest.approx([0.25], abs=0.05)
    outputs = make_loss(config).outputs_of(agent.online)(at_a)
    values = make_loss(config).values(outputs).numpy()[0, :, 0]
    if loss == "c51":
        low, high = (values[np.abs(atoms(2.0) - at) < 0.15].sum() for at in (-0.5, 0.5))
        assert low == pytest.approx(0.25, abs=0.05) and high == pytest.approx(0.75, abs=0.05)
    else:
        fractions = midpoints(len(values))
        sure = np.abs(fractions - 0.25) > 0.07
        np.testing.assert_allclose(values[sure], np.where(fractions < 0.25, -0.5, 0.5)[sure], atol=0.15)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": "c51", "method": "sarsa"}, "--loss c51 is for networks, --method sarsa learns a table: leave it out"),
        ({"noisy": True, "method": "sarsa"}, "--noisy is for networks, --method sarsa learns a table: leave it out"),
        ({"noisy": True, "network": "a.py:f"}, "--noisy needs a network made here: leave it out, or --network a.py:f"),
        ({"loss": "iqn", "network": "a.py:f"}, "--loss iqn needs a network made here: leave it out, or"),
        ({"munchausen": True, "double": True}, "--munchausen values all actions by its policy"),
        ({"munchausen": True, "loss": "c51"}, "--munchausen shifts returns by the policy's logarithm"),
    ],
)
def test_wrong_combinations(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Config(**settings)
    assert Config(munchausen=True, network="a.py:f").munchausen  # a target alone, so any network will do


def test_models_have_names_for_what_losses_ask_for() -> None:
    names = {loss: [layer.name for layer in build_q_network(SPACE, 2, loss=loss).layers] for loss in ("c51", "iqn")}
    assert "logits" in names["c51"] and {"quantiles", "fractions"} <= set(names["iqn"])
    assert all(isinstance(build_q_network(SPACE, 2, loss=loss), keras.Model) for loss in names)
