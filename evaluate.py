"""Score a saved model: greedy returns over many seeded episodes. `python evaluate.py models/X.model`"""

from __future__ import annotations

from pathlib import Path

from console.arguments import add_trust_arguments, at_least, make_parser, trusted_settings
from console.errors import exit_on_bad_input
from console.signals import end_quietly
from console.tensorflow_import import import_tensorflow
from environments.make import has_vector_version
from storage.loading import load_q_values, make_saved_env
from storage.model_file import read_saved_agent
from training.greedy_play import Episodes, make_evaluation_envs, play_greedily

EPISODES = 100  # by default, of environments other than Blob


def main() -> None:
    """The command line."""
    end_quietly()
    parser = make_parser("Play a saved model greedily over many seeded episodes and print its scores.")
    parser.add_argument("model", type=Path, help="a .model file")
    add_trust_arguments(parser)
    starts = parser.add_mutually_exclusive_group()
    starts.add_argument(
        "--exact", action="store_true", help="judge a Blob model over all starts instead, against the optimum"
    )
    starts.add_argument("--episodes", type=at_least(1), help="episodes (default: 10,000 of Blob, 100 of others)")
    parser.add_argument("--seed", type=at_least(0), default=1, help="seed of the first episode (default: %(default)s)")
    arguments = parser.parse_args()
    with exit_on_bad_input():
        saved = read_saved_agent(arguments.model, trusted_settings(arguments))
        env = make_saved_env(arguments.model, saved)
        import_tensorflow()
        if arguments.exact:
            from blob.judge import judge_model

            env.close()
            print(judge_model(arguments.model, trusted_settings(arguments)).table())
            return
        q_values = load_q_values(arguments.model, env, saved)
        config = saved.config
        count = arguments.episodes or (10_000 if has_vector_version(config) else EPISODES)
        envs = make_evaluation_envs(config, count, most=EPISODES)
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
