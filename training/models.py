"""The models of a run on disk: the best and the last."""

from __future__ import annotations

import glob
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
    """Saves the best model so far, and in the end the last one; each replaces the one before.

    Args:
        config: the run's settings.
        name: the run's.
        agent: whose models they are.
        envs: that it is trained in.

    Attributes:
        best, last: None before there is one.
        window_scores: of the latest window, after which the last model is named.
    """

    def __init__(self, config: Config, name: str, agent: Agent, envs: Lanes) -> None:
        self._config, self._name, self._agent = config, name, agent
        self._spaces = str(envs.observation_space), str(envs.action_space)
        self.best: ModelRecord | None = None
        self.last: ModelRecord | None = None
        self.window_scores: dict[str, float] = {}

    def save_best(self, scores: dict[str, float], episode: int) -> None:
        """Save the agent as the best model, with the scores of greedy play."""
        self.best = self._save("best", scores, episode) or self.best

    def save_last(self, episode: int) -> None:
        """Save the agent as the last model, with the scores of the latest window, if one has ended."""
        if self.window_scores:
            self.last = self._save("last", self.window_scores, episode)

    def _save(self, kind: str, scores: dict[str, float], episode: int) -> ModelRecord | None:
        """Save the agent. Returns None, with a warning, if that fails."""
        name = f"{self._name}__{kind}__{scores['max']:.2f}max_{scores['avg']:.2f}avg_{scores['min']:.2f}min"
        path = Path(self._config.models_dir) / (name + suffix(self._config))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._agent.save(path, ModelInfo(self._config, *self._spaces, episode, scores, versions()))
            half_written = path.parent.glob(f".{glob.escape(self._name)}__*")  # left by a kill
            for older in [*self._files(kind), *half_written]:
                if older != path:
                    older.unlink()
        except OSError as error:
            say(f"warning: {path} cannot be written ({error.strerror or error}); training goes on")
            return None
        return ModelRecord(path, scores, episode)

    def _files(self, kind: str) -> list[Path]:
        pattern = f"{glob.escape(self._name)}__{kind}__*{suffix(self._config)}"
        return list(Path(self._config.models_dir).glob(pattern))

    @property
    def kept(self) -> str:
        """The end of the message of a run that stops itself."""
        return f"the best model before that is {self.best.path}" if self.best else "no model had been saved yet"

    def get_state(self) -> dict[str, Any]:
        """Save which model is the best."""
        best = None
        if self.best:
            best = {"name": self.best.path.name, "scores": self.best.scores, "episode": self.best.episode}
        return {"best": best, "window_scores": self.window_scores}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` saved. A best model saved after the checkpoint takes the place of the one then."""
        self.window_scores = dict(state["window_scores"])
        files, best = self._files("best"), state["best"]
        if best and files:
            path = next((path for path in files if path.name == best["name"]), files[0])
            self.best = ModelRecord(path, dict(best["scores"]), int(best["episode"]))
