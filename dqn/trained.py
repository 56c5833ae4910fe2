"""A trained agent in your own program."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np

from console.arguments import LATEST
from environments.actions import action_mask, best_actions
from environments.spaces import batch_of_one
from reports.curves import read_run
from storage.loading import load_q_values, make_saved_env
from storage.model_file import SavedModel, read_model
from storage.runs import find_log_folder, find_model
from training.greedy_play import make_evaluation_lanes, play_greedily
from training.summary import describe
from viewer.episode import Episode
from viewer.film import Film, check_film
from viewer.playback import Playback


class Agent:
    """A trained agent, as it was scored: its Q-values are averaged over the symmetries of its environment.

    Args:
        saved: the model.

    Attributes:
        path: its file.
        config: the settings that it was trained with.
        scores: its scores when it was saved: "avg", "min" and "max" return, and more.

    Raises:
        InputError: its environment cannot be made, or its weights do not fit.
    """

    def __init__(self, saved: SavedModel) -> None:
        self._saved = saved
        self.path, self.config, self.scores = saved.path, saved.info.config, saved.info.scores
        with closing(self.make_env()) as env:
            self._q_values = load_q_values(saved, env)
            self._n_actions, self._first = int(env.action_space.n), int(env.action_space.start)  # type: ignore[attr-defined]

    def make_env(self, render_mode: str | None = None) -> gym.Env:
        """Make the environment that it was trained in, as it saw it. Close it when you are done.

        Raises:
            InputError: it cannot be made, or cannot be shown like this.
        """
        return make_saved_env(self._saved, render_mode)

    def q_values(self, observation: Any) -> np.ndarray:
        """Value every action: float (n_actions,), for one observation of `make_env`'s environment."""
        return self._q_values(batch_of_one(observation))[0]

    def act(self, observation: Any, info: dict[str, Any] | None = None) -> int:
        """Return the best action, as `env.step` takes it.

        Args:
            observation: one, of `make_env`'s environment.
            info: that came with it. If it holds an "action_mask", only legal actions count.
        """
        mask = action_mask(info or {}, self._n_actions)
        return int(best_actions(self.q_values(observation)[None], mask[None])[0]) + self._first

    def evaluate(self, episodes: int = 100, seed: int = 1) -> dict[str, float]:
        """Play greedily, and return the scores: "avg", "std", "min" and "max" return, "length", and more.

        Args:
            episodes: how many.
            seed: of the first one.
        """
        with closing(make_evaluation_lanes(self.config, episodes, most=100)) as envs:
            return play_greedily(envs, self._q_values, episodes, seed, self.config).scores()

    def record(
        self, path: str | Path, episodes: int = 1, seed: int = 1, fps: float | None = None, show_q: bool = False
    ) -> Path:
        """Write a film of greedy play.

        Args:
            path: a file that ends in .gif or .mp4.
            episodes: how many.
            seed: of the first one.
            fps: steps per second; by default the environment's own.
            show_q: whether to show the Q-values.

        Returns:
            The path.

        Raises:
            InputError: the file cannot be written, or the environment cannot be drawn.
        """
        path = Path(path)
        check_film(path)
        with closing(self.make_env("rgb_array")) as env:
            fps = fps or float(env.metadata.get("render_fps") or 30)
            film = Film(path, fps, show_q)
            Playback([Episode(env, self._q_values)], film, fps).play(seed, episodes)
            film.close()
        return path

    def __repr__(self) -> str:
        """The environment, the scores and the file."""
        return f"Agent({self.config.env}, {describe(self.scores)}, {str(self.path)!r})"


def load(name: str | Path = LATEST, **trusted: Any) -> Agent:
    """Load a trained agent.

    Args:
        name: a run's name or folder, RUN/last, a file, or "latest": the best model that was written last, or the one
            that comes with the project if there is no other.
        trusted: the model's own env, network or env_args, repeated if they are code or paths that you trust.

    Raises:
        InputError: there is no such model, it is damaged, its environment cannot be made, or it names code or paths
            that are not repeated.
    """
    return Agent(read_model(find_model(str(name)), trusted))


def curves(name: str | Path = LATEST) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read the curves of a run.

    Args:
        name: the run's name or log folder, or "latest".

    Returns:
        For each curve, such as "greedy/avg" or "run/loss", the episodes (points,) and the values (points,), float64.

    Raises:
        InputError: there is no such run.
    """
    log = read_run(find_log_folder(str(name)))
    return {tag: (log.episodes[tag], values) for tag, values in log.curves.items()}
