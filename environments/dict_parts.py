"""Parts of Dict observations that no network reads: texts, and a mask of legal actions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Dict

from console.messages import say_once
from environments.actions import MASK


def without_odd_parts(env: gym.Env, name: str) -> gym.Env:
    """Leave texts out of an environment's Dict observations, with a warning, and move a mask in them to the info.

    MiniGrid's observations hold a text; PettingZoo and RLlib put `action_mask`, (n_actions,), into the observation.
    """
    space = env.observation_space
    if not isinstance(space, Dict):
        return env
    texts = [key for key, part in space.items() if part.dtype is not None and part.dtype.kind == "U"]
    for key in texts:
        say_once(f"warning: {name}: observation[{key!r}] is text, which no network here reads: it is left out")
    mask = space.get(MASK)
    has_mask = mask is not None and mask.shape == (getattr(env.action_space, "n", None),)
    if has_mask:
        say_once(f"{name}: observation[{MASK!r}] is taken as the mask of legal actions, like info[{MASK!r}]")
    odd = {*texts, *([MASK] if has_mask else [])}
    return _WithoutParts(env, odd) if odd else env


class _WithoutParts(gym.Wrapper):
    def __init__(self, env: gym.Env, odd: set[str]) -> None:
        super().__init__(env)
        self._odd = odd
        assert isinstance(env.observation_space, Dict)
        self.observation_space = Dict({key: part for key, part in env.observation_space.items() if key not in odd})

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return self._parted(self.env.reset(seed=seed, options=options))

    def step(self, action: Any) -> Any:
        return self._parted(self.env.step(action))

    def _parted(self, result: Any) -> Any:
        """Change the observation and the info that `reset` or `step` returned; `CheckedEnv` refuses what is wrong."""
        if not (isinstance(result, tuple) and isinstance(result[0], Mapping) and isinstance(result[-1], Mapping)):
            return result
        observation, *rest, info = result
        if MASK in self._odd and MASK in observation:
            info = {MASK: np.asarray(observation[MASK]), **info}
        return {key: part for key, part in observation.items() if key not in self._odd}, *rest, info
