"""Watch saved models play, or play against one: in a window, in the terminal, or as a film.
`python play.py models/X.model`"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym

from blob.solver import is_solvable
from console.arguments import add_trust_arguments, at_least, make_parser, trusted_settings
from console.errors import InputError, exit_on_bad_input
from console.signals import end_quietly
from console.tensorflow_import import import_tensorflow
from environments.known import action_names
from environments.make import make_env, same_game
from storage.loading import load_q_values, make_saved_env
from storage.model_file import SavedModel, read_model
from viewer.episode import Episode
from viewer.film import Film, check_film
from viewer.keys import action_keys
from viewer.player import Player
from viewer.screen import Recorded, Screen
from viewer.terminal import Terminal
from viewer.window import Window, can_open_window

OPTIMAL = "optimal"


def check_opponent(arguments: argparse.Namespace, saved: SavedModel) -> None:
    """Raise InputError if there is no such opponent in this game."""
    if not arguments.versus:
        return
    if arguments.versus == OPTIMAL:
        if not is_solvable(saved.info.config):
            raise InputError("--versus optimal needs a Blob-v0 of 200 steps whose food and enemy stand still")
        return
    other = read_model(Path(arguments.versus), trusted_settings(arguments))
    if not same_game(saved.info.config, other.info.config):
        games = [
            f"{config.env} with {config.env_args} and {config.max_episode_steps or 'its own'} steps at most"
            for config in (other.info.config, saved.info.config)
        ]
        raise InputError(f"--versus {arguments.versus} plays {games[0]}, not {games[1]}")


def make_episodes(arguments: argparse.Namespace, env: gym.Env, saved: SavedModel, mode: str) -> list[Episode]:
    """The model's in its environment, after a person's, before an opponent's.

    Raises:
        InputError: a network does not fit.
    """
    model = Episode(env, load_q_values(saved, env), arguments.model.stem)
    if arguments.human:
        return [Episode(make_env(saved.info.config, mode), None, "you"), model]
    if not arguments.versus:
        return [model]
    if arguments.versus == OPTIMAL:
        from blob.optimal_player import best_q_values

        env = make_env(saved.info.config, mode)
        return [model, Episode(env, best_q_values(env), OPTIMAL)]
    path = Path(arguments.versus)
    other = read_model(path, trusted_settings(arguments))
    env = make_saved_env(other, mode)
    return [model, Episode(env, load_q_values(other, env), path.stem)]


def parse_arguments() -> argparse.Namespace:
    """Read and check the command line."""
    parser = make_parser("Watch a saved model play greedily, or play against it.")
    parser.add_argument("model", type=Path, help="a .model file")
    add_trust_arguments(parser)
    parser.add_argument("--episodes", type=at_least(1), default=5, help="episodes (default: %(default)s)")
    parser.add_argument("--seed", type=at_least(0), default=1, help="seed of the first episode (default: %(default)s)")
    parser.add_argument("--fps", type=at_least(1), help="steps a second (default: the environment's own)")
    parser.add_argument("--show-q", action="store_true", help="show Q-values and, of Blob, the greedy move")
    against = parser.add_mutually_exclusive_group()
    against.add_argument("--versus", metavar="OTHER", help="show another .model, or the optimal player, beside it")
    against.add_argument("--human", action="store_true", help="play against it with the keyboard, in a window")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--render",
        choices=("human", "ansi"),
        help="a window or the terminal (default: a window where there is a display)",
    )
    how.add_argument("--record", type=Path, metavar="OUT", help="write a GIF or MP4 file instead, by its ending")
    arguments = parser.parse_args()
    if arguments.human and arguments.render == "ansi":
        parser.error("--human is played in a window: leave out --render ansi")
    return arguments


def check_screen(arguments: argparse.Namespace) -> None:
    """Raise InputError if it cannot be shown where the command line says."""
    if arguments.record:
        check_film(arguments.record)
    if (arguments.human or arguments.render == "human") and not can_open_window():
        flag, instead = ("--human", "play where there is a display")
        if not arguments.human:
            flag, instead = ("--render human", "use --render ansi or --record OUT.gif")
        raise InputError(f"{flag}: no window can be opened here, {instead}")


def choose_screen(arguments: argparse.Namespace, modes: Sequence[str]) -> str:
    """Where to show an environment with these render modes: "file", "human" (a window), "ansi" (the terminal), or "own"
    if it can only show itself, in a window of its own."""
    if list(modes) == ["human"] and not (arguments.human or arguments.record or arguments.render == "ansi"):
        return "own"
    if arguments.human or arguments.render == "human":
        return "human"
    if arguments.record or arguments.render:
        return arguments.render or "file"
    return "human" if "rgb_array" in modes and can_open_window() else "ansi"


def make_screen(arguments: argparse.Namespace, where: str, fps: float) -> Screen:
    """What `choose_screen` chose."""
    if where in ("ansi", "own"):
        return Terminal(arguments.show_q)
    if where == "file":
        return Film(arguments.record, fps, arguments.show_q)
    window = Window(arguments.show_q)
    return Recorded(window, Film(arguments.record, fps, arguments.show_q)) if arguments.record else window


def main() -> None:
    """The command line."""
    end_quietly()
    arguments = parse_arguments()
    with exit_on_bad_input():
        check_screen(arguments)
        saved = read_model(arguments.model, trusted_settings(arguments))
        metadata: dict[str, Any] = make_env(saved.info.config).metadata
        modes = metadata.get("render_modes", [])
        where = choose_screen(arguments, modes)
        in_colour = sys.stdout.isatty() and "rgb_array" in modes
        mode = {"own": "human", "ansi": "rgb_array" if in_colour else "ansi"}.get(where, "rgb_array")
        env = make_saved_env(saved, mode)
        check_opponent(arguments, saved)
        import_tensorflow()
        episodes = make_episodes(arguments, env, saved, mode)
        fps = float(arguments.fps or metadata.get("render_fps") or 30)
        screen = make_screen(arguments, where, fps)
        names = action_names(env)
        keys = action_keys(names) if arguments.human else {}
        if where == "human":
            print("keys: space or p pauses, . steps, - + slower and faster, r restarts, n next seed, q quits")
        for action, name in enumerate(names if arguments.human else ()):
            print(f"{name}: {' '.join(key for key, of in keys.items() if of == action) or 'has no key'}")
        Player(episodes, screen, fps, keys).play(arguments.seed, arguments.episodes)
        screen.close()
    for episode in episodes:
        episode.env.close()
