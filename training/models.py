"""The models of a run on disk: the best and the last."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any, NamedTuple

from config import Config
from console.messages import say
from environments.lanes import Lanes
from storage.model_file import ModelInfo, suffix
from storage.versions import versions
from training.agents import Agent


class ModelRecord(NamedTuple):
    """A saved model.

    Attributes:
        path: of the file.
        scores: "avg", "min" and "max" return (and more of greedy play).
        episode: episodes played when it was saved.
    """

    path: Path
    scores: dict[str, float]
    episode: int


class ModelKeeper:
    """Saves the best model so far, and in the end the last one, in a folder of the run's name; each replaces the one
    before.

    Args:
        config: the run's settings.
        name: the run's.
        agent: whose models they are.
        envs: that it is trained in.

    Attributes:
        best, last: None before there is one.
        window_scores: of the latest window, which the last model holds.
        failure: why a model could not be written, if that was so the last time; else "".
    """

    def __init__(self, config: Config, name: str, agent: Agent, envs: Lanes) -> None:
        self._config, self._agent = config, agent
        self._folder = Path(config.models_dir) / name
        self._spaces = str(envs.observation_space), str(envs.action_space)
        self.best: ModelRecord | None = None
        self.last: ModelRecord | None = None
        self.window_scores: dict[str, float] = {}
        self.failure = ""

    def save_best(self, scores: dict[str, float], episode: int) -> None:
        """Save the agent as the best model, with the scores of greedy play."""
        self.best = self._save("best", scores, episode) or self.best

    def save_last(self, episode: int) -> None:
        """Save the agent as the last model, with the scores of the latest window, if one has ended."""
        if self.window_scores:
            self.last = self._save("last", self.window_scores, episode)

    def _save(self, kind: str, scores: dict[str, float], episode: int) -> ModelRecord | None:
        """Save the agent. Returns None, with a warning, if that fails."""
        path = self._path(kind)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            for half_written in path.parent.glob(f".{path.name}.*"):  # left by a kill
                half_written.unlink()
            self._agent.save(path, ModelInfo(self._config, *self._spaces, episode, scores, versions()))
        except OSError as error:
            self.failure = f"{path} cannot be written ({error.strerror or error})"
            say(f"warning: {self.failure}; training goes on")
            return None
        self.failure = ""
        return ModelRecord(path, scores, episode)

    def _path(self, kind: str) -> Path:
        return self._folder / f"{kind}{suffix(self._config)}"

    def close(self) -> None:
        """Remove the folder if there is no model in it."""
        with contextlib.suppress(OSError):  # it is not empty, or shared with the logs
            self._folder.rmdir()

    @property
    def kept(self) -> str:
        """The end of the message of a run that stops itself."""
        return f"the best model before that is {self.best.path}" if self.best else "no model had been saved yet"

    def get_state(self) -> dict[str, Any]:
        """Save which model is the best."""
        best = None
        if self.best:
            best = {"scores": self.best.scores, "episode": self.best.episode}
        return {"best": best, "window_scores": self.window_scores}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` saved. A best model saved after the checkpoint is in the place of the one then."""
        self.window_scores = dict(state["window_scores"])
        path, best = self._path("best"), state["best"]
        if best and path.is_file():
            self.best = ModelRecord(path, dict(best["scores"]), int(best["episode"]))
