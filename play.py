"""Watch a saved model play: in a window, in the terminal, or as a GIF. `python play.py models/X.model`"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import optree

from config import add_repeated, repeated_settings
from drawing import gif_of
from masks import KEY, action_masks, best_actions
from model_file import load_q_values, make_saved_env, read_saved_agent
from startup import (
    InputError,
    at_least,
    check_writable,
    end_quietly,
    exit_on_bad_input,
    import_tensorflow,
    make_parser,
)
from symmetry import QValues

if TYPE_CHECKING:
    import gymnasium as gym


def play_episode(env: gym.Env, q_values: QValues, seed: int, show: Callable[[], bool]) -> tuple[float, int, str]:
    """Play one episode greedily.

    Args:
        env: an environment with discrete actions.
        q_values: from observations (1, ...) to (1, n_actions).
        seed: of the episode.
        show: called at the start and after every step; ends the episode by returning False.

    Returns:
        The return, the length in steps, and how it ended: "won" or "lost" where the environment says, else
        "terminated", "timed out" or "stopped".
    """
    observation, info = env.reset(seed=seed)
    n_actions, first = int(env.action_space.n), int(env.action_space.start)  # type: ignore[attr-defined]
    total, length, ending = 0.0, 0, "stopped"
    while ending == "stopped" and show():
        values = q_values(optree.tree_map(lambda array: np.asarray(array)[None], observation))
        mask = action_masks({KEY: info[KEY][None]} if KEY in info else {}, (1, n_actions))
        observation, reward, terminated, truncated, info = env.step(best_actions(values, mask)[0] + first)
        total += float(reward)
        length += 1
        if terminated:
            ending = {True: "won", False: "lost", None: "terminated"}[info.get("is_success")]
        elif truncated:
            ending = "timed out"
    show()
    return total, length, ending


def make_show(env: gym.Env, fps: float, frames: list[np.ndarray]) -> Callable[[], bool]:
    """What `play_episode` calls to show a step in the environment's render mode.

    Frames of "rgb_array" are appended to `frames`; "ansi" is printed at `fps` frames a second; "human" draws by itself.
    """

    def show() -> bool:
        if env.render_mode == "rgb_array":
            frames.append(np.asarray(env.render()))
        elif env.render_mode == "ansi":
            # On a terminal every frame is drawn over the one before.
            print("\033[H\033[J" if sys.stdout.isatty() else "", env.render(), sep="", flush=True)
            time.sleep(1 / fps)
        elif env.render_mode == "human":
            import pygame

            return not (pygame.display.get_init() and pygame.event.peek(pygame.QUIT))
        return True

    return show


def can_open_window() -> bool:
    """Whether there is a display, or a stand-in that was asked for in SDL_VIDEODRIVER."""
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"} & os.environ.keys():
        return False  # SDL would complain while it looks for one
    import pygame

    try:
        pygame.display.init()
        stand_in = pygame.display.get_driver() in ("offscreen", "dummy") and not os.environ.get("SDL_VIDEODRIVER")
        pygame.display.quit()
    except pygame.error:
        return False
    return not stand_in


def parse_arguments() -> argparse.Namespace:
    """Read and check the command line."""
    parser = make_parser("Watch a saved model play greedily.")
    parser.add_argument("model", type=Path, help="a .model file")
    add_repeated(parser)
    parser.add_argument("--episodes", type=at_least(1), default=5, help="episodes (default: %(default)s)")
    parser.add_argument("--seed", type=at_least(0), default=1, help="seed of the first episode (default: %(default)s)")
    parser.add_argument("--fps", type=at_least(1), help="frames a second (default: the environment's own)")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--render",
        choices=("human", "ansi"),
        help="a window or the terminal (default: a window where there is a display)",
    )
    how.add_argument("--record", type=Path, metavar="OUT.gif", help="write a GIF file instead")
    arguments = parser.parse_args()
    with exit_on_bad_input():
        if arguments.record and (arguments.record.suffix.lower() != ".gif" or arguments.record.is_dir()):
            raise InputError(f"--record {arguments.record} must be a file and end in .gif")
    return arguments


def main() -> None:
    """The command line."""
    end_quietly()
    arguments = parse_arguments()
    with exit_on_bad_input():
        mode = "rgb_array" if arguments.record else arguments.render or ("human" if can_open_window() else "ansi")
        if mode == "human" and not can_open_window():
            raise InputError("--render human: no window can be opened here, use --render ansi or --record OUT.gif")
        saved = read_saved_agent(arguments.model, repeated_settings(arguments))
        env = make_saved_env(arguments.model, saved, mode)
        if arguments.record:
            check_writable("--record", str(arguments.record.parent))
        import_tensorflow()
        q_values = load_q_values(arguments.model, env, saved)
    settings: dict[str, Any] = env.metadata
    fps = arguments.fps or settings.get("render_fps") or 30
    env.unwrapped.metadata = {**settings, "render_fps": fps}
    frames: list[np.ndarray] = []
    show = make_show(env, fps, frames)
    for episode in range(1, arguments.episodes + 1):
        total, length, ending = play_episode(env, q_values, arguments.seed + episode - 1, show)
        print(f"episode {episode}: return {total:g}, {length} steps, {ending}")
        if ending == "stopped":
            break
    env.close()
    if arguments.record:
        arguments.record.write_bytes(gif_of(frames, fps))
        print(f"wrote {arguments.record} ({arguments.record.stat().st_size / 1000:.0f} kB)")


if __name__ == "__main__":
    main()
