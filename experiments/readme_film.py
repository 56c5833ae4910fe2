"""Makes the film at the top of the README: an untrained agent beside the one that comes with the project, from the same
starts: python -m experiments.readme_film"""

from __future__ import annotations

from pathlib import Path

from console.arguments import make_parser
from console.errors import exit_on_bad_input
from console.tensorflow_import import import_tensorflow

SEEDS = (3, 11, 20, 27)  # starts with a way to go
FPS, HOLD = 4.0, 0.75  # steps per second; seconds for which the end of an episode is shown


def main() -> None:
    """Run the command line."""
    parser = make_parser(__doc__ or "")
    parser.add_argument("--out", type=Path, default=Path("docs/blob.gif"), help="(default: %(default)s)")
    arguments = parser.parse_args()
    with exit_on_bad_input():
        record(arguments.out)


def record(out: Path) -> None:
    """Record both players until the trained one has won."""
    import_tensorflow()
    from agent import DQNAgent
    from storage.loading import load_q_values, make_saved_env
    from storage.model_file import SHIPPED_MODEL, read_model
    from viewer.episode import Episode
    from viewer.film import Film

    saved = read_model(SHIPPED_MODEL)
    env = make_saved_env(saved, "rgb_array")
    untrained = DQNAgent(env.observation_space, env.action_space, saved.info.config)
    players = [
        Episode(make_saved_env(saved, "rgb_array"), untrained.q_values, "untrained"),
        Episode(env, load_q_values(saved, env), "trained"),
    ]
    film = Film(out, FPS, show_q=False)
    for seed in SEEDS:
        for player in players:
            player.reset(seed)
        film.show(players)
        while not players[1].ending:
            for player in players:
                if not player.ending:
                    player.step()
            film.show(players)
        film.wait(HOLD)
    film.close()


if __name__ == "__main__":
    main()
