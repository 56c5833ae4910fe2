"""Watch saved models play, or play against one: in a window, in the terminal, or as a film.

`python play.py` shows your newest model, `python play.py RUN` the best one of that run.
"""

from __future__ import annotations

import console.requirements  # noqa: F401 (first of all: it says what is missing)

# isort: split
import argparse
import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import optree

from blob.optimal_player import best_q_values
from blob.solver import is_solvable
from config import Config
from console.arguments import add_model_argument, at_least, make_parser, trusted_settings
from console.errors import InputError, exit_on_bad_input
from console.nearest import did_you_mean
from console.signals import end_quietly
from environments.known import action_names
from environments.make import make_env, same_game
from environments.spaces import QValues
from storage.loading import load_q_values, make_saved_env
from storage.model_file import SavedModel, read_model
from storage.runs import find_model
from viewer.episode import Episode
from viewer.film import Film, check_film
from viewer.keys import COMMANDS_HELP, action_keys, actions_help
from viewer.playback import Playback
from viewer.screen import FilmedScreen, Screen
from viewer.terminal import Terminal
from viewer.window import Window, can_open_window

OPTIMAL, RANDOM = "optimal", "random"


def parse_arguments() -> argparse.Namespace:
    """Read and check the command line."""
    parser = make_parser(
        "Watch a saved model play greedily, or play against it.",
        stray="name one model; --versus shows another beside it",
    )
    add_model_argument(parser)
    parser.add_argument("--episodes", type=at_least(1), default=5, help="number of episodes (default: %(default)s)")
    parser.add_argument("--seed", type=at_least(0), default=1, help="seed of the first episode (default: %(default)s)")
    parser.add_argument("--fps", type=at_least(1), help="steps per second (default: the environment's own)")
    parser.add_argument("--show-q", action="store_true", help="show Q-values and, on Blob's board, the greedy move")
    against = parser.add_mutually_exclusive_group()
    against.add_argument(
        "--versus", metavar="OTHER", help=f"show another model beside it, or the player {OPTIMAL!r} or {RANDOM!r}"
    )
    against.add_argument("--human", action="store_true", help="play against it with the keyboard, in a window")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--render",
        choices=("human", "ansi"),
        help="show it in a window or in the terminal (default: a window if there is a display)",
    )
    how.add_argument("--record", type=Path, metavar="OUT", help="write a GIF or MP4 file instead, by its ending")
    arguments = parser.parse_args()
    if arguments.human and arguments.render == "ansi":
        parser.error("--human is played in a window: leave out --render ansi")
    return arguments


def check_screen(arguments: argparse.Namespace) -> None:
    """Raise InputError if the screen that the command line asks for is not available."""
    if arguments.record:
        check_film(arguments.record)
    if (arguments.human or arguments.render == "human") and not can_open_window():
        flag, instead = ("--human", "play where there is a display")
        if not arguments.human:
            flag, instead = ("--render human", "use --render ansi or --record OUT.gif")
        raise InputError(f"{flag}: no window can be opened here, {instead}")


def read_opponent(arguments: argparse.Namespace, saved: SavedModel) -> SavedModel | None:
    """Read the model of --versus. Returns None without one, and for the optimal and the random player.

    Raises:
        InputError: it cannot be read, or does not play the same game.
    """
    if not arguments.versus:
        return None
    config = saved.info.config
    if arguments.versus == OPTIMAL:
        if not is_solvable(config):
            raise InputError("--versus optimal needs a Blob-v0 of 200 steps whose food and enemy stand still")
        return None
    if arguments.versus == RANDOM:
        return None
    try:
        path = find_model(arguments.versus)
    except InputError as error:
        raise InputError(f"--versus: {error}{did_you_mean(arguments.versus, (OPTIMAL, RANDOM))}") from error
    opponent = read_model(path, trusted_settings(arguments))
    if not same_game(config, opponent.info.config):
        other, own = map(describe_game, (opponent.info.config, config))
        raise InputError(f"--versus {arguments.versus} plays {other}, not {own}")
    return opponent


def describe_game(config: Config) -> str:
    """Describe the game that a model plays."""
    return f"{config.env} with {config.env_args} and {config.max_episode_steps or 'its own'} steps at most"


def read_metadata(config: Config) -> dict[str, Any]:
    """Return an environment's metadata: its render modes and its frame rate."""
    with contextlib.closing(make_env(config)) as env:
        return env.metadata


