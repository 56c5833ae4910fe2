"""A training run: its windows of episodes, its models, its checkpoints, and what is told of them."""

from __future__ import annotations

import contextlib
import glob
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import keras
import numpy as np
import optree
from gymnasium.vector import VectorEnv

from agent import UpdateStats
from console.errors import InputError
from console.messages import one_line, say
from console.signals import StopOnSignal
from environments.actions import action_masks
from environments.resume import get_lanes_state, set_lanes_state
from environments.spaces import Observations, check_like
from q_table import Agent, QTableAgent
from storage.checkpoint import Checkpoint, Checkpoints, checkpoint_errors_as_input_error, checkpoint_numbers
from storage.model_file import ModelInfo, save_model, save_table, suffix
from storage.run_folder import claim_folder, lock_run, record_end, record_start, record_stop
from storage.versions import versions
from training.callback_state import get_callbacks_state, prepare_callbacks, set_callbacks_state
from training.evaluation import GreedyEvaluation
from training.greedy_play import BrokenOffError
from training.progress import Progress

EVENTS = "events.out.tfevents.*"


# What of a run is written into its checkpoints as it is.
RUN_STATE = (
    "window", "episode", "_returns", "_lengths", "_episodes", "_rewards", "best_scores", "best_episode",
    "_largest_reward", "_window_steps", "_window_is_open", "_speed",
)  # fmt: skip


