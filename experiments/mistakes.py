"""Measures the cost of mistakes found in copies of the Blob tutorial: python -m experiments.mistakes"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from blob.judge import Judgement, judge
from blob.solver import MAX_STEPS, Games
from blob_env import BlobRules, BlobVectorEnv
from config import Config
from console.arguments import at_least, make_parser
from console.signals import end_quietly_on_ctrl_c
from console.tensorflow_import import import_tensorflow
from environments.lanes import final_observations


class RandomAxisGames(Games):
    """Games with the tutorial's `if not x: x = random`: an axis that should not move is moved by -1, 0 or 1."""

    def backup(self, values: np.ndarray, discount: float) -> np.ndarray:
        """Average the Q-values over the cells where a move may end."""
        q_values = super().backup(values, discount)
        down_right, up_left, up_right, down_left, down, up, right, left, _ = q_values.transpose(1, 0, 2)
        mistaken = [
            (down_left + down + down_right) / 3,
            (up_left + up + up_right) / 3,
            (up_right + right + down_right) / 3,
            (up_left + left + down_left) / 3,
            q_values.mean(axis=1),
        ]
        return np.stack([down_right, up_left, up_right, down_left, *mistaken], axis=1)


def random_axis(size: int) -> tuple[float, float]:
    """Compute the optimal mean return over all starts, without and with the random axis."""
    n_cells = size**2
    food, enemy = np.divmod(np.arange(n_cells**2), n_cells)
    pairs = food != enemy
    food, enemy = food[pairs], enemy[pairs]
    rules, means = BlobRules(size=size), []
    free = (np.arange(n_cells)[:, None] != food) & (np.arange(n_cells)[:, None] != enemy)
    for games in (Games(rules, food, enemy), RandomAxisGames(rules, food, enemy)):
        values = games.optimal_q_values(1.0).max(axis=1)
        means.append(float(values[free].mean(dtype=np.float64)))
    return means[0], means[1]


def time_limit_as_end(steps: int) -> dict[str, Judgement]:
    """Learn a table for 5x5 boards from episodes cut after 5 steps, and judge it over all 13,800 starts.

    Returns:
        "truncated": the cut is learned from as a truncation; "terminated": as the end of the game.
    """
    return {"truncated": _learn_table(steps, False), "terminated": _learn_table(steps, True)}


def _learn_table(steps: int, cut_is_end: bool) -> Judgement:
    """Learn by Q-learning from random play."""
    from q_table import QTableAgent

    lanes = 256
    config = Config.from_preset(method="q-learning", seed=1, lanes=lanes, symmetries=False)
    envs = BlobVectorEnv(lanes, 5, size=5, observation="cells")
    agent = QTableAgent(envs.single_observation_space, envs.single_action_space, config)
    observations, _ = envs.reset(seed=1)
    while agent.steps < steps:
        actions = agent.act(observations, 1.0)
        next_observations, rewards, terminated, truncated, infos = envs.step(actions)
        final = final_observations(next_observations, infos)
        agent.remember(observations, actions, rewards, terminated | (cut_is_end & truncated), truncated, final)
        agent.learn()
        observations = next_observations
    return judge(envs.rules, agent.q_values, config.discount)


def with_dropout(observation_space: Any, n_actions: int) -> Any:
    """Build a small network of the tutorial's kind, with dropout after every layer."""
    import keras
    from keras import layers

    inputs = keras.Input(observation_space.shape, dtype="uint8")
    features = layers.Flatten()(layers.Rescaling(1 / 255)(inputs))
    for _ in range(2):
        features = layers.Dropout(0.2)(layers.Dense(256, "relu")(features))
    return keras.Model(inputs, layers.Dense(n_actions)(features))


def nine_way_targets(episodes: int) -> dict[str, tuple[float, float]]:
    """Train on 5x5 boards with the loss on the action taken, and with the tutorial's loss on all nine outputs.

    Returns:
        For each, percent of the optimum, and `share_of_others` of the trained network.
    """
    from agent import DQNAgent

    return {
        name: _train_with_dropout(agent, episodes)
        for name, agent in (("the action taken", DQNAgent), ("all nine", _nine_way_agent()))
    }


def _nine_way_agent() -> type:
    """Derive an agent whose targets for the other eight actions are the network's outputs without dropout."""
    import tensorflow as tf

    from agent import DQNAgent

    class NineWay(DQNAgent):
        def _update_eagerly(
            self,
            observations: Any,
            actions: Any,
            returns: Any,
            discounts: Any,
            next_: Any,
            next_masks: Any,
            weights: Any,
        ) -> Any:
            targets = returns + discounts * self._bootstrap(next_, next_masks)
            wanted = self.online(observations)
            rows = tf.stack([tf.range(len(actions)), actions], axis=1)
            errors = targets - tf.gather(wanted, actions, batch_dims=1)
            wanted = tf.tensor_scatter_nd_update(wanted, rows, targets)
            with tf.GradientTape() as tape:
                q_values = self.online(observations, training=True)
                loss = tf.reduce_mean(weights[:, None] * tf.square(wanted - q_values))
            variables = self.online.trainable_variables
            self.online.optimizer.apply(tape.gradient(loss, variables), variables)
            best = tf.reduce_max(q_values, axis=1)
            return tf.stack([loss, tf.reduce_mean(best), tf.reduce_max(best)]), errors

    return NineWay


