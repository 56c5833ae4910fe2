"""A small environment for tests, sound but for one thing. Importing this registers it as Odd-v0."""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete, Text


class Odd(gym.Env):
    """Ten steps with a reward of 1 each; `wrong` names the one fault."""

    def __init__(self, wrong: str = "nothing", render_mode: str | None = None) -> None:
        self.wrong = wrong
        bound = np.inf if wrong == "infinite" else 1
        self.observation_space: gym.Space = Text(5) if wrong == "space" else Box(-bound, bound, (2,), np.float32)
        self.action_space: gym.Space = Box(-1, 1) if wrong == "action" else Discrete(3)

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> tuple[Any, dict]:
        super().reset(seed=seed)
        self.steps = 0
        return self._observe(), {"action_mask": np.ones(2, np.int8)} if self.wrong == "mask" else {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict]:
        self.steps += 1
        if self.wrong == "raise" and self.steps == 9:
            raise RuntimeError("out of order")
        if self.wrong == "exit" and self.steps == 9:
            raise SystemExit(5)
        reward: Any = {"reward": np.inf, "no reward": None}.get(self.wrong, 1.0) if self.steps == 7 else 1.0
        info = {"action_mask": [1, 1, 1]} if self.wrong == "last mask" and self.steps == 10 else {}
        return self._observe(), reward, self.steps == 10 and self.wrong != "end", False, info

    def close(self) -> None:
        if self.wrong == "close":
            raise RuntimeError("it does not close")

    def _observe(self) -> np.ndarray:
        late = {"late": 2.0, "infinite": np.inf}.get(self.wrong, 0.0) if self.steps == 9 else 0.0
        return self.np_random.random(3 if self.wrong == "shape" else 2).astype(np.float32) + np.float32(late)


gym.registry.pop("Odd-v0", None)  # `test_a_users_own_file` imports this module under another name as well
gym.register("Odd-v0", lambda **options: Odd(**options))
