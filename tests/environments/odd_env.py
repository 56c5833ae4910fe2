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

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        self._buffer = np.zeros(2, np.float32)
        return self._observe() if self.wrong == "old reset" else (self._observe(), self._info())

    def step(self, action: int) -> Any:
        self.steps += 1
        if self.wrong == "raise" and self.steps == 9:
            raise RuntimeError("out of order")
        if self.wrong == "exit" and self.steps == 9:
            raise SystemExit(5)
        rewards = {"reward": np.inf, "no reward": None, "scalars": np.array([1.0])}
        reward: Any = rewards.get(self.wrong, 1.0) if self.steps == 7 else 1.0
        terminated: Any = self.steps == 10 and self.wrong != "end"
        truncated: Any = {"scalars": np.bool_(False), "flag": "no"}.get(self.wrong, False)
        ends = (terminated,) if self.wrong == "old step" else (terminated, truncated)
        return self._observe(), reward, *ends, self._info()

    def _info(self) -> Any:
        if self.wrong == "infos":  # of changing types and lengths
            return {"path": np.arange(self.steps), "event": "crash" if self.steps == 9 else 0}
        masks: dict[str, Any] = {
            "mask": np.ones(2, np.int8),
            "list mask": [1, 1, 0],
            "logits": [0.0, -np.inf, 0.0],
            "no legal action": np.zeros(3, np.int8),
        }
        if self.wrong in masks:
            return {"action_mask": masks[self.wrong]}
        return None if self.wrong == "info" else {}

    def close(self) -> None:
        if self.wrong == "close":
            raise RuntimeError("it does not close")

    def _observe(self) -> np.ndarray:
        if self.wrong == "random":
            return np.random.random(2).astype(np.float32)
        seen = self.np_random.random(3 if self.wrong == "shape" else 2).astype(np.float32)
        late = {"late": 2.5, "rounding": np.nextafter(np.float32(1), np.float32(2)), "infinite": np.inf, "nan": np.nan}
        if self.wrong in late and self.steps == 9:
            seen[0] = late[self.wrong]
        if self.wrong == "buffer":
            self._buffer[:] = seen
            return self._buffer
        return seen.astype(np.float64) if self.wrong == "float64" else seen


gym.registry.pop("Odd-v0", None)  # `test_a_users_own_file` imports this module under another name as well
gym.register("Odd-v0", lambda **options: Odd(**options))