def _train_with_dropout(agent: type, episodes: int) -> tuple[float, float]:
    """Train an agent of this class. Returns percent of the optimum, and `share_of_others`."""
    from agent import DQNAgent
    from blob.judge import judge_model
    from storage.model_file import read_model
    from train import train

    with tempfile.TemporaryDirectory() as folder, mock.patch("train.DQNAgent", agent):
        network = f"{Path(__file__)}:{with_dropout.__name__}"
        config = Config(
            seed=1, env_args={"size": 5}, episodes=episodes, network=network, loss="mse", learning_rate=1e-3,
            models_dir=f"{folder}/models", logs_dir=f"{folder}/logs",
        )  # fmt: skip
        run = train(config, quiet=True)
        assert run.best and isinstance(run.agent, DQNAgent)
        judgement = judge_model(read_model(run.best, {"network": network}))
        return judgement.percent_of_optimum, share_of_others(run.agent)


def share_of_others(agent: Any) -> float:
    """Compute the share of the loss on all outputs that falls on actions not taken, over transitions of the memory."""
    batch = agent.memory.sample(2_000, 1, agent.config.discount, np.random.default_rng(1))
    clean = agent.online(batch.observations).numpy()
    noisy = agent.online(batch.observations, training=True).numpy()
    targets = batch.returns + batch.discounts * agent.target(batch.next_observations).numpy().max(axis=1)
    rows = np.arange(len(clean))
    others = np.square(clean - noisy)
    others[rows, batch.actions] = 0
    taken = np.square(targets - noisy[rows, batch.actions])
    return float(others.sum() / (others.sum() + taken.sum()))


def copies_of_target(every: int, episodes: int) -> list[int]:
    """List the episodes after which the tutorial's counter copies to the target network."""
    copies, counter = [], 0
    for episode in range(1, episodes + 1):
        counter += 1
        if counter > every:
            copies.append(episode)
            counter = 0
    return copies


def averages(every: int) -> tuple[float, float, float]:
    """Average the returns of `every` random episodes, correctly and with two mistakes.

    Returns:
        The mean; the tutorial's mean after one episode, of a list that begins with a made-up -200; and the mean after
        one episode in copies that always divide by `every`.
    """
    envs = BlobVectorEnv(every)
    envs.reset(seed=1)
    generator, returns, going = np.random.default_rng(1), np.zeros(every), np.ones(every, bool)
    for _ in range(MAX_STEPS):
        _, rewards, terminated, truncated, _ = envs.step(generator.integers(9, size=every))
        returns += rewards * going
        going &= ~(terminated | truncated)
    first = float(returns[0])
    return float(returns.mean()), (first - 200) / 2, first / every


def main() -> None:
    """Measure all mistakes and print a line for each."""
    end_quietly_on_ctrl_c()
    parser = make_parser(__doc__ or "")
    parser.add_argument(
        "--size", type=at_least(2), default=10, help="board size for the random axis (default: %(default)s)"
    )
    parser.add_argument(
        "--steps", type=at_least(1), default=3_000_000, help="steps for the time limit (default: %(default)s)"
    )
    parser.add_argument(
        "--episodes", type=at_least(50), default=3_000, help="episodes for the nine targets (default: %(default)s)"
    )
    arguments = parser.parse_args()
    import_tensorflow()
    print_random_axis(arguments.size)
    print_time_limit(arguments.steps)
    print_nine_way(arguments.episodes)
    print(f"target counter off by one: every 5 episodes copies after {copies_of_target(5, 20)}, not 5, 10, 15, 20")
    mean, placeholder, short = averages(50)
    print(
        f"averages over the wrong length: random play returns {mean:.1f} on average; after one episode the log says "
        f"{placeholder:.1f} with a made-up first entry, {short:.1f} when divided by 50"
    )


def print_random_axis(size: int) -> None:
    """Print the cost of the random axis."""
    right, wrong = random_axis(size)
    print(f"random axis on a zero move: the optimal mean return is {wrong:.4f} instead of {right:.4f}", flush=True)


def print_time_limit(steps: int) -> None:
    """Print the cost of learning from a time limit as if it were an end."""
    right, wrong = (
        f"{one.optimal:,} of {one.n_starts:,} starts played optimally, |Q - Q*| {one.q_error_mean:.3f}"
        for one in time_limit_as_end(steps).values()
    )
    print(f"time limit taken for an end: {wrong}; taken for a truncation: {right}", flush=True)


def print_nine_way(episodes: int) -> None:
    """Print the cost of targets for all nine actions."""
    found = nine_way_targets(episodes)
    (nine, share), (taken, _) = found["all nine"], found["the action taken"]
    print(
        f"targets for all nine actions, with dropout: {share:.0%} of the loss is on actions not taken; {nine:.2f}% of "
        f"the optimum, {taken:.2f}% with a target for the action taken only",
        flush=True,
    )


if __name__ == "__main__":
    main()
