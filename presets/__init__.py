"""Settings that suit: one preset for every environment that was tuned, and one for all others."""

from __future__ import annotations

from typing import Any

# For environments that nobody tuned anything for; what those below build on.
_GENERIC: dict[str, Any] = {
    "steps": 100_000,
    "episodes": 10**9,  # the steps alone limit a run
    "lanes": 8,
    "aggregate_every": 10,
    "evaluate_every": 5_000,
    "evaluate_episodes": 32,
    "learning_rate": 1e-3,
    "discount": 0.99,
    "double": True,
    "reward_clip": 0.0,
    "loss": "mse",  # Huber's would learn medians of returns that vary by more than its delta, not means
    "weight_decay": 0.0,
    "gradient_clip": 10.0,
    "batch_size": 128,
    "prioritized": False,
    "memory_size": 100_000,
    "learn_every": 4,
    "target_update": "updates",
    "target_every": 250,
    "epsilon_schedule": "steps",
    "epsilon_steps": 20_000,
    "epsilon_min": 0.05,
}


_SCREENS: dict[str, Any] = {
    **_GENERIC,
    "frame_stack": 4,
    "evaluate_episodes": 8,
    "learning_rate": 1e-4,
    "loss": "huber",
    "huber_delta": 1.0,
    "batch_size": 32,
    "learn_start": 5_000,
    "target_every": 1_000,
    "epsilon_steps": 100_000,
}


PRESETS: dict[str, dict[str, Any]] = {
    "default": {},  # Blob's: `Config`'s own
    # The Blob tutorial's own settings, so that the difference can be seen: an update of its large network at every step
    # makes 25,000 episodes take hours.
    "tutorial": {
        "lanes": 1,
        "network": "tutorial",
        "learning_rate": 1e-3,
        "learning_rate_schedule": "constant",
        "discount": 0.99,
        "n_step": 1,
        "prioritized": False,
        "reward_clip": 0.0,
        "loss": "mse",
        "weight_decay": 0.0,
        "batch_size": 64,
        "memory_size": 50_000,
        "learn_every": 1,
        "epsilon_decay": 0.99975,
        "epsilon_min": 0.001,
        "symmetries": False,
        "target_every": 5,
    },
    "generic": _GENERIC,
    # Rewards are clipped as in Mnih et al. 2015, so that one learning rate suits all games.
    "atari": {
        **_SCREENS,
        "env_args": {"repeat_action_probability": 0.25},
        "steps": 1_000_000,
        "evaluate_every": 25_000,
        "learning_rate": 2.5e-4,
        "reward_clip": 1.0,
        "n_step": 3,
        "epsilon_steps": 50_000,
        "epsilon_min": 0.02,
    },
    "doom": {
        **_SCREENS,
        "steps": 50_000,
        "evaluate_episodes": 32,
        "learning_rate": 2e-4,
        "n_step": 5,
        "huber_delta": 25.0,
        "learn_start": 1_000,
        "epsilon_steps": 12_000,
    },
    # Much is explored to the end, so that it learns to recover from anywhere.
    "CartPole-v1": {
        **_GENERIC,
        "steps": 50_000,
        "evaluate_episodes": 100,
        "n_step": 3,
        "batch_size": 64,
        "learn_every": 1,
        "target_every": 100,
        "epsilon_steps": 8_000,
        "epsilon_min": 0.2,
    },
    "Acrobot-v1": {
        **_GENERIC,
        "evaluate_every": 10_000,
        "evaluate_episodes": 200,
        "learning_rate": 6e-4,
        "batch_size": 64,
        "learn_every": 1,
        "epsilon_steps": 10_000,
    },
    "MountainCar-v0": {
        **_GENERIC,
        "steps": 120_000,
        "evaluate_episodes": 200,
        "discount": 0.995,
        "n_step": 5,
        "learn_every": 1,
        "epsilon_min": 0.02,
    },
    "LunarLander-v3": {**_GENERIC, "evaluate_episodes": 100, "n_step": 3, "learn_every": 1},
    "FrozenLake-v1": {**_GENERIC, "env_args": {"is_slippery": False}, "steps": 20_000, "epsilon_steps": 8_000},
    # As there, and every state is to be seen often enough to be played as well as can be.
    "Taxi-v4": {
        **_GENERIC,
        "evaluate_every": 10_000,
        "evaluate_episodes": 500,
        "discount": 0.95,
        "batch_size": 64,
        "learn_every": 1,
        "epsilon_min": 0.3,
    },
    # The cliff's -100 is clipped, or it would drown the differences of 1 between good moves. It has no limit of steps.
    "CliffWalking-v1": {
        **_GENERIC,
        "max_episode_steps": 200,
        "steps": 30_000,
        "discount": 0.95,
        "reward_clip": 10.0,
        "batch_size": 64,
        "learn_every": 2,
        "epsilon_steps": 15_000,
    },
}


# Of the tables in q_table.py, which `--method` picks.
_TABLE = {
    "method": "q-learning",
    "steps": 200_000,
    "episodes": 10**9,
    "lanes": 8,
    "aggregate_every": 50,
    "evaluate_every": 10_000,
    "evaluate_episodes": 100,
    "learning_rate": 0.5,
    "discount": 0.99,
    "reward_clip": 0.0,
    "epsilon_schedule": "steps",
    "epsilon_steps": 150_000,
    "epsilon_min": 0.0,
}


PRESETS["table"] = _TABLE


# The game has no chance in it, so an error may be put right at once; and whatever rule learns from the best next action
# can learn from random play, which sees the most.
PRESETS["blob-table"] = {
    **_TABLE,
    "env_args": {"observation": "cells"},
    "steps": 40_000_000,
    "lanes": 4_096,
    "aggregate_every": 10_000,
    "evaluate_every": 4_000_000,
    "evaluate_episodes": 2_000,
    "learning_rate": 1.0,
    "learning_rate_schedule": "constant",
    "discount": 0.9,
    "epsilon_min": 1.0,
}


# The others learn what the play is worth that they see, which so must become greedy.
PRESETS["blob-table-on-policy"] = {
    **PRESETS["blob-table"],
    "learning_rate_schedule": "linear",
    "epsilon_steps": 40_000_000,
    "epsilon_min": 0.0,
}


_BY_PREFIX = {"Blob-v0": "default", "ALE/": "atari", "Vizdoom": "doom"}


def preset_of(env: str, method: str = "dqn") -> str:
    """The name of the preset that suits an environment and a method, given as in `Config`."""
    env_id = env.rpartition(":")[2]
    if method != "dqn":
        blob = "blob-table-on-policy" if "sarsa" in method else "blob-table"
        return blob if env_id == "Blob-v0" else "table"
    if env_id in PRESETS:
        return env_id
    return next((preset for prefix, preset in _BY_PREFIX.items() if env_id.startswith(prefix)), "generic")
