"""Opponents for two-player games: at random, a saved model, or a folder of models, one of which plays each episode."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import optree

from console.errors import InputError
from console.messages import say_once
from console.tensorflow_import import import_tensorflow
from environments.actions import best_actions
from environments.known import symmetries_of
from environments.spaces import Observations, QValues
from environments.symmetry import Symmetry
from storage.loading import check_spaces, load_network, load_q_values, set_weights
from storage.model_file import SavedModel, read_model

RANDOM = "random"
# All lanes share what is read and compiled once.
_loaded: dict[tuple[Any, ...], QValues] = {}
_networks: dict[tuple[Any, ...], tuple[Any, Any]] = {}


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
        _loaded[key] = _q_values(saved, env)
    return _loaded[key]


def _q_values(saved: SavedModel, env: gym.Env) -> QValues:
    """As `load_q_values`, but models of one kind share a network, which takes the weights as an argument.

    So another past self costs milliseconds instead of the better part of a second for a network and its compiling.
    """
    config = saved.info.config
    if config.method != "dqn":
        return load_q_values(saved, env)
    import_tensorflow()  # only now, so that a mistake shows first
    import tensorflow as tf

    kind = config.network, config.dueling, config.symmetries, str(env.observation_space), str(env.action_space)
    if kind not in _networks:
        _networks[kind] = _compile(load_network(saved, env), env, symmetries_of(env) if config.symmetries else ())
    model, function = _networks[kind]
    set_weights(saved, model)  # which checks their shapes
    weights = [tf.constant(array) for array in saved.arrays]
    return lambda observations: function(weights, observations).numpy()


def _compile(model: Any, env: gym.Env, symmetries: Sequence[Symmetry]) -> tuple[Any, Any]:
    """Return the model and its compiled Q-values, a function of (weights, observations)."""
    import keras
    import tensorflow as tf

    from networks import batch_signature, mean_q_values

    def function(weights: Any, observations: Any) -> Any:
        with keras.StatelessScope(zip(model.weights, weights, strict=True)):
            return mean_q_values(model, observations, symmetries)

    shapes = [tf.TensorSpec(weight.shape, weight.dtype) for weight in model.weights]
    return model, tf.function(function, input_signature=[shapes, batch_signature(env.observation_space)])
