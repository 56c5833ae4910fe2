"""Greedy play: many episodes at once, what they come to, and which model is the best while an agent trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import optree
from gymnasium.vector import VectorEnv

from config import Config
from environments.actions import action_masks, best_actions
from environments.lanes import make_vector_env
from environments.make import has_vector_version, is_emulated
from environments.spaces import QValues

# Training judges every run from the same starts, far from those that evaluate.py takes by default.
EVALUATION_SEED = 1_000_000_000


class BrokenOffError(Exception):
    """Greedy play was broken off before its end."""


@dataclass(frozen=True)
class Episodes:
    """Finished episodes, in the order in which they were to be played.

    Attributes:
        returns: float64 (n,), undiscounted.
        lengths: int64 (n,), steps.
        successes: bool (n,), `info["is_success"]` at the end, or None where the environment does not say.
        timed_out: bool (n,), truncated without having terminated.
        overestimation: float64 (n,), max_a Q(first observation, a) less the discounted return that followed, of rewards
            as they were learned from (van Hasselt et al. 2016, fig. 3, take the means of both). An episode that times
            out ends the sum but not what Q foresees.
    """

    returns: np.ndarray
    lengths: np.ndarray
    successes: np.ndarray | None
    timed_out: np.ndarray
    overestimation: np.ndarray

    def scores(self) -> dict[str, float]:
        """Mean, standard deviation, minimum and maximum of the returns, mean length and overestimation, and shares of
        the outcomes: timed out, and won and lost where the environment says."""
        scores = {
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


def make_evaluation_envs(config: Config, episodes: int, most: int = 32) -> VectorEnv:
    """The lanes to play these many episodes in, `most` of them at most; but Blob's are cheap enough to give every
    episode a lane, and so a seed, of its own, and of emulators more than 32 would be too heavy."""
    if has_vector_version(config):
        most = 10_000
    return make_vector_env(config, min(episodes, most, 32 if is_emulated(config) else most))


def play_greedily(
    envs: VectorEnv,
    q_values: QValues,
    episodes: int,
    seed: int,
    discount: float,
    reward_clip: float,
    should_stop: Callable[[], object] = bool,
) -> Episodes:
    """Play episodes with the action of the highest Q-value, all lanes at once.

    Every lane plays its fixed share of the episodes, since a count of the first to finish would favour short ones.

    Args:
        envs: a vector environment with SAME_STEP autoreset and discrete actions.
        q_values: from observations (batch, ...) to (batch, n_actions).
        episodes: how many.
        seed: lane i is seeded with seed + i.
        discount, reward_clip: as Q was learned (a clip of 0 does not clip); they matter to the overestimation alone.
        should_stop: asked at every step.

    Raises:
        BrokenOffError: it should stop.
    """
    lanes = envs.num_envs
    shares = np.full(lanes, episodes // lanes) + (np.arange(lanes) < episodes % lanes)
    space: Any = envs.single_action_space
    n_actions, first_action = int(space.n), int(space.start)
    played, returns, lengths = np.zeros(lanes, int), np.zeros(lanes), np.zeros(lanes, int)
    overestimation = np.zeros(lanes)
    records: list[tuple] = []
    observations, infos = envs.reset(seed=seed)
    while len(active := np.flatnonzero(played < shares)):
        if should_stop():
            raise BrokenOffError
        masks = action_masks(infos, (lanes, n_actions))
        actions = masks.argmax(axis=1)  # lanes that are through go on with anything legal
        values = q_values(optree.tree_map(lambda array: array[active], observations))
        actions[active] = best_actions(values, masks[active])
        overestimation[active] += np.where(lengths[active] == 0, values.max(axis=1), 0)
        observations, rewards, terminated, truncated, infos = envs.step(actions + first_action)
        returns += rewards
        learned_from = np.clip(rewards, -reward_clip, reward_clip) if reward_clip else rewards
        overestimation -= discount**lengths * learned_from
        lengths += 1
        ended = terminated | truncated
        success = infos.get("final_info", {}).get("is_success")
        for lane in active[ended[active]]:
            won = None if success is None else bool(success[lane])
            outcome = returns[lane], lengths[lane], won, not terminated[lane], overestimation[lane]
            records.append((played[lane], lane, *outcome))
        played += ended
        returns[ended] = lengths[ended] = overestimation[ended] = 0
    in_order = [record[2:] for record in sorted(records, key=lambda record: record[:2])]
    episode_returns, episode_lengths, wins, timed_out, gaps = map(np.array, zip(*in_order, strict=True))
    return Episodes(episode_returns, episode_lengths, None if None in wins else wins, timed_out, gaps)
