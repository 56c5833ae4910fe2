"""Making environments: the time limit, and the view that the agent gets of the screen."""

import dataclasses
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict
from odd_env import Odd

from blob_env import BlobEnv
from config import Config
from console.errors import InputError
from environments.make import LONGEST_EPISODE, make_env, same_game, time_limit


class Unseen(Odd):
    """Takes no `render_mode`."""

    def __init__(self) -> None:
        super().__init__()


def test_an_environment_that_cannot_be_shown_is_refused() -> None:
    unseen = Config.from_preset(env="test_make:Unseen")
    make_env(unseen)
    with pytest.raises(InputError, match="cannot be shown: its constructor takes no render_mode"):
        make_env(unseen, "ansi")


def test_every_episode_has_a_time_limit() -> None:
    assert time_limit(make_env(Config.from_preset(env="Odd-v0"))) == LONGEST_EPISODE
    env = make_env(Config.from_preset(env="Odd-v0", env_args={"wrong": "end"}, max_episode_steps=25))
    env.reset(seed=0)
    ends = [env.step(0)[2:4] for _ in range(25)]
    assert ends == [(False, False)] * 24 + [(False, True)]
    longer = make_env(Config.from_preset(env="MountainCar-v0", max_episode_steps=250))  # its own limit is 200
    longer.reset(seed=0)
    assert [longer.step(1)[3] for _ in range(250)] == [False] * 249 + [True]
    assert time_limit(make_env(Config.from_preset(env="CartPole-v1"))) == 500
    assert time_limit(make_env(Config.from_preset(env="CartPole-v1", max_episode_steps=7))) == 7


def test_atari_as_the_agent_sees_it() -> None:
    config = Config.from_preset(env="ALE/Breakout-v5")
    assert config.frame_stack == 4 and config.reward_clip == 1
    env = make_env(config)
    assert env.observation_space == Box(0, 255, (4, 84, 84), np.uint8)
    kwargs = env.unwrapped.spec.kwargs  # type: ignore[union-attr]
    assert (kwargs["frameskip"], kwargs["repeat_action_probability"]) == (1, 0.25)
    first, _ = env.reset(seed=0)
    assert (first == first[0]).all()  # the first frame, four times
    emulator: Any = env.unwrapped.ale  # type: ignore[attr-defined]
    lives, played = [emulator.lives()], 0
    generator = np.random.default_rng(0)
    ended = False
    while not ended:
        *_, terminated, truncated, _ = env.step(int(generator.integers(4)))
        lives.append(emulator.lives())
        played += 1
        ended = terminated or truncated
    assert (lives[0], lives[-1]) == (5, 0)  # the episode goes on until the last life is lost
    assert played == np.ceil(emulator.getEpisodeFrameNumber() / 4)


def test_smaller_screens() -> None:
    """Each pixel is the mean of those that it stands for, so that nothing small is lost."""
    config = Config.from_preset(env="ALE/Pong-v5", screen_size=42, frame_stack=1)
    large, small = make_env(dataclasses.replace(config, screen_size=84)), make_env(config)
    assert small.observation_space == Box(0, 255, (42, 42), np.uint8)
    screens = [env.reset(seed=0)[0].astype(float) for env in (large, small)]
    means = screens[0].reshape(42, 2, 42, 2).mean((1, 3))
    assert np.abs(means - screens[1]).max() <= 1.5  # both were rounded
    doom = make_env(Config.from_preset(env="VizdoomBasic-v1", screen_size=42))
    assert doom.observation_space["screen"] == Box(0, 255, (4, 42, 42), np.uint8)  # type: ignore[index]
    doom.close()
    with pytest.raises(InputError, match="--env-args takes no screen_size: use --screen-size"):
        make_env(Config.from_preset(env="ALE/Pong-v5", env_args={"screen_size": 42}))


def test_atari_is_known_by_its_package() -> None:
    """Under a name of the user's own too."""
    gym.register("MyPong-v0", "ale_py.env:AtariEnv", kwargs={"game": "pong"})
    env = make_env(Config(env="MyPong-v0"))
    assert env.observation_space == Box(0, 255, (84, 84), np.uint8)
    assert env.unwrapped.spec.kwargs["frameskip"] == 1  # type: ignore[union-attr]
    del gym.registry["MyPong-v0"]


def test_doom_as_the_agent_sees_it() -> None:
    env = make_env(Config.from_preset(env="VizdoomBasic-v1"))
    assert isinstance(env.observation_space, Dict)
    assert env.observation_space["screen"] == Box(0, 255, (4, 84, 84), np.uint8)
    assert env.observation_space["gamevariables"].shape == (4, 1)
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation) and observation["screen"].std() > 10
    assert (observation["gamevariables"] == 50).all()  # bullets
    for step in range(1, 76):
        observation, _, terminated, truncated, _ = env.step(0)  # wait for the end after 300 tics, 4 in each step
        assert (terminated, truncated) == (step == 75, step == 75)  # VizDoom reports both
    assert not observation["screen"][-1].any()  # there is no last frame; terminated wins, so nothing learns from it
    env.close()


def test_options_add_to_those_of_the_preset() -> None:
    config = Config.from_preset(env="FrozenLake-v1", env_args={"map_name": "8x8"})
    assert config.env_args == {"is_slippery": False, "map_name": "8x8"}
    for option in ("max_episode_steps", "render_mode"):
        with pytest.raises(InputError, match=f"--env-args takes no {option}: use "):
            make_env(Config(env_args={option: 5}))


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({}, {"env_args": {"observation": "offsets"}}, True),
        ({"env_args": {"observation": "image"}}, {"env_args": {"size": 10, "observation": "cells"}}, True),
        ({}, {"env_args": {"size": 9}}, False),
        ({}, {"env_args": {"food_reward": 5.0}}, False),
        ({}, {"max_episode_steps": 50}, False),
        ({}, {"env": "Odd-v0"}, False),
        # These say nothing of their game, so their options decide.
        ({"env": "Odd-v0"}, {"env": "Odd-v0", "seed": 5}, True),
        ({"env": "Odd-v0"}, {"env": "Odd-v0", "env_args": {"wrong": "end"}}, False),
        # Doom's attribute `game` is another object in every instance.
        ({"env": "VizdoomBasic-v1"}, {"env": "VizdoomBasic-v1"}, True),
        ({"env": "VizdoomBasic-v1"}, {"env": "VizdoomBasic-v1", "env_args": {"frame_skip": 8}}, False),
    ],
)
def test_the_same_game(one: dict[str, Any], other: dict[str, Any], same: bool) -> None:
    assert same_game(Config(**one), Config(**other)) == same
    assert same_game(Config(**other), Config(**one)) == same


class Counted(BlobEnv):
    """Counts how many were made and are still open."""

    made = still_open = 0

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        Counted.made, Counted.still_open = Counted.made + 1, Counted.still_open + 1

    def close(self) -> None:
        super().close()
        Counted.still_open -= 1


def test_comparing_games_leaves_no_environment_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blob_env.BlobEnv", Counted)
    assert not same_game(Config(), Config(env_args={"size": 5}))
    assert (Counted.made, Counted.still_open) == (2, 0)
