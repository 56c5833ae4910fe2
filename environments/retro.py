"""The games of consoles (Sonic's, say), through stable-retro: `--env retro/GAME`. Importing this registers them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete, MultiBinary
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

from console.errors import InputError
from console.signals import leave_signals_to_parent
from environments.make import FORK

try:
    import stable_retro as retro
except ImportError as error:
    raise InputError("--env retro/... needs the package stable-retro: pip install stable-retro") from error

FRAMES = 4  # in a step, of which the agent sees the last: as Mnih et al. 2015 have it


class RetroGame(gym.Env[np.ndarray, int]):
    """A console's game, prepared as Atari's are: square grey screens, actions that last for four frames.

    The consoles have no chance in them. So in each frame the buttons of the frame before may stay pressed, as Machado
    et al. 2018 recommend for Atari. stable-retro allows one emulator in a process, so that each game has its own.

    Args:
        game: its name in stable-retro, whose scenario says what is rewarded and when an episode ends.
        actions: the buttons that each action presses, such as `["", "LEFT", "RIGHT", "RIGHT B"]`; by default every
            combination that stable-retro allows, which are 126 on a Genesis.
        state: where episodes start, such as "GreenHillZone.Act1"; by default where stable-retro says.
        scenario: another one of the game's scenarios.
        repeat_action_probability: for each frame.
        screen_size: height and width of the screens, in pixels.
        render_mode: "rgb_array", or None.

    Observations are uint8 (screen_size, screen_size).

    Raises:
        InputError: the game's ROM is not there, or an action presses what is no button.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 60 // FRAMES}

    def __init__(
        self,
        game: str,
        actions: Sequence[str] | None = None,
        state: str | None = None,
        scenario: str | None = None,
        repeat_action_probability: float = 0.25,
        screen_size: int = 84,
        render_mode: str | None = None,
    ) -> None:
        try:
            retro.data.get_romfile_path(game)
        except FileNotFoundError as error:
            raise InputError(
                f"there is no ROM of {game}: python -m stable_retro.import FOLDER takes yours from a folder"
            ) from error
        make = functools.partial(_Emulator, game, state, scenario, screen_size)
        self._process = AsyncVectorEnv([make], context=FORK, autoreset_mode=AutoresetMode.DISABLED)
        (buttons,), (combinations,) = self._process.get_attr("buttons"), self._process.get_attr("combinations")
        self._masks = combinations if actions is None else _masks(actions, buttons)
        self._buttons = buttons
        self.observation_space = self._process.single_observation_space
        self.action_space = Discrete(len(self._masks))  # type: ignore[assignment]
        self._repeats = repeat_action_probability
        self.render_mode = render_mode

    def get_action_meanings(self) -> list[str]:
        """Return the buttons that each action presses, such as "RIGHT B"; "NOOP" for none."""
        names = np.array(self._buttons)
        return [" ".join(names[mask.astype(bool)]) or "NOOP" for mask in self._masks]

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Start an episode. The seed is that of the actions that repeat."""
        super().reset(seed=seed)
        self._pressed = np.zeros_like(self._masks[0])
        screens, _ = self._process.reset()
        return screens[0], {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Press an action's buttons for four frames. Returns the last screen and the sum of the rewards."""
        frames = []
        for repeats in self.np_random.random(FRAMES) < self._repeats:
            self._pressed = self._pressed if repeats else self._masks[action]
            frames.append(self._pressed)
        screens, rewards, terminated, truncated, _ = self._process.step(np.array(frames)[None])
        return screens[0], float(rewards[0]), bool(terminated[0]), bool(truncated[0]), {}

    def render(self) -> np.ndarray | None:
        """Return the screen in its colours, uint8 (height, width, 3), if the render mode is "rgb_array"."""
        return self._process.call("render")[0] if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """End the emulator's process."""
        self._process.close()


class _Emulator(gym.Env[np.ndarray, np.ndarray]):
    """What runs in the process: it takes four frames of pressed buttons, int8 (4, buttons), and shows the last screen.

    Attributes:
        buttons: names.
        combinations: of buttons, int8 (combinations, buttons), that stable-retro allows.
    """

    metadata = {"render_modes": ["rgb_array"]}
    render_mode = "rgb_array"

    def __init__(self, game: str, state: str | None, scenario: str | None, side: int) -> None:
        leave_signals_to_parent()
        self.observation_space = Box(0, 255, (side, side), np.uint8)
        self._env = retro.make(
            game,
            state=state or retro.State.DEFAULT,
            scenario=scenario,
            use_restricted_actions=retro.Actions.DISCRETE,
            render_mode="rgb_array",
        )
        self.buttons = [name or "" for name in self._env.buttons]
        count = int(self._env.action_space.n)
        self.combinations = np.array([self._env.action_to_array(i)[0] for i in range(count)], np.int8)
        self._env.use_restricted_actions = retro.Actions.ALL  # takes every combination
        self.action_space = MultiBinary((FRAMES, len(self.buttons)))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        self._screen, _ = self._env.reset()
        return self._seen(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        total = 0.0
        for pressed in action:
            self._screen, reward, terminated, truncated, _ = self._env.step(pressed)
            total += float(reward)
            if terminated or truncated:
                break
        return self._seen(), total, bool(terminated), bool(truncated), {}

    def _seen(self) -> np.ndarray:
        import cv2

        grey = cv2.cvtColor(self._screen, cv2.COLOR_RGB2GRAY)
        return np.asarray(cv2.resize(grey, self.observation_space.shape, interpolation=cv2.INTER_AREA), np.uint8)

    def render(self) -> np.ndarray:
        return self._screen

    def close(self) -> None:
        self._env.close()


def _masks(actions: Sequence[str], buttons: Sequence[str]) -> np.ndarray:
    """The buttons that actions press, int8 (actions, buttons), from their names."""
    for name in " ".join(actions).split():
        if name not in buttons:
            raise InputError(f"--env-args: {name} is no button; these are {', '.join(filter(None, buttons))}")
    return np.array([[button in action.split() for button in buttons] for action in actions], np.int8)


for _game in retro.data.list_games():
    if f"retro/{_game}" not in gym.registry:
        gym.register(f"retro/{_game}", "environments.retro:RetroGame", kwargs={"game": _game})
