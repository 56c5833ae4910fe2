"""The lines that a run begins and ends with."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

import psutil

from config import Config
from console.commands import script, tool
from storage.checkpoint import checkpoint_numbers
from storage.run_folder import models_folder
from storage.trust import trust_flags
from training.agents import Agent
from training.result import RunResult

CHARTS_PAGE = "http://localhost:6006/#custom_scalars"  # where TensorBoard shows the charts of `training.tags`


def introduction(agent: Agent, log_dir: Path) -> str:
    """Introduce a run that begins or goes on: its name, what learns, where its files go, and how to watch it."""
    config = agent.config
    after = f", goes on after {agent.episodes:,} episodes" if agent.steps else ""
    return "\n".join(
        [
            f"run         {log_dir.name}{after}",
            f"learner     {agent.describe()}",
            f"models in   {models_folder(config, log_dir)}",
            f"logs in     {log_dir}",
            f"watch       {_watch(config)}",
        ]
    )


def describe(scores: Mapping[str, float]) -> str:
    """Describe greedy play in short."""
    possible = f" of {scores['possible']:.2f} possible from these starts" if "possible" in scores else ""
    won = f", won {_percent(scores['won'])}" if "won" in scores else ""
    return f"greedy {scores['avg']:.2f}{possible}{won}"


def _percent(share: float) -> str:
    """A share as a percentage that says 100% only of all."""
    return f"{share:.0%}" if share in (0, 1) else f"{min(max(share, 0.001), 0.999):.1%}"


def _watch(config: Config) -> str:
    return f"{tool('tensorboard', '--logdir', config.logs_dir)}, at {CHARTS_PAGE}"


def summary(result: RunResult) -> str:
    """Sum up a run: what was done, its models and scores, and the commands to go on with."""
    config, minutes = result.config, divmod(round(result.seconds), 60)
    lines = [
        f"{result.episodes:,} episodes, {result.steps:,} steps, {result.updates:,} updates in {minutes[0]} min "
        f"{minutes[1]} s{' (interrupted)' * bool(result.interrupted)}{' (stopped by a callback)' * result.stopped}"
    ]
    if result.failure:
        lines.append(f"{result.failure}: name another --models-dir, or make room")
    elif not (result.best or result.last):
        lines.append("no episode ended, so there is no model: raise --steps")
    if not result.updates:
        lines.append(f"no update was made: the memory never held --learn-start {config.learn_start} transitions")
    if result.best:
        scores = result.best.scores
        lines += [
            f"best model  {result.best.path}",
            f"            {describe(scores)}",
            f"            min {scores['min']:g}, max {scores['max']:g} over {int(scores['episodes']):,} starts, "
            f"after {result.best.episode:,} episodes",
        ]
    if result.last:
        lines.append(f"last model  {result.last.path}")
    process, (held, size) = psutil.Process().memory_info().rss, result.agent.memory_use()
    lines.append(f"memory      {process / 1e9:.2f} GB, of which {held} {size / 1e9:.2f}")
    if saved := result.checkpoint_seconds:
        lines.append(f"checkpoints {len(saved)} in {sum(saved):.1f} s, {result.checkpoint_share:.1%} of the time")
    lines.append(f"watch       {_watch(config)}")
    return "\n".join([*lines, *_commands(result)])


def _commands(result: RunResult) -> list[str]:
    config, trust = result.config, shlex.split(trust_flags(result.config))
    lines = []
    if model := result.best or result.last:
        for what, name in (("replay", "play.py"), ("score", "evaluate.py")):
            lines.append(f"{what:<12}{script(name, str(model.path), *trust)}")
    if result.interrupted and checkpoint_numbers(result.log_dir / "checkpoints"):
        folder = ["--models-dir", config.models_dir] if config.models_dir != Config.models_dir else []
        lines.append(f"go on       {script('train.py', '--resume', str(result.log_dir), *trust, *folder)}")
    return lines
