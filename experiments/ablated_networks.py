"""The network for boards with one part left out, for `python -m experiments.ablation`; on any board:
python train.py --network experiments/ablated_networks.py:without_convolution"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import gymnasium as gym
import keras
from keras import layers

import networks
from blocks import board


def _with(part: str, function: Callable[..., Any], observation_space: gym.Space, n_actions: int) -> keras.Model:
    """Build the network with another function in the place of one of its parts."""
    with patch.object(board if hasattr(board, part) else networks, part, function):
        return networks.build_q_network(observation_space, n_actions)


def without_convolution(observation_space: gym.Space, n_actions: int) -> keras.Model:
    """Build the network without pieces of the board: it sees rows and columns alone."""
    return _with("_pieces", lambda pixels: layers.Flatten()(pixels)[:, :0], observation_space, n_actions)


def pixels_for_convolution(observation_space: gym.Space, n_actions: int) -> keras.Model:
    """Build the network with the pixels themselves in the place of the convolution."""
    return _with("_pieces", lambda pixels: pixels, observation_space, n_actions)


def without_attention(observation_space: gym.Space, n_actions: int) -> keras.Model:
    """Build the network without looks from rows and columns: the convolution is all that it sees."""
    return _with("_looks_along", lambda *_: [], observation_space, n_actions)


def without_normalization(observation_space: gym.Space, n_actions: int) -> keras.Model:
    """Build the network without layer normalization."""
    return _with("dense", _dense_with(normalized=False), observation_space, n_actions)


def with_two_layers(observation_space: gym.Space, n_actions: int) -> keras.Model:
    """Build the network with two dense layers instead of three."""
    return _with("dense", _dense_with(n_layers=2), observation_space, n_actions)


def _dense_with(**other: Any) -> Callable[..., keras.KerasTensor]:
    dense = networks.dense
    return lambda features, units, **settings: dense(features, units, **{**settings, **other})
