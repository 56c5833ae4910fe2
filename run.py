"""What a training run leaves behind: its name, its logs, its best and its last model."""

from __future__ import annotations

import itertools
import re
import shlex
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Self

import keras
import numpy as np
import psutil

from agent import DQNAgent, UpdateStats
from evaluate import EVALUATION_SEED, make_evaluation_envs, play_greedily
from model_file import SavedAgent, package_versions, save_model
from startup import InputError


class Run:
    """A run of `train.py`: ends its windows, calls its callbacks and keeps its models.

    Args:
        agent: the agent that is trained; its settings name the folders.

    Attributes:
        name: environment, preset, seed and time of start; also the name of its folder in the logs.
        log_dir: that folder.
        episode: episodes in the windows ended so far.
        best, last: the models' paths, None before there is one.
        interrupted: set when Ctrl-C ended it.
    """

    def __init__(self, agent: DQNAgent) -> None:
        self.agent, self.config = agent, agent.config
        self.name, self.log_dir = self._claim_folder()
        self.episode = self.window = 0
        self.best: Path | None = None
        self.last: Path | None = None
        self.interrupted = False
        self._greedy: dict[str, float] = {}
        self._rewards: dict[str, float] = {}
        self._best_scores: dict[str, float] = {}
        self._best_returns: np.ndarray | None = None
        self._best_episode = 0
        self._evaluated = 0
        self._ending = False
        self._evaluation_envs = make_evaluation_envs(self.config, self.config.evaluate_episodes)
        self._began = time.perf_counter()
        self._window_began, self._window_steps, self._speed = self._began, 0, 0.0

    def _claim_folder(self) -> tuple[str, Path]:
        """Make the log folder. A run that starts in the same second takes another name."""
        config = self.config
        names = dict.fromkeys([re.sub(r"[^\w.-]+", "-", config.env), config.preset])
        stem = name = f"{'-'.join(names)}-seed{config.seed}-{time.strftime('%Y%m%d-%H%M%S')}"
        for attempt in itertools.count(2):
            try:
                (Path(config.logs_dir) / name).mkdir(parents=True)
                break
            except FileExistsError:
                name = f"{stem}-{attempt}"
        Path(config.models_dir).mkdir(parents=True, exist_ok=True)
        return name, Path(config.logs_dir) / name

    def begin(self, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        """Begin the first window."""
        self._callbacks = keras.callbacks.CallbackList(list(callbacks), model=self.agent.online)
        self.agent.online.stop_training = False
        self._callbacks.on_train_begin()
        self._callbacks.on_epoch_begin(self.window)
        self._began = self._window_began = time.perf_counter()

    def end_window(self, episodes: Sequence[tuple[float, int]], updates: Sequence[UpdateStats]) -> str:
        """End a window of episodes: aggregate it, evaluate when it is time, and call the callbacks.

        The callbacks' logs hold, as floats: episode (the window's last), reward_avg, reward_min, reward_max,
        episode_length, epsilon, loss, q_mean, q_max (nan before the first update), learning_rate, steps_per_second,
        steps, updates, memory_fill (0 to 1), and greedy_avg, greedy_min, greedy_max, greedy_overestimation
        of the latest greedy evaluation (see `evaluate.Episodes`).

        Args:
            episodes: return and length (steps) of each.
            updates: of the updates done meanwhile.

        Returns:
            The window's rewards, epsilon and speed in one line.

        Raises:
            InputError: the loss is not finite; no model is saved then.
        """
        logs = self._aggregate(episodes, updates)
        self._rewards = {key: logs[f"reward_{key}"] for key in ("avg", "min", "max")}
        self.episode += len(episodes)
        if not np.isfinite(logs["reward_avg"]):
            raise InputError(f"{self.config.env} gave a reward that is no finite number, so the run was stopped")
        if updates and not np.isfinite(logs["loss"]):
            raise InputError(
                f"the loss became {logs['loss']} in the episodes up to {self.episode}, so the run was stopped: lower "
                f"--learning-rate {self.config.learning_rate} or set --gradient-clip; "
                + (f"the best model before that is {self.best}" if self.best else "there was no model to keep yet")
            )
        if self._is_evaluation_due():
            self._evaluate()
        logs |= {f"greedy_{key}": self._greedy.get(key, np.nan) for key in ("avg", "min", "max", "overestimation")}
        self._callbacks.on_epoch_end(self.window, {"episode": self.episode, **logs})
        self.window += 1
        if self.agent.progress < 1 and not self.agent.online.stop_training:
            self._callbacks.on_epoch_begin(self.window)
        self._window_began, self._window_steps = time.perf_counter(), self.agent.steps
        return (
            f"avg {logs['reward_avg']:.1f} min {logs['reward_min']:g} max {logs['reward_max']:g} "
            f"epsilon {logs['epsilon']:.3f} {logs['steps_per_second']:,.0f} steps/s"
        )

    def _aggregate(self, episodes: Sequence[tuple[float, int]], updates: Sequence[UpdateStats]) -> dict[str, float]:
        returns, lengths = np.array(episodes).T
        losses, q_means, q_maxima = np.array(updates or [UpdateStats(np.nan, np.nan, np.nan)]).T
        agent = self.agent
        if agent.steps > self._window_steps:  # else it ends in the same step as the window before, at the same speed
            self._speed = (agent.steps - self._window_steps) / (time.perf_counter() - self._window_began)
        return {
            "reward_avg": float(returns.mean()),
            "reward_min": float(returns.min()),
            "reward_max": float(returns.max()),
            "episode_length": float(lengths.mean()),
            "epsilon": agent.epsilon,
            "loss": float(losses.mean()),
            "q_mean": float(q_means.mean()),
            "q_max": float(q_maxima.max()),
            "learning_rate": float(agent.online.optimizer.learning_rate),
            "steps_per_second": self._speed,
            "steps": float(agent.steps),
            "updates": float(agent.updates),
            "memory_fill": len(agent.memory) / agent.memory.maxlen,
        }

    def _is_evaluation_due(self) -> bool:
        """In the first window that reaches a multiple of `evaluate_every`, and in the last of the run."""
        if self.interrupted:
            return False
        every = self.config.evaluate_every
        passed = self._clock // every > self._evaluated // every
        return passed or self._ending or self.episode == self.config.episodes

    @property
    def _clock(self) -> int:
        """What `evaluate_every` counts."""
        return self.agent.steps if self.config.steps else self.episode

    def _evaluate(self) -> None:
        """Play greedily from the fixed starts, and keep the model unless an earlier one was better by more than chance.

        Late in a run models differ in a few starts of a hundred thousand, which no affordable number of starts tells
        apart. So of models that are as good as the highest scorer, within two standard errors of the mean difference
        from the same starts, the one that has learned longest is kept.
        """
        self._evaluated = self._clock
        config = self.config
        episodes = play_greedily(
            self._evaluation_envs,
            self.agent.q_values,
            config.evaluate_episodes,
            EVALUATION_SEED,
            config.discount,
            config.reward_clip,
        )
        self._greedy = episodes.scores()
        if self._best_returns is None or episodes.returns.mean() >= self._best_returns.mean():
            self._best_returns = episodes.returns
        shortfall = self._best_returns - episodes.returns
        if shortfall.mean() <= 2 * shortfall.std() / np.sqrt(len(shortfall)):
            self._best_scores, self._best_episode = self._greedy, self.episode
            self.best = self._save("best", self._greedy, replaces=self.best)

    def _save(self, kind: str, scores: dict[str, float], replaces: Path | None = None) -> Path:
        name = f"{self.name}__{kind}__{scores['max']:.2f}max_{scores['avg']:.2f}avg_{scores['min']:.2f}min.model"
        path = Path(self.config.models_dir) / name
        envs = self._evaluation_envs
        spaces = str(envs.single_observation_space), str(envs.single_action_space)
        save_model(path, self.agent.online, SavedAgent(self.config, *spaces, self.episode, scores, package_versions()))
        if replaces not in (None, path):
            replaces.unlink(missing_ok=True)
        return path

    def end(self, episodes: Sequence[tuple[float, int]], updates: Sequence[UpdateStats]) -> None:
        """End the last window, short as it may be, and save the last model, named by that window's rewards."""
        self._ending = True
        if episodes:
            self.end_window(episodes, updates)
        if self._clock > self._evaluated and not self.interrupted:
            self._evaluate()
        if self._rewards:
            self.last = self._save("last", self._rewards)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Let the callbacks close their files, however the run ended."""
        self._callbacks.on_train_end()
        self._evaluation_envs.close()

    def summary(self) -> str:
        """What was done, where it lies, and the commands to go on with."""
        minutes, seconds = divmod(round(time.perf_counter() - self._began), 60)
        agent = self.agent
        lines = [
            f"{self.episode:,} episodes, {agent.steps:,} steps, {agent.updates:,} updates in {minutes} min {seconds} s"
            + (" (interrupted)" if self.interrupted else "")
        ]
        if not (self.best or self.last):
            lines.append("no episode ended, so there is no model: raise --steps")
        if not agent.updates:
            lines.append(
                f"no update was made: the memory never held --learn-start {self.config.learn_start} transitions"
            )
        if self.best:
            scores = self._best_scores
            lines += [
                f"best model  {self.best}",
                f"            greedy return avg {scores['avg']:.2f}, min {scores['min']:g}, max {scores['max']:g} over "
                f"{self.config.evaluate_episodes:,} starts, after {self._best_episode:,} episodes",
            ]
        if self.last:
            lines.append(f"last model  {self.last}")
        held, process = agent.memory.nbytes / 1e9, psutil.Process().memory_info().rss / 1e9
        lines.append(
            f"memory      {process:.2f} GB, of which replay {held * len(agent.memory) / agent.memory.maxlen:.2f}"
        )
        lines.append(f"watch       tensorboard --logdir {shlex.quote(self.config.logs_dir)}")
        if model := self.best or self.last:
            lines.append(f"replay      python play.py {shlex.quote(str(model))}")
            lines.append(f"score       python evaluate.py {shlex.quote(str(model))}")
        return "\n".join(lines)


class StopOnCtrlC:
    """Turns the first Ctrl-C inside the block into `pressed`; a second one ends the program at once."""

    def __init__(self) -> None:
        self.pressed = False

    def __enter__(self) -> Self:
        self._previous = signal.getsignal(signal.SIGINT)
        if threading.current_thread() is threading.main_thread():  # no other thread may handle signals
            signal.signal(signal.SIGINT, self._press)
        return self

    def _press(self, number: int, frame: FrameType | None) -> None:
        self.pressed = True
        print("\nending the run and saving its models; Ctrl-C again ends at once", file=sys.stderr)
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    def __exit__(self, *_: object) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, self._previous)
