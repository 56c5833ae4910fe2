"""Snapshots of a whole run: everything its future depends on, saved every minute and restored to the bit."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import optree

from config import Config
from console.messages import one_line, say
from environments import global_random
from environments.lanes import Lanes
from environments.spaces import Observations, check_like
from storage.checkpoint import Checkpoints, checkpoint_errors_as_input_error, checkpoint_numbers
from training.agents import Agent

EVENTS = "events.out.tfevents.*"


class Part(Protocol):
    """A part of a run that saves and restores its own state."""

    def get_state(self) -> dict[str, Any]:
        """Save it, as dicts and lists of arrays, numbers and texts."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` saved."""


class Snapshots:
    """Saves a run as checkpoints, and restores it from the newest.

    Args:
        config: the run's settings.
        log_dir: the run's folder.
        agent, envs: with the parts, the whole run.
        parts: by the names under which they are saved.

    Attributes:
        seconds: how long each checkpoint took.
    """

    def __init__(self, config: Config, log_dir: Path, agent: Agent, envs: Lanes, parts: Mapping[str, Part]) -> None:
        self._config, self._log_dir, self._agent, self._envs, self._parts = config, log_dir, agent, envs, parts
        self._checkpoints = Checkpoints(log_dir / "checkpoints", agent.memory)
        self._saved_at = time.perf_counter()
        self.seconds: list[float] = []

    def is_due(self) -> bool:
        """Whether `checkpoint_every` seconds have passed since the last one."""
        every = self._config.checkpoint_every
        return every > 0 and time.perf_counter() - self._saved_at >= every

    def save(self, observations: Observations, masks: np.ndarray) -> None:
        """Save the run, unless the agent has diverged. If that fails, say so and leave it to the next time.

        Args:
            observations: (lanes, ...), to act on next.
            masks: bool (lanes, n_actions), the legal actions there.
        """
        if not self._config.checkpoint_every:
            return
        began = time.perf_counter()
        try:
            if self._agent.is_finite():
                self._checkpoints.write(self._agent.steps, self._get_state(observations, masks))
        except OSError as error:
            folder, reason = self._checkpoints.folder, error.strerror or error
            kept = "the last one stays" if checkpoint_numbers(folder) else "there is none yet"
            say(f"warning: no checkpoint could be written in {folder} ({reason}); {kept}")
        self._saved_at = time.perf_counter()
        self.seconds.append(self._saved_at - began)

    def _get_state(self, observations: Observations, masks: np.ndarray) -> dict[str, Any]:
        limits = [self._config.episodes, self._config.steps]
        return {
            "agent": self._agent.get_state(),
            "lanes": self._envs.get_state(),
            "observations": optree.tree_leaves(observations),
            "masks": masks,
            "parts": {name: part.get_state() for name, part in self._parts.items()},
            "stopped_at": limits if self._agent.online.stop_training else None,
            "generators": global_random.get_state(),
            "events": {path.name: path.stat().st_size for path in self._log_dir.glob(EVENTS)},
        }

    def rewind(self) -> dict[str, Any]:
        """Read the newest intact checkpoint, for `restore`, and cut the event files to their size then.

        Returns:
            The state.

        Raises:
            InputError: there is none, or it is of another run.
        """
        with checkpoint_errors_as_input_error(self._log_dir):
            _, state, self._segments = self._checkpoints.read_newest()
            self._cut_events(state["events"])
        return state

    def restore(
        self, state: dict[str, Any], observations: Observations, masks: np.ndarray
    ) -> tuple[Observations, np.ndarray, Sequence[int]]:
        """Go on from a checkpoint.

        Args:
            state: from `rewind`.
            observations, masks: from the environments' reset; they say what shapes are needed.

        Returns:
            observations and masks to act on next, and the lanes that had to start a new episode.

        Raises:
            LookupError, TypeError, ValueError: the state is not of such a run.
        """
        self._agent.set_state(state["agent"], self._segments)
        for name, part in self._parts.items():
            part.set_state(state["parts"][name])
        limits = [self._config.episodes, self._config.steps]
        self._agent.online.stop_training = state["stopped_at"] == limits  # an extended run goes on
        observations, masks, restarted = self._restore_lanes(state, observations, masks)
        global_random.set_state(state["generators"])
        return observations, masks, restarted

    def _restore_lanes(
        self, state: dict[str, Any], observations: Observations, masks: np.ndarray
    ) -> tuple[Observations, np.ndarray, Sequence[int]]:
        leaves, structure = optree.tree_flatten(observations)
        found = [*state["observations"], state["masks"]]
        for array, needed in zip(found, [*leaves, masks], strict=True):
            check_like("observations and masks", array, np.asarray(needed))
        observations, masks = optree.tree_unflatten(structure, state["observations"]), state["masks"]
        restarted = self._envs.set_state(state["lanes"], observations, masks)
        if restarted:
            self._checkpoints.rewrite_newest_step()
        for lane, reason in restarted.items():
            self._agent.truncate_lane(lane)
            say(
                f"warning: lane {lane} starts a new episode, so the run is not the same as without a break: "
                f"{one_line(reason)}"
            )
        return observations, masks, list(restarted)

    def _cut_events(self, sizes: Mapping[str, int]) -> None:
        """Cut the event files: the points after the checkpoint will come again."""
        for path in self._log_dir.glob(EVENTS):
            if path.name not in sizes:
                path.unlink()
            elif path.stat().st_size >= sizes[path.name]:
                os.truncate(path, sizes[path.name])
            else:
                say(f"warning: {path} is shorter than it was: points are missing from the curves")
