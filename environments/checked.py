"""The edge between a user's environment and the project: what comes in is copied, converted and checked."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from decimal import Decimal
from numbers import Real
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Dict, Discrete, MultiDiscrete, Tuple

from console.errors import InputError
from console.messages import say_once
from environments.actions import MASK
from environments.spaces import example_observation

SUCCESS = "is_success"  # the name that Gymnasium's robotics environments gave it in an info
ROUNDING = 1e-6  # relative: float32 has 24 bits
Reader = Callable[[Any], Any]


class CheckedEnv(gym.Wrapper):
    """Copies what an environment hands out, and names what no agent can learn from where it happens.

    Observations become arrays of the space's dtypes, rewards floats, flags bools. Of an info only the mask of legal
    actions, bool (n_actions,), and `is_success`, a bool, are kept: nothing else is read, and whatever else is there may
    change its type from step to step. An environment may so reuse its arrays, or hand out constants.

    Raises:
        InputError: the actions are not Discrete or no network fits the observations; later, from `reset` and `step`,
            the environment fails, or hands out what cannot be used.
    """

    def __init__(self, env: gym.Env, name: str) -> None:
        super().__init__(env)
        self._name = name
        if not isinstance(env.action_space, Discrete):
            raise InputError(
                f"--env {name} has the action space {env.action_space}: deep Q-learning needs a Discrete one"
            )
        example_observation(env.observation_space)  # raises if no network fits
        self._read = _reader(env.observation_space, f"--env {name}: observation")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the environment."""
        result = self._call("reset", lambda: self.env.reset(seed=seed, options=options))
        if not isinstance(result, tuple) or len(result) != 2:
            raise InputError(
                f"--env {self._name} returned {_kind(result)} from reset: Gymnasium's reset returns (observation, "
                "info), old Gym's the observation alone"
            )
        observation, info = result
        return self._read(observation), self._info(info, goes_on=True)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Step the environment."""
        result = self._call("step", lambda: self.env.step(action))
        if not isinstance(result, tuple) or len(result) != 5:
            raise InputError(
                f"--env {self._name} returned {_kind(result)} from step: Gymnasium's step returns (observation, "
                "reward, terminated, truncated, info), old Gym's one flag less"
            )
        observation, reward, terminated, truncated, info = result
        ends = self._flag("terminated", terminated), self._flag("truncated", truncated)
        return self._read(observation), self._reward(reward), *ends, self._info(info, goes_on=not any(ends))

    def render(self) -> Any:
        """Draw the environment: uint8 (height, width, 3) in the mode "rgb_array", which may be drawn in other types."""
        drawn = self._call("render", self.env.render)
        if self.render_mode != "rgb_array":
            return drawn
        picture = _picture(drawn)
        if picture is None:
            raise InputError(
                f"--env {self._name} cannot be shown: its render gave {_kind_of_picture(drawn)}, not a picture of the "
                "mode rgb_array, uint8 (height, width, 3)"
            )
        return picture

    def _call(self, method: str, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except InputError:
            raise
        except (Exception, SystemExit) as error:  # user code may raise anything
            frame = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(frame.filename).name}, line {frame.lineno}"
            raise InputError(
                f"--env {self._name} fails in {method}: {type(error).__name__}: {error} ({where})"
            ) from error

    def _reward(self, reward: Any) -> float:
        number = reward if type(reward) is float else _scalar(reward)
        if number is None or not np.isfinite(number):
            raise InputError(
                f"--env {self._name} gave the reward {reward!r}: a reward must be one finite number; look in its step "
                "for a branch that sets none, a division by zero or an overflow"
            )
        return number

    def _flag(self, flag_name: str, flag: Any) -> bool:
        if flag is None or isinstance(flag, bool):
            return bool(flag)
        number = _scalar(flag)
        if number is None or number not in (0, 1):
            raise InputError(f"--env {self._name} gave {flag_name}={flag!r}: it must be True or False")
        return bool(number)

    def _info(self, info: Any, goes_on: bool) -> dict[str, Any]:
        if not isinstance(info, Mapping):
            raise InputError(
                f"--env {self._name} gave the info {info!r}: Gymnasium's reset and step return a dictionary last; {{}} "
                "will do"
            )
        kept: dict[str, Any] = {}
        if info.get(MASK) is not None:
            kept[MASK] = self._mask(info[MASK], goes_on)
        if info.get(SUCCESS) is not None:
            kept[SUCCESS] = self._flag(f"info[{SUCCESS!r}]", info[SUCCESS])
        return kept

    def _mask(self, given: Any, goes_on: bool) -> np.ndarray:
        """Read a mask of legal actions: bool (n_actions,), a copy."""
        n_actions = int(self.action_space.n)  # type: ignore[attr-defined]
        try:
            mask = np.array(given)
        except ValueError:  # lists of unequal lengths
            mask = np.zeros(0)
        if mask.shape != (n_actions,) or mask.dtype.kind not in "biuf" or not np.isin(mask, (0, 1)).all():
            raise InputError(
                f"--env {self._name} gives the action_mask {given!r}: it must hold {n_actions} numbers, 1 for a legal "
                "action and 0 for an illegal one"
            )
        if goes_on and not mask.any():
            say_once(
                f"warning: {self._name} goes on with an action_mask in which no action is legal: all count as legal "
                "there"
            )
        return mask.astype(bool)


def _kind(result: Any) -> str:
    return f"{len(result)} values" if isinstance(result, tuple) else f"one {type(result).__name__}"


def _scalar(value: Any) -> float | None:
    """Read one number, of whatever type; None if it is none."""
    try:
        item = np.asarray(value).item()
    except ValueError:  # more than one
        return None
    return float(item) if isinstance(item, Real | Decimal) else None


def _picture(drawn: Any) -> np.ndarray | None:
    """Read a picture, in grey or in colour, of bytes or of numbers in [0, 1] or [0, 255]; of several, the newest.

    Returns:
        uint8 (height, width, 3), a copy; None if it is no picture.
    """
    if isinstance(drawn, list | tuple) and drawn and isinstance(drawn[-1], np.ndarray) and drawn[-1].ndim > 1:
        drawn = drawn[-1]
    array = np.array(drawn)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.dtype.kind not in "biuf" or array.ndim != 3 or array.shape[2] not in (1, 3, 4) or not array.size:
        return None
    if array.dtype != np.uint8:
        low, high = array.min(), array.max()
        if not (low >= 0 and high <= 255):  # or nan
            return None
        scale = 255 if array.dtype.kind in "bf" and high <= 1 else 1
        array = np.round(array * float(scale)).astype(np.uint8)
    return np.repeat(array, 3, axis=2) if array.shape[2] == 1 else array[:, :, :3]


def _kind_of_picture(drawn: Any) -> str:
    return f"{drawn.dtype} {drawn.shape}" if isinstance(drawn, np.ndarray) else type(drawn).__name__


def _reader(space: gym.Space, where: str) -> Reader:
    """Make the function that reads one observation of a space, or raises InputError."""
    if isinstance(space, Dict):
        parts = {key: _reader(part, f"{where}[{key!r}]") for key, part in space.items()}

        def read_dict(value: Any) -> Any:
            if not isinstance(value, Mapping) or value.keys() != parts.keys():
                raise InputError(f"{where} is {value!r}: its space has the keys {', '.join(map(repr, parts))}")
            return {key: read(value[key]) for key, read in parts.items()}

        return read_dict
    if isinstance(space, Tuple):
        readers = [_reader(part, f"{where}[{i}]") for i, part in enumerate(space.spaces)]

        def read_tuple(value: Any) -> Any:
            if not isinstance(value, tuple | list) or len(value) != len(readers):
                raise InputError(f"{where} is {value!r}: its space is a tuple of {len(readers)}")
            return tuple(read(part) for read, part in zip(readers, value, strict=True))

        return read_tuple
    return _ArrayReader(space, where)


class _ArrayReader:
    """Reads an observation, or a part of one, that is an array. Returns a copy of the space's dtype."""

    def __init__(self, space: gym.Space, where: str) -> None:
        self._space, self._where = space, where
        self._shape: Any = space.shape or ()
        self._is_scalar = isinstance(space, Discrete)  # Gymnasium has np.int64 there, not an array
        self._dtype: Any = np.dtype(space.dtype)
        self._low, self._high = _bounds(space)
        self._stored = example_observation(space).dtype
        limits = np.iinfo(self._dtype) if self._dtype.kind in "iu" else None
        # Whether every number of the dtype is inside, as with pictures.
        self._takes_all = limits is not None and bool(
            (self._low == limits.min).all() and (self._high == limits.max).all()
        )

    def __call__(self, value: Any) -> Any:
        try:
            array = np.array(value)
        except ValueError:  # lists of unequal lengths
            array = np.array(None)
        if array.dtype.kind not in "biuf" or array.shape != self._shape:
            found = f"{array.dtype} {array.shape}" if array.dtype.kind in "biuf" else repr(value)
            raise InputError(f"{self._where} is {found}, its space has {self._dtype} {self._shape}")
        if array.dtype == self._dtype and self._takes_all:
            return array
        inside = (array >= self._low) & (array <= self._high)
        if array.dtype.kind == "f":
            inside &= np.isfinite(array)
        if not inside.all():
            array = self._outside(array, inside)
        array = array if array.dtype == self._dtype else self._cast(array)
        return array[()] if self._is_scalar else array

    def _outside(self, array: np.ndarray, inside: np.ndarray) -> np.ndarray:
        """Clip what rounding took out of bounds. Refuse what cannot be learned from, and warn of the rest."""
        endless = ~np.isfinite(array)
        nearest = np.clip(array, self._low, self._high)
        with np.errstate(invalid="ignore"):  # inf - inf
            beyond = ~inside & ~(np.abs(array - nearest) <= ROUNDING * np.maximum(1, np.abs(nearest)))
        worst = next(places for places in (endless, beyond, ~inside) if places.any())
        index = tuple(map(int, np.argwhere(worst)[0]))
        value, bound = array[index].item(), nearest[index].item()
        what = f"{self._where}{list(index) if index else ''} is {value!r} ({array.dtype})"
        if endless.any():
            raise InputError(f"{what}: observations must be finite numbers")
        if not beyond.any():
            say_once(f"warning: {what}, a rounding beyond its space's bound {bound!r}: clipped", self._where)
            return nearest.astype(array.dtype)
        what += f", beyond its space's bound {bound!r}"
        if not isinstance(self._space, Box) or (self._stored.kind in "iu" and self._wraps(array)):
            raise InputError(f"{what}: correct the space or the observation")
        say_once(f"warning: {what}; such numbers are learned from as they are", self._where)
        return array

    def _wraps(self, array: np.ndarray) -> bool:
        """Whether a number does not fit where it is stored."""
        limits = np.iinfo(self._stored)
        return bool((array < limits.min).any() or (array > limits.max).any())

    def _cast(self, array: np.ndarray) -> np.ndarray:
        cast = array.astype(self._dtype)
        if self._dtype.kind in "biu" and (cast != array).any():
            index = tuple(map(int, np.argwhere(cast != array)[0]))
            raise InputError(
                f"{self._where}{list(index) if index else ''} is {array[index].item()!r} ({array.dtype}), which its "
                f"space's {self._dtype} cannot hold: give the space the dtype {array.dtype}"
            )
        if isinstance(self._space, Box) and not np.can_cast(array.dtype, self._dtype):
            say_once(
                f"warning: {self._where} is {array.dtype}, its space says {self._dtype}: it is converted",
                f"{self._where} {array.dtype}",
            )
        return cast


def _bounds(space: gym.Space) -> tuple[Any, Any]:
    """The least and the greatest number at each place of a space's arrays."""
    if isinstance(space, Box):
        return space.low, space.high
    if isinstance(space, Discrete):
        return space.start, space.start + space.n - 1
    if isinstance(space, MultiDiscrete):
        return space.start, space.start + space.nvec - 1
    return np.zeros(space.shape, np.int8), np.ones(space.shape, np.int8)  # MultiBinary