class Run:
    """A run of `train.py`: counts episodes, ends windows, calls callbacks, keeps models and checkpoints.

    Args:
        agent: the agent that is trained; its settings name the folders.
        envs: the environments it plays in.
        resume: the log folder of a run to go on with, from its newest whole checkpoint.
        quiet: whether it shows no progress.

    Attributes:
        name: environment, preset, seed and time of start; also the name of its folder in the logs.
        log_dir: that folder.
        episode: episodes in the windows ended so far.
        best, last: the models' paths, None before there is one.
        best_scores, best_episode: the best model's, as `greedy_play.Episodes.scores`, and the episodes played before
            it.
        evaluation: its greedy evaluations.
        elapsed: seconds that it took before it was resumed.
        checkpoint_seconds: what every checkpoint took since.

    Raises:
        InputError: the run to go on with is in use, or has no whole checkpoint.
    """

    def __init__(self, agent: Agent, envs: VectorEnv, resume: Path | None = None, quiet: bool = False) -> None:
        self.agent, self.config, self.envs, self._quiet = agent, agent.config, envs, quiet
        self.log_dir = resume or claim_folder(self.config)
        self.name = self.log_dir.name
        self._lock = lock_run(self.log_dir)
        self._checkpoints = Checkpoints(self.log_dir / "checkpoints", agent.memory)
        self._resumed: Checkpoint | None = None
        if resume:
            with checkpoint_errors_as_input_error(self.log_dir):
                self._resumed = self._checkpoints.read_newest()
        record_start(self.log_dir, self.config)
        self.episode = self.window = 0
        self.best: Path | None = None
        self.last: Path | None = None
        self._signal = StopOnSignal()
        self._broken_off = False  # in the middle of a window
        self._returns, self._lengths = np.zeros(envs.num_envs), np.zeros(envs.num_envs, int)
        self._episodes: list[tuple[float, int]] = []  # return and length of those that ended in this window
        self._updates: list[UpdateStats] = []
        self._rewards: dict[str, float] = {}
        self.best_scores: dict[str, float] = {}
        self.best_episode = 0
        self._largest_reward = 0.0  # in size, as learned from
        self._window_is_open = False
        self._ending = False
        self.elapsed = 0.0
        self.checkpoint_seconds: list[float] = []
        self.evaluation = GreedyEvaluation(self.config, lambda: self.interrupted)
        self._began = self._checkpointed = time.perf_counter()
        self._window_began, self._window_steps, self._speed = self._began, 0, 0.0
        if self._resumed:
            with checkpoint_errors_as_input_error(self.log_dir):
                self._cut_events(self._resumed.state["events"])

    @property
    def interrupted(self) -> int:
        """The number of the signal that asks the run to end, 0 if none does."""
        return self._signal.received

    @property
    def seconds(self) -> float:
        """How long the run has taken so far."""
        return self.elapsed + time.perf_counter() - self._began

    def begin(self, callbacks: Sequence[keras.callbacks.Callback]) -> tuple[Observations, np.ndarray]:
        """Begin the run, or go on where its checkpoint was written.

        Returns:
            The observations (lanes, ...) to act on first, and the masks bool (lanes, n_actions) there.
        """
        if self._resumed:
            with checkpoint_errors_as_input_error(self.log_dir):
                anew = prepare_callbacks(callbacks, self._resumed.state["callbacks"])
            for name in anew:
                say(f"warning: the callback {name} starts anew, its state is not kept")
        self._callbacks = keras.callbacks.CallbackList(
            list(callbacks), model=self.agent.online, agent=self.agent, evaluation=self.evaluation
        )
        self.agent.online.stop_training = False
        self._callbacks.on_train_begin()
        # Not the run's seed itself: lane i is seeded with seed + i, so neighbouring runs would share lanes.
        seed = int(np.random.SeedSequence(self.config.seed).generate_state(1)[0])
        observations, infos = self.envs.reset(seed=seed)
        masks = action_masks(infos, (self.envs.num_envs, self.agent.n_actions))
        if self._resumed:
            with checkpoint_errors_as_input_error(self.log_dir):
                observations, masks = self._restore(self._resumed, observations, masks)
        if not self.agent.online.stop_training:
            self._open_window()
        if not self._resumed:
            self.save_checkpoint(observations, masks)
        self._resumed = None  # its arrays are large
        total, unit, done = self.config.episodes, "episode", self._played
        if self.config.steps:
            total, unit, done = self.config.steps, "step", self.agent.steps
        self._progress = Progress(total, unit, done, self._quiet)
        self._began = self._window_began = self._checkpointed = time.perf_counter()
        return observations, masks

    def _open_window(self) -> None:
        if not self._window_is_open and self.agent.progress < 1:
            self._window_is_open = True
            self._callbacks.on_epoch_begin(self.window)

    @property
    def _limits(self) -> list[int | None]:
        return [self.config.episodes, self.config.steps]

    @property
    def _played(self) -> int:
        return self.episode + len(self._episodes)

    def count(self, rewards: np.ndarray, ended: np.ndarray, updates: Sequence[UpdateStats]) -> None:
        """Count one step of every lane, and end the windows that are full.

        Args:
            rewards: float (lanes,). An episode's return is their plain sum.
            ended: bool (lanes,).
            updates: of the updates done after the step.

        Raises:
            InputError: a reward or the loss is not finite, or Q-values ran away.
        """
        if not np.isfinite(rewards).all():
            raise InputError(
                f"{self.config.env} gave a reward that is no finite number, so the run was stopped: look in its step "
                f"for a division by zero or an overflow; {self._kept}"
            )
        clip = self.config.reward_clip or np.inf
        self._largest_reward = max(self._largest_reward, float(min(clip, np.abs(rewards).max())))
        for update in updates:
            self._refuse_divergence(update)
        self._returns += rewards
        self._lengths += 1
        self._updates += updates
        lanes = np.flatnonzero(ended)[: self.config.episodes - self._played]
        self._episodes += zip(self._returns[lanes].tolist(), self._lengths[lanes].tolist(), strict=True)
        self._returns[lanes] = self._lengths[lanes] = 0
        self._progress.update(len(rewards) if self.config.steps else len(lanes))
        size = self.config.aggregate_every
        full = len(self._episodes) // size * size
        if full:
            episodes, updates, self._updates = self._episodes[:full], self._updates, []
            self._episodes = self._episodes[full:]
            try:
                for first in range(0, full, size):
                    self.end_window(episodes[first : first + size], updates)
            except BrokenOffError:
                self._broken_off = True

    def checkpoint_if_due(self, observations: Observations, masks: np.ndarray) -> None:
        """Write a checkpoint every `checkpoint_every` seconds; see `begin` for the arguments."""
        every = self.config.checkpoint_every
        if every and time.perf_counter() - self._checkpointed >= every:
            self.save_checkpoint(observations, masks)

    def save_checkpoint(self, observations: Observations, masks: np.ndarray) -> None:
        """Write a checkpoint; if that fails, say so and leave it to the next one. Not of an agent that has diverged."""
        if not self.config.checkpoint_every:
            return
        began = time.perf_counter()
        self._claim_again_if_gone()
        try:
            state = self._get_state(observations, masks)
            if all(np.isfinite(variable).all() for variable in state["agent"]["variables"]):
                self._checkpoints.write(self.agent.steps, state)
        except OSError as error:
            folder, reason = self._checkpoints.folder, error.strerror or error
            kept = "the last one stays" if checkpoint_numbers(folder) else "there is none yet"
            say(f"warning: no checkpoint could be written in {folder} ({reason}); {kept}")
        self._checkpointed = time.perf_counter()
        self.checkpoint_seconds.append(self._checkpointed - began)

    def _claim_again_if_gone(self) -> None:
        """If somebody deleted the run's folder, say so, make it again, and keep other processes out of it again."""
        with contextlib.suppress(OSError):
            if (self.log_dir / ".lock").exists():
                return
            say(f"warning: {self.log_dir} was deleted: it is made again, and what was told there is lost")
            self._lock.release()
            self.log_dir.mkdir(parents=True, exist_ok=True)
            self._lock = lock_run(self.log_dir)
            record_start(self.log_dir, self.config)

    def _get_state(self, observations: Observations, masks: np.ndarray) -> dict[str, Any]:
        return {
            "run": {name: getattr(self, name) for name in RUN_STATE},
            "updates": np.array(self._updates, float).reshape(-1, len(UpdateStats._fields)),
            "best": self.best.name if self.best else None,
            "elapsed": self.seconds,
            "agent": self.agent.get_state(),
            "lanes": get_lanes_state(self.envs),
            "observations": optree.tree_leaves(observations),
            "masks": masks,
            "evaluation": self.evaluation.get_state(),
            "stopped_at": self._limits if self.agent.online.stop_training else None,
            "global generators": {"random": random.getstate(), "numpy": np.random.get_state(legacy=False)},
            "callbacks": get_callbacks_state(self._callbacks.callbacks),
            "events": {path.name: path.stat().st_size for path in self.log_dir.glob(EVENTS)},
        }

    def _restore(
        self, checkpoint: Checkpoint, observations: Observations, masks: np.ndarray
    ) -> tuple[Observations, np.ndarray]:
        """Go on from a checkpoint. Takes what the environments' reset gave, returns what `begin` does."""
        state = checkpoint.state
        self.agent.set_state(state["agent"], checkpoint.segments)
        for name in RUN_STATE:
            found, needed = state["run"][name], getattr(self, name)
            if type(found) is not type(needed) or np.shape(self._returns) != np.shape(state["run"]["_returns"]):
                raise TypeError(f"{name} is {found!r}")
            setattr(self, name, found)
        self._episodes = [(float(total), int(length)) for total, length in self._episodes]
        self.agent.episodes = self._played  # fewer if the run had ended, and with it the last step's surplus
        self._updates = [UpdateStats(*update) for update in state["updates"].tolist()]
        self.elapsed = state["elapsed"]
        kept = list(Path(self.config.models_dir).glob(f"{glob.escape(self.name)}__best__*{suffix(self.config)}"))
        self.best = next((path for path in kept if path.name == state["best"]), kept[0] if kept else None)
        self.evaluation.set_state(state["evaluation"])
        set_callbacks_state(self._callbacks.callbacks, state["callbacks"])
        leaves, structure = optree.tree_flatten(observations)
        found = [*state["observations"], state["masks"]]
        for array, needed in zip(found, [*leaves, masks], strict=True):
            check_like("observations and masks", array, np.asarray(needed))
        observations, masks = optree.tree_unflatten(structure, state["observations"]), state["masks"]
        anew = set_lanes_state(self.envs, state["lanes"], observations, masks)
        if anew:
            self._checkpoints.rewrite_newest_step()
        for lane, reason in anew.items():
            self.agent.cut(lane)
            self._returns[lane] = self._lengths[lane] = 0
            say(f"warning: lane {lane} starts anew, so the run is not the same as without a break: {one_line(reason)}")
        self.agent.online.stop_training = state["stopped_at"] == self._limits  # a run that was extended goes on
        kind, numbers, gauss = state["global generators"]["random"]
        random.setstate((kind, tuple(numbers), gauss))
        np.random.set_state(state["global generators"]["numpy"])
        return observations, masks

    def _cut_events(self, sizes: dict[str, int]) -> None:
        """Make the event files what they were at the checkpoint: what came after it will come again."""
        for path in self.log_dir.glob(EVENTS):
            if path.name not in sizes:
                path.unlink()
            elif path.stat().st_size >= sizes[path.name]:
                os.truncate(path, sizes[path.name])
            else:
                say(f"warning: {path} is shorter than it was: points are missing from the curves")

    def end_window(self, episodes: Sequence[tuple[float, int]], updates: Sequence[UpdateStats]) -> None:
        """End a window of episodes: aggregate it, evaluate when it is time, and call the callbacks.

        The callbacks' logs hold, as floats: episode (the window's last), reward_avg, reward_min, reward_max,
        episode_length, epsilon, loss, q_mean, q_max (nan before the first update), q_limit (the size that rewards so
        far and the discount allow), learning_rate, steps_per_second, steps, updates, memory_fill (0 to 1), evaluation
        (the number of this window's greedy evaluation, nan if there is none), and of the latest one greedy_avg,
        greedy_min, greedy_max, greedy_overestimation (see `greedy_play.Episodes`).

        Args:
            episodes: return and length (steps) of each.
            updates: of the updates done meanwhile.

        Raises:
            BrokenOffError: a signal asks the run to end, while it evaluates.
        """
        self._claim_again_if_gone()
        logs = self._aggregate(episodes, updates)
        self._rewards = {key: logs[f"reward_{key}"] for key in ("avg", "min", "max")}
        self.episode += len(episodes)
        is_last = self._ending or self.episode == self.config.episodes
        logs["evaluation"] = np.nan
        if (self.evaluation.is_due(self._clock) or is_last) and not self.interrupted:
            self._evaluate()
            logs["evaluation"] = float(self.evaluation.count)
        logs |= {
            f"greedy_{key}": self.evaluation.scores.get(key, np.nan) for key in ("avg", "min", "max", "overestimation")
        }
        self._callbacks.on_epoch_end(self.window, {"episode": self.episode, **logs})
        self.window += 1
        self._window_is_open = False
        if not self.agent.online.stop_training:
            self._open_window()
        self._window_began, self._window_steps = time.perf_counter(), self.agent.steps
        self._progress.show(logs)

    def _refuse_divergence(self, update: UpdateStats) -> None:
        """Raise InputError if learning has run away."""
        mend = f"lower --learning-rate {self.config.learning_rate:g}"
        more = ""
        if self.config.method == "dqn":
            mend += " or set --gradient-clip"
            more = ", copy to the target network more seldom (--target-every) or try --double"
        where = f"after {self._played:,} episodes, so the run was stopped"
        if not np.isfinite(update.loss):
            raise InputError(f"the loss became {update.loss} {where}: {mend}; {self._kept}")
        # Twice what is possible, as Q-values may overshoot for a while, and 10 since a new network starts somewhere.
        if abs(update.q_mean) > 2 * self._q_limit + 10:
            raise InputError(
                f"Q-values average {update.q_mean:,.1f} {where}: rewards up to {self._largest_reward:g} and "
                f"--discount {self.config.discount:g} allow at most {self._q_limit:,.1f}. They ran away: {mend}{more}; "
                f"{self._kept}"
            )

    @property
    def _kept(self) -> str:
        return f"the best model before that is {self.best}" if self.best else "there was no model to keep yet"

    @property
    def _q_limit(self) -> float:
        discount = self.config.discount
        return self._largest_reward / (1 - discount) if discount < 1 else np.inf

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
            "q_limit": self._q_limit,
            "learning_rate": float(agent.online.optimizer.learning_rate),
            "steps_per_second": self._speed,
            "steps": float(agent.steps),
            "updates": float(agent.updates),
            "memory_fill": len(agent.memory) / agent.memory.maxlen,
        }

    @property
    def _clock(self) -> int:
        return self.agent.steps if self.config.steps else self.episode

    def _evaluate(self) -> None:
        if self.evaluation.is_best(self.agent.q_values, self._clock) and (
            best := self._save("best", self.evaluation.scores)
        ):
            self.best, self.best_scores, self.best_episode = best, self.evaluation.scores, self.episode

    def _save(self, kind: str, scores: dict[str, float]) -> Path | None:
        """Save the model instead of earlier ones of its kind. Returns its path; None, with a warning, if that fails."""
        name = f"{self.name}__{kind}__{scores['max']:.2f}max_{scores['avg']:.2f}avg_{scores['min']:.2f}min"
        path = Path(self.config.models_dir) / (name + suffix(self.config))
        saved = ModelInfo(self.config, *self.evaluation.spaces, self.episode, scores, versions())
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(self.agent, QTableAgent):
                save_table(path, self.agent.table, saved)
            else:
                save_model(path, self.agent.online, saved)
            for older in path.parent.glob(f"{glob.escape(self.name)}__{kind}__*{path.suffix}"):
                if older != path:
                    older.unlink()
        except OSError as error:
            say(f"warning: {path} cannot be written ({error.strerror or error}); training goes on")
            return None
        return path

    def end(self, observations: Observations, masks: np.ndarray) -> None:
        """End the run: a checkpoint to go on from, then the last window, short as it may be, and the last model, named
        by that window's rewards."""
        if not self._broken_off:
            self.save_checkpoint(observations, masks)
        self._ending = True
        with contextlib.suppress(BrokenOffError):
            if self._episodes:
                self.end_window(self._episodes, self._updates)
            if not self.evaluation.has_seen(self._clock) and not self.interrupted:
                self._evaluate()
        if self._rewards and not (self.interrupted and self.agent.progress == 1):  # what is left is done on resuming
            self.last = self._save("last", self._rewards)
        if self.last and self.agent.progress == 1:
            with contextlib.suppress(OSError):  # then the run counts as unfinished, and resuming ends it again
                record_end(self.log_dir, self.episode, self.agent.steps)

    def __enter__(self) -> Self:
        self._signal.__enter__()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        """Let the callbacks close their files, however the run ended. If it stopped itself, its record says why."""
        if isinstance(error, InputError):
            with contextlib.suppress(OSError):
                record_stop(self.log_dir, str(error))
        if hasattr(self, "_progress"):
            self._progress.close()
            self._callbacks.on_train_end()
        self.evaluation.close()
        self._lock.release()
        self._signal.__exit__()
