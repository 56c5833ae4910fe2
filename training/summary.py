"""The lines that a run ends with."""

from __future__ import annotations

import shlex

import psutil

from config import Config
from q_table import QTableAgent
from storage.checkpoint import checkpoint_numbers
from storage.trust import trust_flags
from training.run import Run

STORY = "http://localhost:6006/#custom_scalars"  # where TensorBoard shows the charts of `tensorboard_callback.story`


def summary(run: Run) -> str:
    """The lines that a run ends with."""
    agent, config = run.agent, run.config
    minutes, seconds = divmod(round(run.seconds), 60)
    lines = [
        f"{run.episode:,} episodes, {agent.steps:,} steps, {agent.updates:,} updates in {minutes} min {seconds} s"
        + (" (interrupted)" if run.interrupted else "")
    ]
    if not (run.best or run.last):
        lines.append("no episode ended, so there is no model: raise --steps")
    if not agent.updates:
        lines.append(f"no update was made: the memory never held --learn-start {config.learn_start} transitions")
    if run.best:
        scores = run.best_scores
        lines += [
            f"best model  {run.best}",
            f"            greedy return avg {scores['avg']:.2f}, min {scores['min']:g}, max {scores['max']:g} over "
            f"{config.evaluate_episodes:,} starts, after {run.best_episode:,} episodes",
        ]
    if run.last:
        lines.append(f"last model  {run.last}")
    process = psutil.Process().memory_info().rss / 1e9
    held, size = "replay", agent.memory.nbytes * len(agent.memory) / agent.memory.maxlen
    if isinstance(agent, QTableAgent):
        held, size = "the table", agent.table.nbytes
    lines.append(f"memory      {process:.2f} GB, of which {held} {size / 1e9:.2f}")
    if run.checkpoint_seconds:
        written, taken = len(run.checkpoint_seconds), sum(run.checkpoint_seconds)
        lines.append(f"checkpoints {written} in {taken:.1f} s, {taken / (run.seconds - run.elapsed):.1%} of the time")
    lines.append(f"watch       tensorboard --logdir {shlex.quote(config.logs_dir)}, at {STORY}")
    return "\n".join([*lines, *_commands(run)])


def _commands(run: Run) -> list[str]:
    repeated, lines = trust_flags(run.config), []
    if model := run.best or run.last:
        name = f"{shlex.quote(str(model))} {repeated}".rstrip()
        lines += [f"replay      python play.py {name}", f"score       python evaluate.py {name}"]
    if run.interrupted and checkpoint_numbers(run.log_dir / "checkpoints"):
        models = run.config.models_dir
        name = f"{shlex.quote(str(run.log_dir))} {repeated}".rstrip()
        name += f" --models-dir {shlex.quote(models)}" if models != Config.models_dir else ""
        lines.append(f"go on       python train.py --resume {name}")
    return lines
