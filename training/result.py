"""The result of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from config import Config
from training.agents import Agent
from training.models import ModelRecord


@dataclass(frozen=True, repr=False)
class RunResult:
    """The result of a run.

    Attributes:
        config: its settings, with the seed.
        log_dir: its folder in the logs; the folder's name is the run's.
        episodes, steps, updates: how many.
        seconds: how long it took, before it was resumed included.
        interrupted: the number of the signal that ended it early; 0 if none did.
        stopped: whether a callback ended it early.
        best, last: its models; None if there is none.
        failure: why a model could not be written, if that was so the last time; else "".
        checkpoint_seconds: how long each checkpoint took, since it was started or resumed.
        checkpoint_share: their share of the time since then, 0 to 1.
        agent: the trained agent.
    """

    config: Config
    log_dir: Path
    episodes: int
    steps: int
    updates: int
    seconds: float
    interrupted: int
    stopped: bool
    best: ModelRecord | None
    last: ModelRecord | None
    checkpoint_seconds: Sequence[float]
    checkpoint_share: float
    agent: Agent
    failure: str = ""

    @property
    def name(self) -> str:
        """The run's name: environment, seed and time of start."""
        return self.log_dir.name

    def __repr__(self) -> str:
        """What was done and how well, in one line."""
        greedy = f", greedy {self.best.scores['avg']:.2f}" if self.best else ""
        stopped = ", stopped by a callback" * self.stopped
        counts = f"{self.episodes:,} episodes, {self.steps:,} steps, {self.seconds:.0f} s"
        return f"RunResult({self.name}: {counts}{greedy}{stopped})"
