"""What the mistakes cost that copies of the Blob tutorial carry: `python -m experiments.mistakes` makes each and
measures the harm."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from blob.judge import judge
from blob.solver import MAX_STEPS, Games
from blob_env import BlobRules, BlobVectorEnv
from config import Config
from console.arguments import at_least, make_parser
from console.signals import end_quietly_on_ctrl_c
from console.tensorflow_import import import_tensorflow
from environments.lanes import final_observations


class RandomAxisGames(Games):
    """Games whose moves carry the tutorial's `if not x: x = random`: an axis that should not move goes -1, 0 or 1."""

    def backup(self, values: np.ndarray, discount: float) -> np.ndarray:
        """The expectation over where a move ends."""
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
    """The best mean return over all starts, of the game and of the game with the mistake."""
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


def time_limit_as_end(steps: int) -> dict[str, Any]:
    """Q-learning over a table of 5x5 boards whose episodes are cut after 5 steps, with the cut as it is, and taken for
    an end: the judgement of both over all 13,800 starts."""
    from q_table import QTableAgent

    rules, lanes = BlobRules(size=5, observation="cells"), 256
    config = Config.from_preset(method="q-learning", seed=1, lanes=lanes, symmetries=False)
    found = {}
    for name, mistaken in (("truncated", False), ("terminated", True)):
        envs = BlobVectorEnv(lanes, 5, size=5, observation="cells")
        agent = QTableAgent(envs.single_observation_space, envs.single_action_space, config)
        observations, _ = envs.reset(seed=1)
        while agent.steps < steps:
            actions = agent.act(observations, 1.0)
            next_observations, rewards, terminated, truncated, infos = envs.step(actions)
            final = final_observations(next_observations, infos)
            agent.remember(observations, actions, rewards, terminated | (mistaken & truncated), truncated, final)
            agent.learn()
            observations = next_observations
        found[name] = judge(rules, agent.q_values, config.discount)
    return found


def with_dropout(observation_space: Any, n_actions: int) -> Any:
    """The tutorial's kind of network, small: dropout after every layer."""
    import keras
    from keras import layers

    inputs = keras.Input(observation_space.shape, dtype="uint8")
    features = layers.Flatten()(layers.Rescaling(1 / 255)(inputs))
    for _ in range(2):
        features = layers.Dropout(0.2)(layers.Dense(256, "relu")(features))
    return keras.Model(inputs, layers.Dense(n_actions)(features))


def nine_way_targets(episodes: int) -> dict[str, tuple[float, float]]:
    """Of the loss on the action taken, and of the tutorial's, which asks the other eight outputs to stay what they were
    without dropout, on 5x5 boards: percent of the optimum, and by the trained network the share of the tutorial's loss
    that is only what dropout does to those eight."""
    import tensorflow as tf

    from agent import DQNAgent
    from blob.judge import judge_model
    from storage.model_file import read_model
    from train import train

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

    found = {}
    for name, agent in (("the action taken", DQNAgent), ("all nine", NineWay)):
        with tempfile.TemporaryDirectory() as folder, mock.patch("train.DQNAgent", agent):
            network = f"{Path(__file__)}:{with_dropout.__name__}"
            config = Config(
                seed=1, env_args={"size": 5}, episodes=episodes, network=network, loss="mse", learning_rate=1e-3,
                models_dir=f"{folder}/models", logs_dir=f"{folder}/logs",
            )  # fmt: skip
            run = train(config, quiet=True)
            assert run.best
            percent = judge_model(read_model(run.best, {"network": network})).percent_of_optimum
            assert isinstance(run.agent, DQNAgent)
            found[name] = percent, share_of_others(run.agent)
    return found


def share_of_others(agent: Any) -> float:
    """The share of the loss on all outputs, over transitions of the memory, that is not on the action taken."""
    batch = agent.memory.sample(2_000, 1, agent.config.discount, np.random.default_rng(1))
    calm = agent.online(batch.observations).numpy()
    shaken = agent.online(batch.observations, training=True).numpy()
    targets = batch.returns + batch.discounts * agent.target(batch.next_observations).numpy().max(axis=1)
    rows = np.arange(len(calm))
    others = np.square(calm - shaken)
    others[rows, batch.actions] = 0
    taken = np.square(targets - shaken[rows, batch.actions])
    return float(others.sum() / (others.sum() + taken.sum()))


def copies_of_target(every: int, episodes: int) -> list[int]:
    """After which episodes the tutorial's counter copies to the target network."""
    copies, counter = [], 0
    for episode in range(1, episodes + 1):
        counter += 1
        if counter > every:
            copies.append(episode)
            counter = 0
    return copies


def averages(every: int) -> tuple[float, float, float]:
    """The mean return of `every` random episodes; what the tutorial logs after the first, in a list that begins with a
    -200 that nobody played; and what copies log then that divide by `every` however many there are."""
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
    """The command line."""
    end_quietly_on_ctrl_c()
    parser = make_parser(__doc__ or "")
    parser.add_argument("--size", type=at_least(2), default=10, help="of the board in the first (default: %(default)s)")
    parser.add_argument("--steps", type=at_least(1), default=3_000_000, help="of the second (default: %(default)s)")
    parser.add_argument("--episodes", type=at_least(50), default=3_000, help="of the third (default: %(default)s)")
    arguments = parser.parse_args()
    import_tensorflow()
    right, wrong = random_axis(arguments.size)
    print(f"a random axis on a zero move: the best mean return is {wrong:.4f}, not {right:.4f}", flush=True)
    judged = time_limit_as_end(arguments.steps)
    told = [
        f"{one.optimal:,} of {one.n_starts:,} starts played optimally, |Q - Q*| {one.q_error_mean:.3f}"
        for one in judged.values()
    ]
    print(f"a time limit taken for an end: {told[1]}; not taken for one: {told[0]}", flush=True)
    found = nine_way_targets(arguments.episodes)
    (nine, share), (taken, _) = found["all nine"], found["the action taken"]
    print(
        f"targets for all nine actions, under dropout: {share:.0%} of the loss is of actions that nothing was learned "
        f"of; {nine:.2f}% of the optimum, {taken:.2f}% with a target for the action taken alone",
        flush=True,
    )
    print(f"an off-by-one target counter: every 5 episodes copies after {copies_of_target(5, 20)}, not 5, 10, 15, 20")
    mean, placeholder, short = averages(50)
    print(
        f"averages over the wrong length: random play returns {mean:.1f} on average; after one episode the log says "
        f"{placeholder:.1f} with a first entry that nobody played, {short:.1f} divided by 50"
    )


if __name__ == "__main__":
    main()
