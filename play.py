"""Watch saved models play, or play against one: in a window, in the terminal, or as a film.
`python play.py models/X.model`"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym

from blob_solver import is_solvable
from config import add_repeated, repeated_settings
from environments import make_env, same_game
from episode import Episode, action_keys, action_names
from model_file import SavedAgent, load_q_values, make_saved_env, read_saved_agent
from screens import Film, Recorded, Screen, Terminal, Window, can_open_window, check_film
from startup import (
    InputError,
    at_least,
    end_quietly,
    exit_on_bad_input,
    import_tensorflow,
    make_parser,
)

OPTIMAL = "optimal"
FOREVER = 1e9  # seconds
PACE, FASTEST = 1.5, 1000.0  # by which a key makes it faster or slower; steps a second
FRAMES_AT_END = 4  # for which the end of an episode stays
# What keys ask for, by `pygame.key.name`, unless they play an action.
COMMANDS: Mapping[str, str] = {
    "space": "pause", "p": "pause", ".": "step", "-": "slower", "[-]": "slower", "=": "faster", "+": "faster",
    "[+]": "faster", "r": "restart", "n": "next", "q": "quit", "escape": "quit",
}  # fmt: skip


class Player:
    """Plays episodes side by side, from the same seed, as the keys say.

    Args:
        episodes: of one or more players.
        screen: that shows them.
        fps: steps per second.
        actions: what keys play; then a person plays the first episode, and the others wait for every step of it.
    """

    def __init__(
        self, episodes: Sequence[Episode], screen: Screen, fps: float, actions: Mapping[str, int] | None = None
    ) -> None:
        self._episodes, self._screen, self._fps = episodes, screen, fps
        self._actions = actions or {}
        self._commands = {key: command for key, command in COMMANDS.items() if key not in self._actions}
        self._paused = False

    def play(self, seed: int, count: int) -> None:
        """Play from so many seeds, one after the other, and print what each came to."""
        number, command = 0, ""
        while number < count and command != "quit":
            command = self._play_one(seed + number)
            told = "; ".join(f"{e.name}: {e}" if len(self._episodes) > 1 else str(e) for e in self._episodes)
            print(f"episode {number + 1}: {told}{', stopped' if command else ''}")
            number += command != "restart"

    def _play_one(self, seed: int) -> str:
        """Play until all have ended, or a key asks for something else: for what, or ""."""
        for episode in self._episodes:
            episode.reset(seed)
        while True:
            self._screen.show(self._episodes)
            is_over = all(episode.ending for episode in self._episodes)
            waits = self._paused or (self._actions and not self._episodes[0].ending)
            key = self._screen.wait(FOREVER if waits else (FRAMES_AT_END if is_over else 1) / self._fps)
            command = self._commands.get(key, "")
            if command in ("restart", "next", "quit"):
                return "" if is_over and command == "next" else command
            if command in ("slower", "faster"):
                self._fps = min(self._fps * (PACE if command == "faster" else 1 / PACE), FASTEST)
            if command in ("pause", "step"):
                self._paused = command == "step" or not self._paused
            # A key that is held down plays no further than to the end.
            if (key in self._actions and not is_over) or command == "step" or not (key or waits):
                if is_over:
                    return ""
                self._step(self._actions.get(key))

    def _step(self, action: int | None) -> None:
        """Take a step in every episode that goes on, if the person's action is legal."""
        first = self._episodes[0]
        if self._actions and not first.ending and (action is None or not first.is_legal(action)):
            return
        for episode in self._episodes:
            if not episode.ending:
                episode.step(action if self._actions and episode is first else None)


def check_opponent(arguments: argparse.Namespace, saved: SavedAgent) -> None:
    """Raise InputError if there is no such opponent in this game."""
    if not arguments.versus:
        return
    if arguments.versus == OPTIMAL:
        if not is_solvable(saved.config):
            raise InputError("--versus optimal needs a Blob-v0 of 200 steps whose food and enemy stand still")
        return
    other = read_saved_agent(Path(arguments.versus), repeated_settings(arguments))
    if not same_game(saved.config, other.config):
        games = [
            f"{config.env} with {config.env_args} and {config.max_episode_steps or 'its own'} steps at most"
            for config in (other.config, saved.config)
        ]
        raise InputError(f"--versus {arguments.versus} plays {games[0]}, not {games[1]}")


def make_episodes(arguments: argparse.Namespace, env: gym.Env, saved: SavedAgent, mode: str) -> list[Episode]:
    """The model's in its environment, after a person's, before an opponent's.

    Raises:
        InputError: a network does not fit.
    """
    model = Episode(env, load_q_values(arguments.model, env, saved), arguments.model.stem)
    if arguments.human:
        return [Episode(make_env(saved.config, mode), None, "you"), model]
    if not arguments.versus:
        return [model]
    if arguments.versus == OPTIMAL:
        from optimum import best_q_values

        env = make_env(saved.config, mode)
        return [model, Episode(env, best_q_values(env), OPTIMAL)]
    path = Path(arguments.versus)
    other = read_saved_agent(path, repeated_settings(arguments))
    env = make_saved_env(path, other, mode)
    return [model, Episode(env, load_q_values(path, env, other), path.stem)]


def parse_arguments() -> argparse.Namespace:
    """Read and check the command line."""
    parser = make_parser("Watch a saved model play greedily, or play against it.")
    parser.add_argument("model", type=Path, help="a .model file")
    add_repeated(parser)
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
        saved = read_saved_agent(arguments.model, repeated_settings(arguments))
        metadata: dict[str, Any] = make_env(saved.config).metadata
        modes = metadata.get("render_modes", [])
        where = choose_screen(arguments, modes)
        in_colour = sys.stdout.isatty() and "rgb_array" in modes
        mode = {"own": "human", "ansi": "rgb_array" if in_colour else "ansi"}.get(where, "rgb_array")
        env = make_saved_env(arguments.model, saved, mode)
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


if __name__ == "__main__":
    main()
