"""Windows of `aggregate_every` episodes or more, and the numbers of each."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from config import Config
from environments.lanes import Step
from environments.spaces import check_like
from losses import UpdateStats

MOST = 500  # windows of a run that --steps limits: what a screen can show


class Episode(NamedTuple):
    """An episode that has ended: its return, its length in steps, and the lowest epsilon of its lane."""

    total: float
    length: int
    epsilon: float


class Window(NamedTuple):
    """A window that has ended.

    Attributes:
        number: counted from 0.
        last_episode: number of its last episode, counted from 1.
        episodes: all of it.
        updates: done since the window before.
    """

    number: int
    last_episode: int
    episodes: Sequence[Episode]
    updates: Sequence[UpdateStats]

    def logs(self, epsilon: float = 0.0) -> dict[str, float]:
        """Aggregate the window. Loss and Q-values are left out if it has no update.

        Returns and lengths are those of the episodes in the lanes that explore least: of lanes that act at random one
        would learn nothing about the agent.

        Args:
            epsilon: that of those lanes now.
        """
        totals, all_lengths, epsilons = np.array(self.episodes).T
        shown = epsilons <= max(epsilon, epsilons.min())  # at the start epsilon is as high in all lanes
        returns, lengths = totals[shown], all_lengths[shown]
        logs = {
            "reward_avg": float(returns.mean()),
            "reward_min": float(returns.min()),
            "reward_max": float(returns.max()),
            "episode_length": float(lengths.mean()),
        }
        if self.updates:
            losses, q_means, q_maxima = np.array(self.updates).T
            logs |= {
                "loss": float(losses.mean()),
                "q_mean": float(q_means.mean()),
                "q_max": float(q_maxima.max()),
            }
        return logs


class EpisodeWindows:
    """Counts episodes and cuts them into windows.

    A window has `aggregate_every` episodes; more where `steps` limits the run and episodes are so short that there
    would be over `MOST` windows, but not more than there are between two evaluations.

    Args:
        config: `aggregate_every`, `steps`, `evaluate_every`, and `episodes`, beyond which none are counted.
        lanes: number of environments.

    Attributes:
        index: of the open window.
    """

    def __init__(self, config: Config, lanes: int) -> None:
        self._size, self._most = config.aggregate_every, config.episodes
        self._least_steps = min((config.steps or 0) // MOST, config.evaluate_every)
        self._epsilons = config.lowest_epsilons()
        self._returns, self._lengths = np.zeros(lanes), np.zeros(lanes, int)  # of the episodes being played
        self._ended: list[Episode] = []  # in the open window
        self._updates: list[UpdateStats] = []
        self._before, self._open_steps = 0, 0  # episodes of the windows that have ended, steps of those in the open one
        self.index = 0

    @property
    def episodes(self) -> int:
        """Episodes that have ended so far."""
        return self._before + len(self._ended)

    def add(self, step: Step, updates: Sequence[UpdateStats]) -> int:
        """Count a step of every lane and the updates after it. Returns how many episodes ended with it."""
        self._returns += step.rewards
        self._lengths += 1
        self._updates += updates
        lanes = np.flatnonzero(step.ended)[: self._most - self.episodes]
        numbers = (self._returns[lanes].tolist(), self._lengths[lanes].tolist(), self._epsilons[lanes].tolist())
        self._ended += map(Episode, *numbers)
        self._open_steps += int(self._lengths[lanes].sum())
        self._returns[lanes] = self._lengths[lanes] = 0
        return len(lanes)

    def cut(self) -> list[Window]:
        """End the windows that are full; several if many episodes ended in one step, which then share their updates."""
        windows = []
        updates = self._updates
        while size := self._full_size():
            windows.append(self._end(size, updates))
        return windows

    def _full_size(self) -> int:
        """Return with how many episodes the open window is full; 0 if it is not yet."""
        if len(self._ended) < self._size or self._open_steps < self._least_steps:
            return 0
        steps = itertools.accumulate(episode.length for episode in self._ended)
        return next(n for n, sum_ in enumerate(steps, 1) if n >= self._size and sum_ >= self._least_steps)

    def cut_rest(self) -> Window | None:
        """End the open window, short as it may be; None if no episode ended in it."""
        return self._end(len(self._ended), self._updates) if self._ended else None

    def _end(self, size: int, updates: Sequence[UpdateStats]) -> Window:
        episodes, self._ended, self._updates = self._ended[:size], self._ended[size:], []
        self._before += size
        self._open_steps -= sum(episode.length for episode in episodes)
        window = Window(self.index, self._before, episodes, updates)
        self.index += 1
        return window

    def restart_lane(self, lane: int) -> None:
        """Forget the episode that a lane was playing."""
        self._returns[lane] = self._lengths[lane] = 0

    def get_state(self) -> dict[str, Any]:
        """Save all counts."""
        return {
            "returns": self._returns,
            "lengths": self._lengths,
            "ended": [list(episode) for episode in self._ended],
            "updates": np.array(self._updates, float).reshape(-1, len(UpdateStats._fields)),
            "before": self._before,
            "index": self.index,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` saved.

        Raises:
            ValueError: it is of another number of lanes.
        """
        check_like("returns", state["returns"], self._returns)
        check_like("lengths", state["lengths"], self._lengths)
        self._returns, self._lengths = state["returns"], state["lengths"]
        self._ended = [Episode(float(total), int(length), float(epsilon)) for total, length, epsilon in state["ended"]]
        self._open_steps = sum(episode.length for episode in self._ended)
        self._updates = [UpdateStats(*update) for update in state["updates"].tolist()]
        self._before, self.index = int(state["before"]), int(state["index"])
