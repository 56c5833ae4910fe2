"""Greedy evaluations during training: from fixed starts, by which models are compared."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from config import Config
from environments.spaces import QValues
from training.greedy_play import GreedyEpisodes

# Every run is judged from the same starts, far from those that evaluate.py uses by default.
EVALUATION_SEED = 1_000_000_000
LOOK = 32  # episodes, at most, of an evaluation before the first multiple of `evaluate_every`


class Player(Protocol):
    """Plays greedily in so many lanes."""

    lanes: int

    def play(self, q_values: QValues, episodes: int, seed: int) -> GreedyEpisodes:
        """See `training.greedy_play.play_greedily`."""

    def close(self) -> None:
        """Close the environments."""


class GreedyEvaluation:
    """Plays greedily from fixed starts, so that models can be compared.

    Most is learned early: before the first multiple of `evaluate_every` there are looks, each twice as late as the one
    before, from few of the starts.

    Args:
        config: the run's settings.
        player: plays greedily, as `GreedyPlayer` does.

    Attributes:
        scores: of the latest evaluation, see `GreedyEpisodes.scores`, and "possible", if known; empty before the first.
        possible: the highest returns that are possible from the fixed starts, float (starts,), where a callback knows
            them and has set them; else None. They are only shown.
        count: evaluations so far.
        is_look: whether the latest one was a look, which chooses no model.
        worst_seed: of the episode with the lowest return in the latest evaluation, among the first of each lane, as
            only these have a seed of their own.
    """

    def __init__(self, config: Config, player: Player) -> None:
        self._config, self._player = config, player
        self.scores: dict[str, float] = {}
        self.possible: np.ndarray | None = None
        self.count, self.worst_seed, self.is_look = 0, EVALUATION_SEED, False
        self._evaluated_at = 0

    def is_due(self, now: int) -> bool:
        """Whether a multiple of `evaluate_every` was passed since the latest evaluation, or it is time for a look.

        Args:
            now: episodes so far, or steps if these limit the run.
        """
        every, before = self._config.evaluate_every, self._evaluated_at
        return now // every > before // every or 2 * before <= now < every

    def is_up_to_date(self, now: int) -> bool:
        """Whether the latest evaluation was at this time, and no look."""
        return self._evaluated_at == now and not self.is_look

    def evaluate(self, q_values: QValues, now: int, is_last: bool = False) -> GreedyEpisodes:
        """Evaluate a model.

        Args:
            q_values: by which it acts.
            now: as `is_due`.
            is_last: whether the run is over, so that this is no look.

        Raises:
            InterruptedPlay: the player was told to stop.
        """
        self.is_look = now < self._config.evaluate_every and not is_last
        most = self._config.evaluate_episodes
        episodes = self.play(q_values, min(most, LOOK) if self.is_look else most)
        self._evaluated_at = now
        self.count += 1
        self.worst_seed = EVALUATION_SEED + int(episodes.returns[: self._player.lanes].argmin())
        self.scores = episodes.scores()
        if self.possible is not None:
            self.scores["possible"] = float(self.possible[: len(episodes.returns)].mean())
        return episodes

    def play(self, q_values: QValues, count: int, first: int = 0) -> GreedyEpisodes:
        """Play this many episodes, with seeds that begin at start `first`: the number of episodes played before gives
        fresh ones.

        Raises:
            InterruptedPlay: the player was told to stop.
        """
        return self._player.play(q_values, count, EVALUATION_SEED + first)

    def get_state(self) -> dict[str, Any]:
        """Save everything that later evaluations depend on."""
        return {
            "scores": self.scores,
            "evaluated_at": self._evaluated_at,
            "count": self.count,
            "is_look": self.is_look,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` saved."""
        self.scores = dict(state["scores"])
        self._evaluated_at, self.count = int(state["evaluated_at"]), int(state["count"])
        self.is_look = bool(state["is_look"])

    def close(self) -> None:
        """Close the player's environments."""
        self._player.close()
