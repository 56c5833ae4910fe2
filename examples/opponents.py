"""Opponents for two-player games: at random, a saved model, or a folder of models, one of which plays each episode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import optree

from console.errors import InputError
from console.messages import say_once
from environments.actions import best_actions
from environments.spaces import Observations, QValues
from storage.loading import check_spaces, load_q_values
from storage.model_file import read_model

RANDOM = "random"
_loaded: dict[tuple[Any, ...], QValues] = {}  # all lanes share what is read and compiled once


class Opponent:
    """The other player of a game, as `--env-args opponent=...` names it.

    Args:
        choice: "random", a model's file, or a folder of models. The folder may be empty and may grow: self-play keeps
            the agent's past selves there (`examples.self_play`).
        env: the game. The opponent sees the same observations, from its own side, and has the same actions.

    Raises:
        InputError: there is no such file, or its model does not play this game.
    """

    def __init__(self, choice: str, env: gym.Env) -> None:
        self._choice, self._env, self._path = choice, env, Path(str(choice))
        self._q_values: QValues | None = None  # None plays at random
        self._is_folder = choice != RANDOM and not self._path.suffix and not self._path.is_file()
        if choice != RANDOM and not self._is_folder:
            self._q_values = load_player(self._path, env)

    def begin(self, generator: np.random.Generator) -> None:
        """Begin an episode: a folder's models take turns at random. While there are none, it plays at random.

        Playing against all past selves alike is fictitious self-play (Heinrich et al. 2015): what only beats the
        newest self does not pay for long.

        Raises:
            InputError: as the constructor.
        """
        if self._is_folder:
            models = models_in(self._path)
            if not models:
                say_once(f"opponent={self._choice} holds no models yet: until it does, the opponent plays at random")
            self._q_values = load_player(models[generator.integers(len(models))], self._env) if models else None

    def act(self, observation: Observations, mask: np.ndarray, generator: np.random.Generator) -> int:
        """Pick an action: the greedy one, or any legal one at random.

        Args:
            observation: one, from the opponent's side.
            mask: (n_actions,), the legal actions.
            generator: source of the random draws.
        """
        if self._q_values is None:
            return int(generator.choice(np.flatnonzero(mask)))
        values = self._q_values(optree.tree_map(lambda array: np.asarray(array)[None], observation))
        return int(best_actions(values, np.asarray(mask, bool)[None])[0])


def models_in(folder: Path) -> list[Path]:
    """List a folder's models by name, so that past selves come in their order."""
    return sorted(folder.glob("[!.]*.model"))  # a file still being written begins with a dot


def load_player(path: Path, env: gym.Env) -> QValues:
    """Load the Q-values of a model that plays this game. What was loaded before is not read again, unless it changed.

    Nothing but the weights is taken from the file, so it needs no trust.

    Args:
        path: the file.
        env: the game.

    Returns:
        From observations (batch, ...) to (batch, n_actions).

    Raises:
        InputError: there is no such file, it has a network of its own code, or it is of another game.
    """
    changed = path.stat().st_mtime_ns if path.is_file() else None
    key = path.resolve(), changed, str(env.observation_space), str(env.action_space)
    if key not in _loaded:
        saved = read_model(path, only_weights=True)
        check_spaces(saved, env, type(env).__name__)
        if ":" in saved.info.config.network:
            raise InputError(f"opponent={path} has a network of its own code, which is not run for an opponent")
        _loaded[key] = load_q_values(saved, env)
    return _loaded[key]