def choose_screen(arguments: argparse.Namespace, modes: Sequence[str]) -> str:
    """Choose a screen for an environment with these render modes.

    Returns:
        "file", "human" (a window), "ansi" (the terminal), or "own" if the environment can only show itself, in a
        window of its own.
    """
    if list(modes) == ["human"] and not (arguments.human or arguments.record or arguments.render == "ansi"):
        return "own"
    if arguments.human or arguments.render == "human":
        return "human"
    if arguments.record or arguments.render:
        return arguments.render or "file"
    return "human" if "rgb_array" in modes and can_open_window() else "ansi"


def choose_mode(where: str, modes: Sequence[str]) -> str:
    """Choose the render mode for the screen from `choose_screen`."""
    if where == "own":
        return "human"
    in_colour = sys.stdout.isatty() and "rgb_array" in modes
    return "ansi" if where == "ansi" and not in_colour else "rgb_array"


def make_screen(arguments: argparse.Namespace, where: str, fps: float, keys: Sequence[str]) -> Screen:
    """Make the screen from `choose_screen`. A window shows the lines that say what the keys do."""
    if where in ("ansi", "own"):
        return Terminal(arguments.show_q)
    if where == "file":
        return Film(arguments.record, fps, arguments.show_q)
    window = Window(arguments.show_q, keys)
    return FilmedScreen(window, Film(arguments.record, fps, arguments.show_q)) if arguments.record else window


def make_episodes(
    arguments: argparse.Namespace, saved: SavedModel, opponent: SavedModel | None, mode: str, envs: contextlib.ExitStack
) -> list[Episode]:
    """Make the episodes to play side by side: a person's, the model's, its opponent's. `envs` closes the environments.

    Raises:
        InputError: an environment cannot be made, or a network does not fit.
    """
    env = envs.enter_context(make_saved_env(saved, mode))
    episodes = [Episode(env, load_q_values(saved, env), name_of(saved))]
    if arguments.human:
        episodes.insert(0, Episode(envs.enter_context(make_env(saved.info.config, mode)), None, "you"))
    elif opponent:
        env = envs.enter_context(make_saved_env(opponent, mode))
        episodes.append(Episode(env, load_q_values(opponent, env), name_of(opponent)))
    elif arguments.versus:
        env = envs.enter_context(make_env(saved.info.config, mode))
        q_values = random_q_values(env, arguments.seed) if arguments.versus == RANDOM else best_q_values(env)
        episodes.append(Episode(env, q_values, arguments.versus))
    return episodes


def name_of(saved: SavedModel) -> str:
    """Name a model, briefly, with what differs between the models of a run first."""
    return f"{saved.path.stem}, {saved.run}" if saved.run else saved.path.stem


def random_q_values(env: gym.Env, seed: int) -> QValues:
    """Return Q-values that change at random, and with them the action."""
    generator, n_actions = np.random.default_rng(seed), int(env.action_space.n)  # type: ignore[attr-defined]
    return lambda observations: generator.random((len(optree.tree_leaves(observations)[0]), n_actions))


def play(arguments: argparse.Namespace, envs: contextlib.ExitStack) -> None:
    """Play as the command line says. `envs` closes the environments.

    Raises:
        InputError: a file, an environment or a screen does not work.
    """
    check_screen(arguments)
    saved = read_model(find_model(arguments.model), trusted_settings(arguments))
    opponent = read_opponent(arguments, saved)
    metadata = read_metadata(saved.info.config)
    modes = metadata.get("render_modes") or []
    where = choose_screen(arguments, modes)
    episodes = make_episodes(arguments, saved, opponent, choose_mode(where, modes), envs)
    fps = float(arguments.fps or metadata.get("render_fps") or 30)
    names = action_names(episodes[0].env)
    keys = action_keys(names) if arguments.human else {}
    keys_help = [COMMANDS_HELP, *actions_help(names, keys)] if keys else [COMMANDS_HELP]
    screen = make_screen(arguments, where, fps, keys_help)
    if where == "human":
        print("\n".join(keys_help))
    Playback(episodes, screen, fps, keys).play(arguments.seed, arguments.episodes)
    screen.close()


def main() -> None:
    """Run the command line."""
    end_quietly()
    arguments = parse_arguments()
    with exit_on_bad_input(), contextlib.ExitStack() as envs:
        play(arguments, envs)


if __name__ == "__main__":
    main()
