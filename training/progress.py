"""The progress of a run: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

from tqdm import tqdm

from config import Config
from console.messages import say
from training.summary import describe

# The time left follows from the speed of about the last quarter of a minute: early episodes are far longer than later
# ones, so the speed since the start would mislead, and that of the last second would jump at every evaluation.
SECONDS_BETWEEN, SMOOTHING = 0.5, 0.03
BAR = "{bar}| {n_fmt}/{total_fmt}, {remaining} left{postfix}"


class Progress:
    """Shows a run on standard error.

    Args:
        config: a run counts steps if they limit it, else episodes.
        done: how many of them are done, if the run was resumed.
        quiet: whether to show nothing.
    """

    def __init__(self, config: Config, done: int, quiet: bool = False) -> None:
        on_terminal = (sys.stderr.isatty() or "ipykernel" in sys.modules) and not quiet  # notebooks draw a bar, too
        total = config.steps or config.episodes
        self._unit, self._quiet = "step" if config.steps else "episode", quiet
        self._prints_lines = not (quiet or on_terminal)
        self._width, self._greedy = len(f"{total:,}"), ""
        # Off a terminal tqdm writes to nowhere; its counter and its estimate of the time left are used all the same.
        self._nowhere = open(os.devnull, "w")  # noqa: SIM115 (closed in `close`)
        self._bar = tqdm(
            total=total, initial=done, unit=self._unit, unit_scale=True, bar_format=BAR, dynamic_ncols=True,
            mininterval=SECONDS_BETWEEN, smoothing=SMOOTHING, file=sys.stderr if on_terminal else self._nowhere,
            disable=False,
        )  # fmt: skip

    def update(self, count: int) -> None:
        """Add steps or episodes."""
        self._bar.update(count)

    def show(self, logs: Mapping[str, float]) -> None:
        """Show the numbers of a window."""
        low, high = logs["reward_min"], logs["reward_max"]
        if self._prints_lines:
            done = f"{self._unit} {self._bar.n:>{self._width},}"
            say(
                f"{done}  reward {logs['reward_avg']:8.1f}  ({low:7.1f} to {high:7.1f})  "
                f"epsilon {logs['epsilon']:.3f}  {logs['steps_per_second']:7,.0f} steps/s  {self._left():>7} left"
            )
        else:
            self._bar.set_postfix_str(
                f"avg {logs['reward_avg']:.1f} ({low:.0f} to {high:.0f}){self._greedy} eps {logs['epsilon']:.2f} "
                f"{logs['steps_per_second']:,.0f} steps/s",
                refresh=False,
            )

    def show_evaluation(self, scores: Mapping[str, float], is_best: bool, is_look: bool) -> None:
        """Show a greedy evaluation, and whether its model is the best so far. A look is said to be one, since it
        chooses no model."""
        self._greedy = f" greedy {scores['avg']:.1f}"
        if not self._quiet:
            notes = f"{', best so far' * is_best}{', a first look' * is_look}"
            say(f"{self._unit} {self._bar.n:>{self._width},}  {describe(scores)}{notes}")

    def _left(self) -> str:
        bar = self._bar.format_dict
        left = max(0, bar["total"] - bar["n"])  # the last step of all lanes may be one too many
        return tqdm.format_interval(left / bar["rate"]) if bar["rate"] else "?"

    def close(self) -> None:
        """End the line."""
        self._bar.close()
        self._nowhere.close()
