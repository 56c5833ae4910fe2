"""Where environments stand in their episodes, to go on from there: by their state, or by playing up to it again."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import optree
from gymnasium.vector import SyncVectorEnv, VectorEnv
from gymnasium.wrappers import FrameStackObservation, TimeLimit

from blob_env import BlobVectorEnv
from environments.actions import action_masks
from environments.spaces import Observations


class Recorder(gym.Wrapper):
    """Keeps what an environment's current episode is made of: the state of its generator before the reset, and the
    actions since. An Atari game keeps its whole state in its emulator instead."""

    _generator: dict[str, Any] | None = None
    _seed: int | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """As the environment's."""
        self._seed = seed
        self._generator = dict(self.np_random.bit_generator.state) if seed is None else None
        self._actions: list[int] = []
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """As the environment's."""
        self._actions.append(int(action))
        return self.env.step(action)

    def get_state(self) -> dict[str, Any]:
        """Where the episode stands, for `set_state` of the same environment made anew."""
        state = {
            "seed": self._seed,
            "before": self._generator,
            "actions": np.array(self._actions, np.int64),
            "now": self.np_random.bit_generator.state,
        }
        return {**state, "atari": _atari_state(self)} if _is_atari(self) else state

    def set_state(self, state: dict[str, Any]) -> Any:
        """Go back to where `get_state` was called. Returns the observation there.

        Raises:
            Exception: the environment does not do it, whatever it raises then.
        """
        if state["before"] is not None:
            self.np_random.bit_generator.state = state["before"]
        observation, _ = self.reset(seed=state["seed"])
        if "atari" in state:
            self._actions = state["actions"].tolist()
            return _set_atari_state(self, state["atari"])
        for action in state["actions"].tolist():
            observation, *_ = self.step(action)
        if self.np_random.bit_generator.state != state["now"]:
            raise RuntimeError("it does not draw the same numbers again")
        return observation


def get_lanes_state(envs: VectorEnv) -> Any:
    """Where all lanes stand, for `set_lanes_state`."""
    if isinstance(envs, BlobVectorEnv):
        return envs.get_state()
    assert isinstance(envs, SyncVectorEnv)
    return [env.get_state() for env in envs.envs]  # type: ignore[attr-defined]


def set_lanes_state(envs: VectorEnv, state: Any, observations: Observations, masks: np.ndarray) -> dict[int, str]:
    """Go on where the lanes stood. A lane whose observation is not the same again starts a new episode.

    Args:
        envs: made anew.
        state: from `get_lanes_state`.
        observations: (lanes, ...), those there; of lanes that start anew the new ones are written into it.
        masks: bool (lanes, n_actions), likewise.

    Returns:
        The lanes that started anew, with the reason.
    """
    if isinstance(envs, BlobVectorEnv):
        envs.set_state(state)
        return {}
    assert isinstance(envs, SyncVectorEnv)
    anew: dict[int, str] = {}
    for lane, (env, lane_state) in enumerate(zip(envs.envs, state, strict=True)):
        expected = optree.tree_map(lambda array, lane=lane: array[lane], observations)
        try:
            found = env.set_state(lane_state)  # type: ignore[attr-defined]
            pairs = zip(optree.tree_leaves(found), optree.tree_leaves(expected), strict=True)
            if all(np.array_equal(np.asarray(a, b.dtype), b) for a, b in pairs):
                continue
            anew[lane] = "the same actions led elsewhere"
        except Exception as error:  # somebody else's code may raise anything
            anew[lane] = f"{type(error).__name__}: {error}"
        observation, info = env.reset()
        optree.tree_map_(lambda arrays, new, lane=lane: arrays.__setitem__(lane, new), observations, observation)
        batched = {key: np.asarray(value)[None] for key, value in info.items() if key == "action_mask"}
        masks[lane] = action_masks(batched, (1, masks.shape[1]))[0]
    return anew


def _is_atari(env: gym.Env) -> bool:
    return type(env.unwrapped).__module__.startswith("ale_py.")


def _atari_state(env: gym.Env) -> dict[str, Any]:
    """The emulator's state with its generator, and what the wrappers of `make_env` keep beside it."""
    serialized = env.unwrapped.ale.cloneState(include_rng=True).serialize()  # type: ignore[attr-defined]
    state: dict[str, Any] = {"emulator": np.frombuffer(serialized, np.uint8)}
    while isinstance(env, gym.Wrapper):
        if isinstance(env, TimeLimit):
            state["steps"] = env._elapsed_steps
        if isinstance(env, FrameStackObservation):
            state["frames"] = np.array(env.obs_queue)
        env = env.env
    return state


def _set_atari_state(env: gym.Env, state: dict[str, Any]) -> Any:
    """The other way round. Returns the observation: the newest frames."""
    from ale_py import ALEState

    env.unwrapped.ale.restoreState(ALEState(state["emulator"].tobytes()))  # type: ignore[attr-defined]
    while isinstance(env, gym.Wrapper):
        if isinstance(env, TimeLimit):
            env._elapsed_steps = state["steps"]
        if isinstance(env, FrameStackObservation):
            env.obs_queue.extend(state["frames"])
        env = env.env
    return state["frames"]
