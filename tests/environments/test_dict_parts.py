"""Dict observations as MiniGrid (with a text) and PettingZoo (with a mask) have them."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Dict, Discrete, Text

import console.messages as messages
from config import Config
from console.errors import InputError
from environments.make import make_env


class WithText(gym.Env):
    """Two steps. Action 0 is illegal, and raises."""

    action_space = Discrete(2)

    def __init__(self) -> None:
        self.observation_space: gym.Space = Dict(
            {"place": Discrete(3), "mission": Text(20), "action_mask": Box(0, 1, (2,), np.int8)}
        )

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> Any:
        self.place = 0
        return self._see(), {}

    def step(self, action: int) -> Any:
        if action == 0:
            raise ValueError("an illegal move")
        self.place += 1
        return self._see(), 1.0, self.place == 2, False, {}

    def _see(self) -> dict[str, Any]:
        return {"place": self.place, "mission": "go right", "action_mask": np.array([0, 1], np.int8)}


class OnlyText(WithText):
    """Nothing that a network could read."""

    def __init__(self) -> None:
        self.observation_space = Dict({"mission": Text(20)})


def test_a_text_is_left_out_and_a_mask_moves_to_the_info(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "_said", set())
    name = f"{__name__}:WithText"
    env = make_env(Config(env=name))
    make_env(Config(env=name))  # says it once
    text, mask = capsys.readouterr().err.splitlines()
    assert text == f"warning: {name}: observation['mission'] is text, which no network here reads: it is left out"
    assert mask == f"{name}: observation['action_mask'] is taken as the mask of legal actions, like info['action_mask']"
    assert env.observation_space == Dict({"place": Discrete(3)})
    observation, info = env.reset(seed=0)
    assert observation == {"place": 0} and info["action_mask"].tolist() == [False, True]
    observation, *_, info = env.step(1)
    assert observation == {"place": 1} and info["action_mask"].tolist() == [False, True]


def test_a_text_alone_is_refused() -> None:
    with pytest.raises(InputError, match=r"no network for observations of Dict.*: it is empty"):
        make_env(Config(env=f"{__name__}:OnlyText"))
