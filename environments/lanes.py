"""Many environments, stepped side by side: one call acts in all lanes."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import gymnasium as gym
import numpy as np
import optree
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv, VectorEnv

from config import Config
from console.errors import InputError
from console.signals import leave_signals_to_parent
from environments.actions import action_masks, successor_masks
from environments.known import symmetries_of
from environments.make import FORK, has_vector_version, make_env
from environments.names import find_spec
from environments.resume import ResumableEnv, get_lanes_state, set_lanes_state
from environments.spaces import Observations
from environments.symmetry import Symmetry

RESETS = AutoresetMode.SAME_STEP  # so that every step of every lane is a transition


class Step(NamedTuple):
    """One step of every lane, with both readings of an episode's end.

    A lane whose episode ended is reset in the same step. So there are two next observations: the one that the action
    led to, from which to learn, and the one to act on next, which may be a new episode's first.

    Attributes:
        rewards: float64 (lanes,).
        terminated: bool (lanes,): the episode ended by the rules, so nothing is earned afterwards.
        truncated: bool (lanes,): the episode was cut short, by a time limit say; it would have gone on.
        successors: (lanes, ...), the observations that the actions led to, an episode's last one included.
        successor_masks: bool (lanes, n_actions), the legal actions there; True if all are.
        next_observations: (lanes, ...), to act on next.
        next_masks: bool (lanes, n_actions), the legal actions there.
        successes: bool (lanes,), `info["is_success"]` where an episode ended; None if no environment says.
    """

    rewards: Any
    terminated: Any
    truncated: Any
    successors: Observations
    successor_masks: Any = True
    next_observations: Observations = None
    next_masks: Any = None
    successes: np.ndarray | None = None

    @property
    def ended(self) -> np.ndarray:
        """bool (lanes,): terminated or truncated."""
        return np.logical_or(self.terminated, self.truncated)


class Lanes:
    """Environments side by side, whose actions count from 0.

    Args:
        envs: a vector environment with SAME_STEP autoreset, so that every step of every lane is a transition.

    Attributes:
        count: number of lanes.
        observation_space, action_space: of one lane.
        n_actions: number of actions.
    """

    def __init__(self, envs: VectorEnv) -> None:
        self._envs = envs
        self.count = envs.num_envs
        self.observation_space: gym.Space = envs.single_observation_space
        action_space: Any = envs.single_action_space
        self.action_space = action_space
        self.n_actions, self._first_action = int(action_space.n), int(action_space.start)

    @property
    def symmetries(self) -> Sequence[Symmetry]:
        """See `environments.known.symmetries_of`; made when asked for, since they take memory on large boards."""
        return symmetries_of(self._envs)

    def reset(self, seed: int) -> tuple[Observations, np.ndarray]:
        """Start an episode in every lane, lane i seeded with seed + i. Returns observations and masks to act on."""
        observations, infos = self._envs.reset(seed=seed)
        return observations, action_masks(infos, (self.count, self.n_actions))

    def step(self, actions: np.ndarray) -> Step:
        """Take one action in every lane, int (lanes,)."""
        observations, rewards, terminated, truncated, infos = self._step(actions + self._first_action)
        masks = action_masks(infos, (self.count, self.n_actions))
        return Step(
            rewards,
            terminated,
            truncated,
            _successors(observations, infos),
            successor_masks(masks, infos),
            observations,
            masks,
            infos.get("final_info", {}).get("is_success"),
        )

    def _step(self, actions: np.ndarray) -> Any:
        if not isinstance(self._envs, AsyncVectorEnv):
            return self._envs.step(actions)
        level, gym.logger.min_level = gym.logger.min_level, gym.logger.ERROR + 1  # errors are raised here as well
        try:
            return self._envs.step(actions)
        except (EOFError, ConnectionError) as error:
            self._envs.close(terminate=True)  # a plain close would wait for the dead one
            raise InputError("the process of a lane has died: --resume goes on from the newest checkpoint") from error
        finally:
            gym.logger.min_level = level

    @property
    def moves(self) -> int:
        """Steps so far of resumable lanes in this process, those that were played again included."""
        return sum(getattr(env, "moves", 0) for env in getattr(self._envs, "envs", ()))

    def get_state(self) -> Any:
        """Save where all lanes stand in their episodes; needs `resumable` lanes."""
        return get_lanes_state(self._envs)

    def set_state(self, state: Any, observations: Observations, masks: np.ndarray) -> dict[int, str]:
        """Go on where the lanes stood; see `environments.resume.set_lanes_state`."""
        return set_lanes_state(self._envs, state, observations, masks)

    def close(self) -> None:
        """Close all environments."""
        self._envs.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def make_lanes(config: Config, count: int, resumable: bool = False) -> Lanes:
    """Make `count` environments.

    Args:
        config: names and options of the environment.
        count: number of lanes.
        resumable: whether `Lanes.get_state` is needed.

    Raises:
        InputError: as `make_env`.
    """
    if has_vector_version(config):
        make_env(config).close()  # checks the options
        limit: dict[str, Any] = {"max_episode_steps": config.max_episode_steps} if config.max_episode_steps else {}
        return Lanes(gym.make_vec(find_spec(config.env)[0], num_envs=count, **limit, **config.env_args))
    makers = [functools.partial(_make_lane, config, lane, resumable) for lane in range(count)]
    if config.processes:
        # Not as daemons: a lane may have a process of its own.
        return Lanes(AsyncVectorEnv(makers, autoreset_mode=RESETS, context=FORK, daemon=False))
    return Lanes(SyncVectorEnv(makers, autoreset_mode=RESETS))


def _make_lane(config: Config, lane: int, resumable: bool) -> gym.Env:
    leave_signals_to_parent()
    env = make_env(config)
    return ResumableEnv(env, lane) if resumable else env


def _successors(observations: Observations, infos: dict[str, Any]) -> Observations:
    """The observations (lanes, ...) that a vector step led to: where an episode ended, its last one from the infos."""
    if "final_obs" not in infos:
        return observations
    successors, ended = optree.tree_map(np.copy, observations), np.flatnonzero(infos["_final_obs"])

    def write(arrays: np.ndarray, *last: Any) -> None:
        arrays[ended] = last

    optree.tree_map_(write, successors, *infos["final_obs"][ended])
    return successors
