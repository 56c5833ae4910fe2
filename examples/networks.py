"""A network of your own: `python train.py --network examples/networks.py:per_action`."""

from __future__ import annotations

import gymnasium as gym
import keras

from networks import NAME, build_q_network


def per_action(observation_space: gym.Space, n_actions: int) -> keras.Model:
    """Build one network per action, side by side; they share no weights.

    Args:
        observation_space: the environment's.
        n_actions: number of actions.

    Returns:
        A model from a batch of observations to Q-values, float32 (batch, n_actions).
    """
    networks = [build_q_network(observation_space, 1) for _ in range(n_actions)]
    for number, network in enumerate(networks):
        network.name = f"{NAME}_{number}"  # names in a model must differ
    inputs = networks[0].input
    q_values = keras.layers.Concatenate(name="q_values")([network(inputs) for network in networks])
    return keras.Model(inputs, q_values, name=NAME)  # under this name XLA compiles it, as it does the parts alone
