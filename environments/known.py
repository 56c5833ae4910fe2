"""Facts that environments do not publish (packages, mirrors, names of actions), and how to ask for them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv

from environments.symmetry import Symmetry

# Environments whose package Gymnasium does not import by itself, by the start of their ID: the module that registers
# them, and options to make them with. Agents see every fourth frame (Mnih et al. 2015); Atari's wrapper skips them.
PACKAGES: dict[str, tuple[str, dict[str, Any]]] = {
    "ALE/": ("ale_py", {"frameskip": 1}),
    "Vizdoom": (
        "vizdoom.gymnasium_wrapper",
        {"frame_skip": 4, "screen_format": "GRAY8", "screen_resolution": "RES_160X120"},
    ),
    "retro/": ("environments.retro", {}),
}


def _mirror(signs: Sequence[int], actions: Sequence[int], places: Sequence[int] | None = None) -> list[Symmetry]:
    """The identity and a mirror, for an environment whose observations are vectors."""
    numbers = np.arange(len(signs))
    identity = Symmetry(numbers, np.ones(len(signs), np.int8), np.arange(len(actions)))
    return [identity, Symmetry(np.array(places or numbers), np.array(signs, np.int8), np.array(actions))]


# Gymnasium's environments publish no symmetries; in these, left and right are alike.
MIRRORS: Mapping[str, list[Symmetry]] = {
    "CartPole-v1": _mirror([-1, -1, -1, -1], [1, 0]),
    "Acrobot-v1": _mirror([1, -1, 1, -1, -1, -1], [2, 1, 0]),
    # The two legs change places.
    "LunarLander-v3": _mirror([-1, 1, -1, 1, -1, -1, 1, 1], [0, 3, 2, 1], places=[0, 1, 2, 3, 4, 5, 7, 6]),
}
# The actions' names, from Gymnasium's documentation.
ACTION_NAMES: Mapping[str, Sequence[str]] = {
    "CartPole-v1": ("left", "right"),
    "MountainCar-v0": ("left", "stay", "right"),
    "Acrobot-v1": ("left", "stay", "right"),
    "LunarLander-v3": ("stay", "left", "up", "right"),
    "FrozenLake-v1": ("left", "down", "right", "up"),
    "CliffWalking-v1": ("up", "right", "down", "left"),
    "Taxi-v4": ("down", "up", "right", "left", "pick up", "drop off"),
}
_ATARI_NAMES = {
    "noop": "stay", "upright": "up right", "upleft": "up left", "downright": "down right", "downleft": "down left",
}  # fmt: skip


def symmetries_of(env: gym.Env | VectorEnv) -> Sequence[Symmetry]:
    """The symmetries an environment publishes in an attribute `symmetries`, or those in `MIRRORS`.

    Empty if a wrapper changes its observations, as stacking frames does.
    """
    if isinstance(env, AsyncVectorEnv):
        return env.call("symmetric_views")[0]
    single = env.envs[0] if isinstance(env, SyncVectorEnv) else env
    if isinstance(single, gym.Env) and single.observation_space != single.unwrapped.observation_space:
        return ()
    published = getattr(single.unwrapped, "symmetries", None)
    if published is None:
        return MIRRORS.get(single.spec.id, ()) if single.spec else ()
    # The attribute of an unknown environment may mean anything.
    if not isinstance(published, Sequence):
        return ()
    symmetries = [Symmetry(*one) for one in published if isinstance(one, tuple) and len(one) in (3, 4)]
    if isinstance(env, VectorEnv):
        spaces: tuple[gym.Space, Any] = env.single_observation_space, env.single_action_space
    else:
        spaces = env.observation_space, env.action_space
    suit = len(symmetries) == len(published) and all(_suits(one, *spaces) for one in symmetries)
    return symmetries if suit else ()


def _suits(symmetry: Symmetry, observation_space: gym.Space, action_space: Any) -> bool:
    """Whether the arrays of a symmetry have the lengths of an environment's observations and actions."""
    shape = observation_space.shape  # None for Dict and Tuple
    arrays = symmetry if symmetry.values is not None else symmetry[:3]
    if shape is None or not all(isinstance(array, np.ndarray) and array.ndim == 1 for array in arrays):
        return False
    lengths = len(symmetry.places), len(symmetry.signs), len(symmetry.actions)
    return lengths == (math.prod(shape), math.prod(shape), int(action_space.n))


def action_names(env: gym.Env) -> list[str]:
    """A name for each action, counted from 0.

    From the environment's `get_action_meanings` (Atari's have one), from `ACTION_NAMES`, or else its number.
    """
    n_actions = int(env.action_space.n)  # type: ignore[attr-defined]
    meanings = getattr(env.unwrapped, "get_action_meanings", None)
    if meanings:
        names: Sequence[str] = [str(name).lower() for name in meanings()]
    else:
        names = ACTION_NAMES.get(env.spec.id if env.spec else "", ())
    if len(names) != n_actions:
        return [f"action {i}" for i in range(n_actions)]
    return [_ATARI_NAMES.get(name, name) for name in names]
