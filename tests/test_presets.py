"""The settings of the presets, and which environment gets which preset."""

from typing import Any

import pytest

from config import METHODS, Config
from presets import PRESETS, preset_of

GENERIC: dict[str, Any] = {
    "steps": 100_000,
    "episodes": 10**9,
    "lanes": 8,
    "aggregate_every": 10,
    "evaluate_every": 5_000,
    "evaluate_episodes": 32,
    "learning_rate": 1e-3,
    "discount": 0.99,
    "double": True,
    "reward_clip": 0.0,
    "loss": "mse",
    "weight_decay": 0.0,
    "gradient_clip": 10.0,
    "batch_size": 128,
    "prioritized": False,
    "memory_size": 100_000,
    "learn_every": 4,
    "dueling": False,
    "target_update": "updates",
    "target_every": 50,
    "epsilon_schedule": "steps",
    "epsilon_steps": 20_000,
    "epsilon_min": 0.05,
    "epsilon_spread": 0.0,
}
EXPECTED: dict[str, dict[str, Any]] = {
    "default": {},
    "generic": GENERIC,
    "FrozenLake-v1": {
        **GENERIC,
        "env_args": {"is_slippery": False},
        "steps": 20_000,
        "target_every": 250,
        "epsilon_steps": 8_000,
    },
    "atari": {
        **GENERIC,
        "frame_stack": 4,
        "evaluate_episodes": 8,
        "contest_factor": 2.0,
        "loss": "huber",
        "huber_delta": 1.0,
        "batch_size": 32,
        "learn_start": 5_000,
        "target_every": 1_000,
        "env_args": {"repeat_action_probability": 0.25},
        "steps": 1_000_000,
        "evaluate_every": 25_000,
        "learning_rate": 2.5e-4,
        "reward_clip": 1.0,
        "n_step": 3,
        "epsilon_steps": 50_000,
        "epsilon_min": 0.02,
    },
    "blob-table-on-policy": {
        "method": "q-learning",
        "episodes": 10**9,
        "reward_clip": 0.0,
        "epsilon_schedule": "steps",
        "env_args": {"observation": "cells"},
        "steps": 40_000_000,
        "lanes": 4_096,
        "aggregate_every": 10_000,
        "evaluate_every": 4_000_000,
        "evaluate_episodes": 2_000,
        "learning_rate": 1.0,
        "discount": 0.9,
        "learning_rate_schedule": "linear",
        "epsilon_steps": 40_000_000,
        "epsilon_min": 0.0,
        "epsilon_spread": 0.0,
    },
}


@pytest.mark.parametrize("name", EXPECTED)
def test_settings_of_a_file_and_of_its_bases(name: str) -> None:
    assert PRESETS[name] == EXPECTED[name]
    assert {key: type(value) for key, value in PRESETS[name].items()} == {
        key: type(value) for key, value in EXPECTED[name].items()
    }


def test_bases_are_no_presets() -> None:
    assert list(PRESETS) == [
        *("Acrobot-v1", "CartPole-v1", "CliffWalking-v1", "FrozenLake-v1", "LunarLander-v3", "MountainCar-v0"),
        *("Taxi-v4", "atari", "blob-20", "blob-50", "blob-table", "blob-table-on-policy", "default", "doom", "generic"),
        *("pong", "rainbow", "retro", "table", "tutorial"),
    ]


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_sound_settings(name: str) -> None:
    assert Config.from_preset(preset=name) == Config(preset=name, **PRESETS[name])


def test_rainbow_goes_on_top_of_what_suits_the_environment() -> None:
    for env, steps, stack in (("CartPole-v1", 50_000, 1), ("ALE/Breakout-v5", 1_000_000, 4), ("Blob-v0", None, 1)):
        config = Config.from_preset(env=env, preset="rainbow", lanes=3)
        assert (config.steps, config.frame_stack, config.lanes) == (steps, stack, 3)
        assert (config.loss, config.noisy, config.double, config.n_step) == ("c51", True, True, 3)
        assert config.epsilon(0, 10).tolist() == [0, 0, 0]
    assert Config.from_preset(preset="table").env == "Blob-v0" and Config.from_preset(preset="generic").loss == "mse"


@pytest.mark.parametrize(
    ("env", "network", "off_policy", "on_policy"),
    [
        ("Blob-v0", "default", "blob-table", "blob-table-on-policy"),
        ("blob_env:Blob-v0", "default", "blob-table", "blob-table-on-policy"),
        ("CartPole-v1", "CartPole-v1", "table", "table"),
        ("some.module:CartPole-v1", "CartPole-v1", "table", "table"),
        ("CartPole-v10", "generic", "table", "table"),
        ("ALE/Breakout-v5", "atari", "table", "table"),
        ("ALE/Pong-v5", "pong", "table", "table"),
        ("VizdoomBasic-v1", "doom", "table", "table"),
        ("own_game:Game", "generic", "table", "table"),
        ("", "generic", "table", "table"),
    ],
)
def test_the_preset_that_suits(env: str, network: str, off_policy: str, on_policy: str) -> None:
    assert preset_of(env) == network
    for method in METHODS[1:]:
        assert preset_of(env, method) == (on_policy if "sarsa" in method else off_policy)


@pytest.mark.parametrize(
    ("size", "preset"),
    [(2, "default"), (14, "default"), (15, "blob-20"), (30, "blob-20"), (31, "blob-50"), ("x", "default")],
)
def test_the_settings_follow_from_the_size(size: object, preset: str) -> None:
    assert preset_of("Blob-v0", "dqn", {"size": size}) == Config.from_preset(env_args={"size": size}).preset == preset
    assert preset_of("Blob-v0", "q-learning", {"size": size}) == "blob-table"
    assert preset_of("CartPole-v1", "dqn", {"size": size}) == "CartPole-v1"
