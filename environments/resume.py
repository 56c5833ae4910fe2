"""Put environments back where they stood: by their state, or by playing their episode again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import numpy as np
import optree
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv, VectorEnv
from gymnasium.wrappers import FrameStackObservation, TimeLimit

from environments.actions import action_mask
from environments.known import symmetries_of
from environments.spaces import Observations, write_lane
from environments.symmetry import Symmetry


class ResumableEnv(gym.Wrapper):
    """Records what the current episode can be played again from: the generator's state before the reset, and the
    actions since. Atari games save their emulator's state instead.

    Args:
        env: to record.
        lane: its number among those beside it.
    """

    def __init__(self, env: gym.Env, lane: int = 0) -> None:
        super().__init__(env)
        self._lane = lane

    moves = 0  # all steps so far, those that were played again included
    _generator: dict[str, Any] | None = None
    _seed: int | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Reset the environment and start recording."""
        self._seed = seed
        self._generator = _random_state(self) if seed is None else None
        self._actions: list[int] = []
        return self.env.reset(seed=seed, options=options)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Step the environment and record the action."""
        self._actions.append(int(action))
        self.moves += 1
        return self.env.step(action)

    def get_state(self) -> dict[str, Any]:
        """Save where the episode stands, for `set_state` of a new instance of the same environment."""
        state = {
            "seed": self._seed,
            "before": self._generator,
            "actions": np.array(self._actions, np.int64),
            "now": _random_state(self),
        }
        return {**state, "atari": _atari_state(self)} if _is_atari(self) else state

    def set_state(self, state: dict[str, Any]) -> Any:
        """Go back to where `get_state` was called. Returns the observation there.

        Raises:
            Exception: user code may raise anything while the episode is played again.
        """
        if state["seed"] is None and state["before"] is None:
            raise RuntimeError("its random numbers are not those of Gymnasium's np_random")
        if state["before"] is not None:
            self.np_random.bit_generator.state = state["before"]
        observation, _ = self.reset(seed=state["seed"])
        if "atari" in state:
            self._actions = state["actions"].tolist()
            return _set_atari_state(self, state["atari"])
        for action in state["actions"].tolist():
            observation, *_ = self.step(action)
        if _random_state(self) != state["now"]:
            raise RuntimeError("it does not draw the same numbers again")
        return observation

    def go_on(self, states: Sequence[dict[str, Any]], observations: Observations) -> tuple[str, Any, dict[str, Any]]:
        """Go on where this lane stood, or start a new episode if that is not possible.

        Args:
            states: from `get_state`, of all lanes.
            observations: (lanes, ...), those at the time.

        Returns:
            "", or why an episode was started, and then its first observation and info.
        """
        expected = optree.tree_map(lambda array: array[self._lane], observations)
        if reason := self._why_not_resumed(states[self._lane], expected):
            return reason, *self.reset()
        return "", None, {}

    def _why_not_resumed(self, state: dict[str, Any], expected: Observations) -> str:
        """Put the environment back. Returns "" if it shows the expected observation, else the reason."""
        try:
            found = self.set_state(state)
            pairs = zip(optree.tree_leaves(found), optree.tree_leaves(expected), strict=True)
            if all(np.array_equal(np.asarray(a, b.dtype), b) for a, b in pairs):
                return ""
            return "the same actions led elsewhere"
        except Exception as error:  # user code may raise anything
            return f"{type(error).__name__}: {error}"

    def symmetric_views(self) -> Sequence[Symmetry]:
        """See `environments.known.symmetries_of`."""
        return symmetries_of(self)


def _random_state(env: gym.Env) -> dict[str, Any] | None:
    """The state of an environment's generator; None if it has one of another kind than Gymnasium's."""
    generator = env.np_random
    return dict(generator.bit_generator.state) if isinstance(generator, np.random.Generator) else None


def get_lanes_state(envs: VectorEnv) -> Any:
    """Save where all lanes stand, for `set_lanes_state`."""
    if isinstance(envs, SyncVectorEnv | AsyncVectorEnv):
        return list(envs.call("get_state"))
    return envs.get_state()  # type: ignore[attr-defined]


def set_lanes_state(envs: VectorEnv, state: Any, observations: Observations, masks: np.ndarray) -> dict[int, str]:
    """Go on where the lanes stood. A lane that does not come to the same observation starts a new episode.

    Args:
        envs: new instances of the same environments, reset once.
        state: from `get_lanes_state`.
        observations: (lanes, ...), those at the time; a restarted lane's is overwritten by its new one.
        masks: bool (lanes, n_actions), likewise.

    Returns:
        The lanes that were restarted, each with the reason.
    """
    if not isinstance(envs, SyncVectorEnv | AsyncVectorEnv):
        envs.set_state(state)  # type: ignore[attr-defined]
        return {}
    restarted: dict[int, str] = {}
    for lane, (reason, observation, info) in enumerate(envs.call("go_on", state, observations)):
        if reason:
            restarted[lane] = reason
            write_lane(observations, lane, observation)
            masks[lane] = action_mask(info, masks.shape[1])
    return restarted


def _is_atari(env: gym.Env) -> bool:
    return type(env.unwrapped).__module__.startswith("ale_py.")


def _atari_state(env: gym.Env) -> dict[str, Any]:
    """The emulator's state with its generator, and the wrappers' counters and frames."""
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
    """Restore what `_atari_state` saved. Returns the observation: the stacked frames."""
    from ale_py import ALEState

    env.unwrapped.ale.restoreState(ALEState(state["emulator"].tobytes()))  # type: ignore[attr-defined]
    while isinstance(env, gym.Wrapper):
        if isinstance(env, TimeLimit):
            env._elapsed_steps = state["steps"]
        if isinstance(env, FrameStackObservation):
            env.obs_queue.extend(state["frames"])
        env = env.env
    return state["frames"]
