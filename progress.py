"""What a run tells: how far it is, in a bar on a terminal and in lines elsewhere, and in the end what it came to."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import psutil
from tqdm import tqdm

from checkpoint import checkpoint_numbers
from config import Config
from model_file import flags_to_repeat
from q_table import QTableAgent
from startup import say

if TYPE_CHECKING:
    from run import Run

# The time left is told from the speed of about the last quarter of a minute. Early episodes are far longer than later
# ones, so the speed since the start would tell of what is over; that of the last second would jump at every evaluation.
SECONDS_BETWEEN, SMOOTHING = 0.5, 0.03
BAR = "{bar}| {n_fmt}/{total_fmt}, {remaining} left{postfix}"
STORY = "http://localhost:6006/#custom_scalars"  # where TensorBoard shows the charts of `tensorboard_callback.story`


class Progress:
    """Shows a run on standard error.

    Args:
        total: episodes or steps of the run.
        unit: which of them, "episode" or "step".
        done: of them, before a resumed run went on.
        quiet: show nothing.
    """

    def __init__(self, total: int, unit: str, done: int, quiet: bool = False) -> None:
        on_terminal = sys.stderr.isatty() and not quiet
        self._unit, self._prints_lines = unit, not (quiet or on_terminal)
        self._width = len(f"{total:,}")
        # There the bar still counts and times what the lines tell.
        self._nowhere = open(os.devnull, "w")  # noqa: SIM115 (closed in `close`)
        self._bar = tqdm(
            total=total, initial=done, unit=unit, unit_scale=True, bar_format=BAR, dynamic_ncols=True,
            mininterval=SECONDS_BETWEEN, smoothing=SMOOTHING, file=sys.stderr if on_terminal else self._nowhere,
            disable=False,
        )  # fmt: skip

    def update(self, count: int) -> None:
        """So many more are done."""
        self._bar.update(count)

    def show(self, logs: Mapping[str, float]) -> None:
        """Show a window's numbers, named as in `Run.end_window`."""
        low, high = logs["reward_min"], logs["reward_max"]
        if self._prints_lines:
            done = f"{self._unit} {self._bar.n:>{self._width},}"
            say(
                f"{done}  reward {logs['reward_avg']:8.1f}  ({low:7.1f} to {high:7.1f})  "
                f"epsilon {logs['epsilon']:.3f}  {logs['steps_per_second']:7,.0f} steps/s  {self._left():>7} left"
            )
        else:
            self._bar.set_postfix_str(
                f"avg {logs['reward_avg']:.1f} ({low:.0f} to {high:.0f}) eps {logs['epsilon']:.2f} "
                f"{logs['steps_per_second']:,.0f} steps/s",
                refresh=False,
            )

    def _left(self) -> str:
        told = self._bar.format_dict
        left = max(0, told["total"] - told["n"])  # the last step of all lanes may be one too many
        return tqdm.format_interval(left / told["rate"]) if told["rate"] else "?"

    def close(self) -> None:
        """End the line."""
        self._bar.close()
        self._nowhere.close()


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
    repeated, lines = flags_to_repeat(run.config), []
    if model := run.best or run.last:
        name = f"{shlex.quote(str(model))} {repeated}".rstrip()
        lines += [f"replay      python play.py {name}", f"score       python evaluate.py {name}"]
    if run.interrupted and checkpoint_numbers(run.log_dir / "checkpoints"):
        models = run.config.models_dir
        name = f"{shlex.quote(str(run.log_dir))} {repeated}".rstrip()
        name += f" --models-dir {shlex.quote(models)}" if models != Config.models_dir else ""
        lines.append(f"go on       python train.py --resume {name}")
    return lines
