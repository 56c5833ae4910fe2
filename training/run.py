"""A training run: the order of events around the loop. Each part keeps its own state."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np

from config import Config
from console.errors import InputError
from console.messages import say
from console.signals import StopOnSignal
from environments.lanes import Lanes, Step
from environments.spaces import Observations
from losses import UpdateStats
from presets import preset_of
from storage.checkpoint import checkpoint_errors_as_input_error
from storage.run_folder import add_to_record, claim_folder, lock_run, record_start
from training.agents import Agent
from training.clock import Clock
from training.contest import Contest
from training.divergence import DivergenceGuard
from training.epochs import Epochs, default_callbacks
from training.evaluation import GreedyEvaluation
from training.greedy_play import GreedyPlayer, InterruptedPlay
from training.models import ModelKeeper
from training.progress import Progress
from training.result import RunResult
from training.snapshot import Part, Snapshots
from training.stock_callbacks import prepare_stock_callbacks
from training.summary import introduction
from training.tags import GREEDY, LOOK
from training.windows import EpisodeWindows, Window


class Run:
    """A run of `train.py`: `begin`, `count` after every step, `end`.

    Use it as a context manager: however the block ends, files are closed and the folder is unlocked.

    Args:
        config: the settings.
        agent: the agent in training.
        envs: its environments.
        callbacks: Keras callbacks beside the built-in ones.
        resume: the log folder of a run to go on with, from its newest intact checkpoint.
        quiet: whether to show no progress.

    Raises:
        InputError: a callback cannot do its work in a run; the run to go on with is in use by another process, or has
            no intact checkpoint.
    """

    def __init__(
        self,
        config: Config,
        agent: Agent,
        envs: Lanes,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        resume: Path | None = None,
        quiet: bool = False,
    ) -> None:
        prepare_stock_callbacks(callbacks)  # before there is a folder
        if config.preset == Config.preset != preset_of(config.env):
            instead = f"Config.from_preset(env={config.env!r})"
            say(f"warning: this run of {config.env} has the settings of Blob: {instead} has its own")
        self._config, self._agent, self._envs, self._quiet = config, agent, envs, quiet
        self._callbacks = callbacks
        self._log_dir = resume or claim_folder(config)
        self._lock = lock_run(self._log_dir)
        self._signal = StopOnSignal()
        self._windows = EpisodeWindows(config, envs.count)
        self._guard = DivergenceGuard(config)
        self._models = ModelKeeper(config, self._log_dir.name, agent, envs)
        self._contest = Contest(agent)
        self._clock = Clock()
        self._parts: dict[str, Part] = {
            "windows": self._windows, "guard": self._guard, "models": self._models, "contest": self._contest,
            "clock": self._clock,
        }  # fmt: skip
        self._snapshots = Snapshots(config, self._log_dir, agent, envs, self._parts)
        try:
            self._state = self._snapshots.rewind() if resume else None
            record_start(self._log_dir, config)
            # Lanes that are played in other processes are evaluated there too.
            make_player = getattr(envs, "make_player", GreedyPlayer)
            self._evaluation = GreedyEvaluation(config, make_player(config, lambda: self._signal.received))
        except BaseException:
            self._lock.release()
            raise
        self._parts["evaluation"] = self._evaluation
        self._epochs: Epochs | None = None
        self._progress: Progress | None = None
        self._was_cut_off = False  # in the middle of a window

    @property
    def is_over(self) -> bool:
        """Whether all is played, a callback stopped the training, or a signal asks to end it."""
        return bool(self._agent.progress == 1 or self._agent.online.stop_training or self._signal.received)

    @property
    def _is_stopped(self) -> bool:
        """Whether a callback stopped it before its end."""
        return bool(self._agent.online.stop_training) and self._agent.progress < 1

    def begin(self) -> tuple[Observations, np.ndarray]:
        """Begin the run, or go on where its checkpoint was written.

        Returns:
            The observations (lanes, ...) to act on first, and the masks bool (lanes, n_actions) of legal actions there.

        Raises:
            InputError: the checkpoint is damaged or of another run.
        """
        state, self._state = self._state, None  # its arrays are large
        everything = default_callbacks(self._agent, self._log_dir, self._callbacks, resumed=state is not None)
        self._epochs = self._parts["epochs"] = Epochs(everything, self._agent, self._evaluation, self._log_dir)
        if state:
            with checkpoint_errors_as_input_error(self._log_dir):
                self._epochs.prepare(state["parts"]["epochs"])
        self._epochs.begin()
        # Not the run's seed itself: lane i is seeded with seed + i, so that neighbouring runs would share lanes.
        seed = int(np.random.SeedSequence(self._config.seed).generate_state(1)[0])
        observations, masks = self._envs.reset(seed)
        if state:
            observations, masks = self._restore(state, observations, masks)
        self._epochs.open_window(self._windows.index)
        if not state:
            self._save(observations, masks)
        done = self._agent.steps if self._config.steps else self._windows.episodes
        if not self._quiet:
            say(introduction(self._agent, self._log_dir))
        self._progress = Progress(self._config, done, self._quiet)
        self._clock.start(self._agent.steps)
        self._observations, self._masks = observations, masks
        return observations, masks

    def _restore(
        self, state: dict[str, Any], observations: Observations, masks: np.ndarray
    ) -> tuple[Observations, np.ndarray]:
        with checkpoint_errors_as_input_error(self._log_dir):
            observations, masks, restarted = self._snapshots.restore(state, observations, masks)
        for lane in restarted:
            self._windows.restart_lane(lane)
        self._agent.episodes = self._windows.episodes  # without those that ended in the last step of a run
        return observations, masks

    def count(self, step: Step, updates: Sequence[UpdateStats]) -> None:
        """Count one step of every lane, end the windows that are full, and save a checkpoint if it is time.

        Args:
            step: the step. A return is the plain sum of its rewards, not clipped.
            updates: done after it.

        Raises:
            InputError: learning has diverged.
        """
        assert self._progress
        try:
            self._guard.check(step.rewards, updates, self._windows.episodes)
        except InputError as error:
            raise InputError(f"{error}; {self._models.kept}") from error
        ended = self._windows.add(step, updates)
        self._progress.update(self._envs.count if self._config.steps else ended)
        try:
            for window in self._windows.cut():
                is_last = self._agent.progress == 1 and window.last_episode == self._windows.episodes
                self._end_window(window, is_last)
        except InterruptedPlay:
            self._was_cut_off = True
        self._observations, self._masks = step.next_observations, step.next_masks
        if self._snapshots.is_due() and not self._was_cut_off:
            self._save(self._observations, self._masks)

    def _save(self, observations: Observations, masks: np.ndarray) -> None:
        self._claim_again_if_deleted()
        self._snapshots.save(observations, masks)

    def _end_window(self, window: Window, is_last: bool) -> None:
        """End a window: aggregate it, evaluate if it is time, and call the callbacks.

        Raises:
            InterruptedPlay: a signal asks the run to end while it evaluates.
        """
        assert self._epochs and self._progress
        self._claim_again_if_deleted()
        logs, is_best = self._logs(window), False
        self._models.window_scores = {key: logs[f"reward_{key}"] for key in ("avg", "min", "max")}
        if (self._evaluation.is_due(self._time(window.last_episode)) or is_last) and not self._signal.received:
            is_best = self._evaluate(window.last_episode, is_last)
            logs["evaluation"] = float(self._evaluation.count)
            scores = self._evaluation.scores
            kind = LOOK if self._evaluation.is_look else ""
            logs |= {kind + name: scores[name.removeprefix("greedy_")] for name in GREEDY}
        self._epochs.end_window(window.number, {"episode": window.last_episode, **logs})
        self._epochs.open_window(window.number + 1)
        self._clock.begin_window(self._agent.steps)
        self._progress.show(logs)
        if "evaluation" in logs:
            self._progress.show_evaluation(self._evaluation.scores, is_best, self._evaluation.is_look)

    def _logs(self, window: Window) -> dict[str, float]:
        agent = self._agent
        epsilon = float(agent.epsilon[0])  # of the lane that explores least
        return {
            **window.logs(epsilon),
            "epsilon": epsilon,
            "q_limit": self._guard.q_limit,
            "learning_rate": float(agent.online.optimizer.learning_rate),
            "steps_per_second": self._clock.window_speed(agent.steps),
            "steps": float(agent.steps),
            "updates": float(agent.updates),
            "memory_fill": agent.memory_fill,
        }

    def _time(self, episodes: int) -> int:
        """The time on the clock of evaluations, which counts steps if these limit the run."""
        return self._agent.steps if self._config.steps else episodes

    def _evaluate(self, episodes: int, is_last: bool) -> bool:
        """Evaluate the agent. Returns whether it is the best so far, and then saves it. One that was only looked at
        is not compared."""
        returns = self._evaluation.evaluate(self._agent.q_values, self._time(episodes), is_last).returns
        if self._evaluation.is_look:
            return False
        is_best = self._contest.enter(episodes, self._evaluation.scores, returns)
        if is_best:
            self._models.save_best(self._evaluation.scores, episodes)
        return is_best

    def _decide_contest(self) -> None:
        """Where more than one model may be the best, play on until it is clear.

        Raises:
            InterruptedPlay: a signal asks the run to end; the best model so far stays.
        """
        most = int(self._config.contest_factor * self._evaluation.count * self._config.evaluate_episodes)
        if not self._contest.is_open or not most:
            return
        if not self._quiet:
            say(f"playing up to {most:,} more episodes to choose the best model (Ctrl-C keeps the best so far)")
        best = self._contest.decide(
            lambda episodes, first: self._evaluation.play(self._agent.q_values, episodes, first).returns, most
        )
        with self._contest.lend_weights(best):
            self._models.save_best(best.scores, best.episode)

    def _claim_again_if_deleted(self) -> None:
        """If the run's folder was deleted, say so, make it again, and keep other processes out of it again."""
        with contextlib.suppress(OSError):
            if (self._log_dir / ".lock").exists():
                return
            say(f"warning: {self._log_dir} was deleted: it is made again, and the curves so far are lost")
            self._lock.release()
            self._log_dir.mkdir(parents=True, exist_ok=True)
            self._lock = lock_run(self._log_dir)
            record_start(self._log_dir, self._config)

    def end(self) -> RunResult:
        """End the run: a checkpoint to go on from, the last window, short as it may be, and the last model."""
        episodes = self._windows.episodes
        if not self._was_cut_off:
            self._save(self._observations, self._masks)
        with contextlib.suppress(InterruptedPlay):
            if window := self._windows.cut_rest():
                self._end_window(window, is_last=True)
            if not self._evaluation.is_up_to_date(self._time(episodes)) and not self._signal.received:
                self._evaluate(episodes, is_last=True)
            if not self._signal.received:
                self._decide_contest()
        if not (self._signal.received and self._agent.progress == 1):  # else it is done on resuming
            self._models.save_last(episodes)
            if self._models.last and self._agent.progress == 1:
                add_to_record(self._log_dir, ended=self._counts(episodes))
        if self._is_stopped:
            add_to_record(self._log_dir, stopped="a callback asked it to")
        return self._result(episodes)

    def _counts(self, episodes: int) -> dict[str, float]:
        return {"episodes": episodes, "steps": self._agent.steps, "seconds": round(self._clock.seconds, 1)}

    def _result(self, episodes: int) -> RunResult:
        agent, saved = self._agent, self._snapshots.seconds
        return RunResult(
            config=self._config,
            log_dir=self._log_dir,
            episodes=episodes,
            steps=agent.steps,
            updates=agent.updates,
            seconds=self._clock.seconds,
            interrupted=self._signal.received,
            stopped=self._is_stopped,
            best=self._models.best,
            last=self._models.last,
            checkpoint_seconds=saved,
            checkpoint_share=sum(saved) / self._clock.seconds_since_start,
            agent=agent,
            failure=self._models.failure,
        )

    def __enter__(self) -> Self:
        self._signal.__enter__()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        """Close all files, however the run ended. If it stopped itself, record why."""
        if isinstance(error, InputError):
            add_to_record(self._log_dir, stopped=str(error))
        if self._progress:
            self._progress.close()
        if self._epochs:
            self._epochs.end()
        self._evaluation.close()
        self._models.close()
        self._lock.release()
        self._signal.__exit__()
