"""Greedy play of many episodes at once, and their statistics."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import optree

from config import Config
from console.messages import say_once
from environments.actions import best_actions, legal_values
from environments.lanes import Lanes, make_lanes
from environments.make import LONGEST_EPISODE, has_vector_version, is_emulated
from environments.spaces import QValues

MOST_VECTOR_LANES, MOST_EMULATORS = 10_000, 32


class InterruptedPlay(Exception):
    """Greedy play was stopped before its end."""


@dataclass(frozen=True)
class GreedyEpisodes:
    """Finished episodes of greedy play, in a fixed order.

    Attributes:
        returns: float64 (n,), undiscounted.
        lengths: int64 (n,), steps.
        successes: bool (n,), `info["is_success"]` at the end; None if the environment does not say.
        timed_out: bool (n,), truncated without having terminated.
        overestimation: float64 (n,), max_a Q(first observation, a) minus the discounted return that followed, of
            rewards clipped as in learning (van Hasselt et al. 2016, fig. 3, compare their means). A timeout ends the
            return but not what Q predicts.
    """

    returns: np.ndarray
    lengths: np.ndarray
    successes: np.ndarray | None
    timed_out: np.ndarray
    overestimation: np.ndarray

    def scores(self) -> dict[str, float]:
        """Average the episodes: their number, returns, length, overestimation, and shares of the outcomes."""
        scores = {
            "episodes": len(self.returns),
            "avg": self.returns.mean(),
            "std": self.returns.std(),
            "min": self.returns.min(),
            "max": self.returns.max(),
            "length": self.lengths.mean(),
            "overestimation": self.overestimation.mean(),
            "timed_out": self.timed_out.mean(),
        }
        if self.successes is not None:
            scores["won"] = self.successes.mean()
            scores["lost"] = (~self.successes & ~self.timed_out).mean()
        return {name: float(score) for name, score in scores.items()}


def make_evaluation_lanes(config: Config, episodes: int, most: int = 32) -> Lanes:
    """Make the lanes for this many episodes, at most `most`.

    A vector version gets a lane, and with it a seed, for every episode; emulators are too heavy for many lanes.
    """
    return make_lanes(config, evaluation_lanes(config, episodes, most))


def evaluation_lanes(config: Config, episodes: int, most: int = 32) -> int:
    """Return how many lanes `make_evaluation_lanes` makes."""
    if has_vector_version(config):
        most = MOST_VECTOR_LANES
    elif is_emulated(config):
        most = min(most, MOST_EMULATORS)
    elif config.processes:
        most = min(most, config.lanes)
    return min(episodes, most)


class GreedyPlayer:
    """Plays greedily in lanes of this process, which are kept for the next time.

    Args:
        config: the run's settings.
        should_stop: asked at every step; if it says so, play raises `InterruptedPlay`.

    Attributes:
        lanes: their number.
    """

    def __init__(self, config: Config, should_stop: Callable[[], object]) -> None:
        self._config, self._should_stop = config, should_stop
        self._envs = make_evaluation_lanes(config, config.evaluate_episodes)
        self.lanes = self._envs.count

    def play(self, q_values: QValues, episodes: int, seed: int) -> GreedyEpisodes:
        """See `play_greedily`."""
        return play_greedily(self._envs, q_values, episodes, seed, self._config, self._should_stop)

    def close(self) -> None:
        """Close the environments."""
        self._envs.close()


def play_greedily(
    envs: Lanes,
    q_values: QValues,
    episodes: int,
    seed: int,
    config: Config,
    should_stop: Callable[[], object] = bool,
) -> GreedyEpisodes:
    """Play episodes with the actions of the highest Q-values, in all lanes at once.

    Every lane plays a fixed share of the episodes: the first ones to finish would be the short ones.

    Args:
        envs: the environments.
        q_values: from observations (batch, ...) to (batch, n_actions).
        episodes: how many.
        seed: lane i is seeded with seed + i.
        config: `discount` and `reward_clip` as Q was learned, which matter to the overestimation alone.
        should_stop: asked at every step.

    Raises:
        InterruptedPlay: `should_stop` said so.
    """
    lanes = envs.count
    shares = shares_of(episodes, lanes)
    played, returns, lengths = np.zeros(lanes, int), np.zeros(lanes), np.zeros(lanes, int)
    overestimation = np.zeros(lanes)
    records: list[tuple] = []
    observations, masks = envs.reset(seed)
    while len(active := np.flatnonzero(played < shares)):
        if should_stop():
            raise InterruptedPlay
        actions = masks.argmax(axis=1)  # lanes that are done go on with any legal action
        values = q_values(optree.tree_map(lambda array: array[active], observations))
        actions[active] = best_actions(values, masks[active])
        highest = legal_values(values, masks[active]).max(axis=1)
        overestimation[active] += np.where(lengths[active] == 0, highest, 0)
        step = envs.step(actions)
        returns += step.rewards
        overestimation -= config.discount**lengths * config.clip_rewards(step.rewards)
        lengths += 1
        for lane in active[step.ended[active]]:
            if lengths[lane] >= LONGEST_EPISODE:
                say_once(
                    f"warning: greedy play of {config.env} was cut after {LONGEST_EPISODE:,} steps; "
                    "--max-episode-steps cuts it sooner"
                )
            won = None if step.successes is None else bool(step.successes[lane])
            outcome = returns[lane], lengths[lane], won, not step.terminated[lane], overestimation[lane]
            records.append((played[lane], lane, *outcome))
        played += step.ended
        returns[step.ended] = lengths[step.ended] = overestimation[step.ended] = 0
        observations, masks = step.next_observations, step.next_masks
    in_order = [record[2:] for record in sorted(records, key=lambda record: record[:2])]
    episode_returns, episode_lengths, wins, timed_out, gaps = map(np.array, zip(*in_order, strict=True))
    return GreedyEpisodes(episode_returns, episode_lengths, None if None in wins else wins, timed_out, gaps)


def shares_of(episodes: int, lanes: int) -> np.ndarray:
    """Return how many of the episodes each lane plays, int (lanes,)."""
    return np.full(lanes, episodes // lanes) + (np.arange(lanes) < episodes % lanes)
