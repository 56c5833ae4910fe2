"""Score a saved model: greedy returns over many seeded episodes. `python evaluate.py RUN`"""

from __future__ import annotations

import console.requirements  # noqa: F401 (first of all: it says what is missing)

# isort: split
import argparse
from contextlib import closing

from blob.solver import is_solvable, start_means
from blob_env import BlobVectorEnv
from config import Config
from console.arguments import add_model_argument, at_least, make_parser, trusted_settings
from console.errors import exit_on_bad_input
from console.messages import say
from console.signals import end_quietly
from environments.make import has_vector_version
from storage.loading import load_q_values, make_saved_env
from storage.model_file import SavedModel, read_model
from storage.runs import find_model
from training.greedy_play import MOST_VECTOR_LANES, GreedyEpisodes, make_evaluation_lanes, play_greedily

EPISODES = 100  # by default, of environments other than Blob


def parse_arguments() -> argparse.Namespace:
    """Read and check the command line."""
    parser = make_parser("Play a saved model greedily over many seeded episodes and print its scores.")
    add_model_argument(parser)
    starts = parser.add_mutually_exclusive_group()
    starts.add_argument(
        "--exact", action="store_true", help="judge a Blob model over all starts instead, against the optimum"
    )
    starts.add_argument("--episodes", type=at_least(1), help="episodes (default: 10,000 of Blob, 100 of others)")
    parser.add_argument("--seed", type=at_least(0), default=1, help="seed of the first episode (default: %(default)s)")
    return parser.parse_args()


def main() -> None:
    """Run the command line."""
    end_quietly()
    arguments = parse_arguments()
    with exit_on_bad_input():
        saved = read_model(find_model(arguments.model), trusted_settings(arguments))
        if arguments.exact:
            from blob.judge import judge_model

            if is_solvable(saved.info.config):
                say("judging it from all starts, some seconds")
            print(judge_model(saved).table())
        else:
            episodes = play(saved, arguments.episodes, arguments.seed)
            print(scores_table(episodes, possible(saved.info.config, len(episodes.returns), arguments.seed)))


def play(saved: SavedModel, count: int | None, seed: int) -> GreedyEpisodes:
    """Play a saved model greedily.

    Args:
        saved: the model.
        count: episodes, by default 10,000 of Blob and 100 of other environments.
        seed: of the first episode.

    Raises:
        InputError: its environment cannot be made, or its weights do not fit.
    """
    config = saved.info.config
    with closing(make_saved_env(saved)) as env:
        q_values = load_q_values(saved, env)
    say(f"playing with {saved.path}")
    count = count or (10_000 if has_vector_version(config) else EPISODES)
    with closing(make_evaluation_lanes(config, count, most=EPISODES)) as envs:
        return play_greedily(envs, q_values, count, seed, config)


def possible(config: Config, count: int, seed: int) -> float | None:
    """Return the highest mean return that is possible from the starts of `play`; None where it is not known."""
    if not is_solvable(config) or count > MOST_VECTOR_LANES:
        return None
    with closing(BlobVectorEnv(count, **config.env_args)) as envs:
        envs.reset(seed=seed)
        return start_means(envs.rules, envs.positions)[1]


def scores_table(episodes: GreedyEpisodes, possible: float | None = None) -> str:
    """Return the scores of greedy play as a short table, with the highest mean that is possible, if known."""
    scores, excess = episodes.scores(), "max Q at the start less the discounted return that followed"
    lines = [
        f"{len(episodes.returns):,} greedy episodes",
        f"return      {scores['avg']:.3f} +- {scores['std']:.3f} (standard deviation), "
        f"min {scores['min']:g}, max {scores['max']:g}",
        f"length      {scores['length']:.2f} steps",
    ]
    if possible is not None:
        lines.insert(2, f"possible    {possible:.3f} from these starts")
    if "won" in scores:
        lines += [f"won         {scores['won']:.2%}", f"lost        {scores['lost']:.2%}"]
    lines += [f"timed out   {scores['timed_out']:.2%}", f"Q exceeds   {scores['overestimation']:+.3f} ({excess})"]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
