"""Score a saved model: greedy returns over many seeded episodes. `python evaluate.py models/X.model`"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optree
from gymnasium.vector import VectorEnv

from config import Config, add_repeated, repeated_settings
from environments import has_own_lanes, make_vector_env
from masks import action_masks, best_actions
from model_file import load_q_values, make_saved_env, read_saved_agent
from startup import at_least, end_quietly, exit_on_bad_input, import_tensorflow, make_parser
from symmetry import QValues

# Training judges every run from the same starts, far from those that this script takes by default.
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


def make_evaluation_envs(config: Config, episodes: int) -> VectorEnv:
    """The lanes to play these many episodes in: Blob's are cheap enough to give every episode a lane of its own."""
    lanes = min(episodes, 10_000 if has_own_lanes(config) else 32)
    return make_vector_env(config, lanes)


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


def main() -> None:
    """The command line."""
    end_quietly()
    parser = make_parser("Play a saved model greedily over many seeded episodes and print its scores.")
    parser.add_argument("model", type=Path, help="a .model file")
    add_repeated(parser)
    parser.add_argument(
        "--exact", action="store_true", help="judge a Blob model over all starts instead, against the optimum"
    )
    parser.add_argument("--episodes", type=at_least(1), help="episodes (default: 10,000 of Blob, 100 of others)")
    parser.add_argument("--seed", type=at_least(0), default=1, help="seed of the first episode (default: %(default)s)")
    arguments = parser.parse_args()
    with exit_on_bad_input():
        saved = read_saved_agent(arguments.model, repeated_settings(arguments))
        env = make_saved_env(arguments.model, saved)
        import_tensorflow()
        if arguments.exact:
            from optimum import judge_model

            env.close()
            print(judge_model(arguments.model, repeated_settings(arguments)).table())
            return
        q_values = load_q_values(arguments.model, env, saved)
        config = saved.config
        count = arguments.episodes or (10_000 if has_own_lanes(config) else 100)
        envs = make_evaluation_envs(config, count)
    episodes = play_greedily(envs, q_values, count, arguments.seed, config.discount, config.reward_clip)
    env.close()
    envs.close()
    print_scores(episodes)


def print_scores(episodes: Episodes) -> None:
    """Print the scores of greedy play as a short table."""
    scores = episodes.scores()
    print(f"{len(episodes.returns):,} greedy episodes")
    print(f"return      {scores['avg']:.3f} +- {scores['std']:.3f} (standard deviation), ", end="")
    print(f"min {scores['min']:g}, max {scores['max']:g}")
    print(f"length      {scores['length']:.2f} steps")
    if "won" in scores:
        print(f"won         {scores['won']:.2%}")
        print(f"lost        {scores['lost']:.2%}")
    print(f"timed out   {scores['timed_out']:.2%}")
    print(f"Q exceeds   {scores['overestimation']:+.3f} (max Q at the start less the discounted return that followed)")


if __name__ == "__main__":
    main()
