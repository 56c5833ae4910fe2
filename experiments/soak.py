"""Trains for long, and checks that the process neither grows nor slows down: python -m experiments.soak"""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
import time
from typing import Any, NamedTuple

import numpy as np

from config import Config
from console.arguments import at_least, make_parser
from console.signals import end_quietly_on_ctrl_c
from console.tensorflow_import import import_tensorflow

WARM_UP = 0.1  # share of the run in which the memory fills and TensorFlow sets up its pools


class Reading(NamedTuple):
    """The state of the process at the end of a window.

    Attributes:
        updates: done so far.
        seconds: on a clock.
        resident: bytes of memory.
        reference: seconds that a fixed computation took, a measure of the machine's speed at that moment.
        files: open files.
        threads: number of threads.
    """

    updates: int
    seconds: float
    resident: int
    reference: float
    files: int
    threads: int


def read_all(updates: int, seed: int) -> list[Reading]:
    """Train for this many updates, with checkpoints, and take a reading at the end of every window."""
    import_tensorflow()
    import keras
    import psutil

    from train import train

    readings: list[Reading] = []
    matrix = np.random.default_rng(0).random((512, 512), np.float32)

    def reference() -> float:
        began = time.perf_counter()
        for _ in range(5):
            matrix @ matrix
        return time.perf_counter() - began

    class Watch(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
            process = psutil.Process()
            files = process.num_fds() if os.name == "posix" else len(process.open_files())
            memory = process.memory_info().rss
            now, updates = time.perf_counter(), int((logs or {})["updates"])
            readings.append(Reading(updates, now, memory, reference(), files, process.num_threads()))

    with tempfile.TemporaryDirectory() as folder:
        lanes = 8
        config = Config(
            seed=seed,
            lanes=lanes,
            learn_every=lanes,  # one update for each step of all lanes
            batch_size=32,
            memory_size=20_000,
            episodes=10**9,
            steps=updates * lanes + 1_000,
            evaluate_every=updates * lanes // 20,
            evaluate_episodes=200,
            models_dir=f"{folder}/models",
            logs_dir=f"{folder}/logs",
        )
        train(config, [Watch()])
    return readings


def report(readings: list[Reading]) -> tuple[str, bool]:
    """Compare the last tenth of a run with the first tenth after the warm-up.

    Returns:
        The growth and slowdown as text, and whether they are within the goals: memory grows by less than 2%, speed
        falls by 5% at most, files and threads do not grow.
    """
    counted = [reading for reading in readings if reading.updates > WARM_UP * readings[-1].updates]
    tenth = max(2, len(counted) // 10)
    first, last = counted[:tenth], counted[-tenth:]
    speeds = [
        np.median([(b.updates - a.updates) / (b.seconds - a.seconds) for a, b in itertools.pairwise(part)])
        for part in (first, last)
    ]
    machine = [1 / np.median([reading.reference for reading in part]) for part in (first, last)]
    memory = [np.mean([reading.resident for reading in part]) for part in (first, last)]
    lines = [
        f"updates     {readings[-1].updates:,} in {readings[-1].seconds - readings[0].seconds:,.0f} s",
        f"memory      {memory[0] / 1e6:,.0f} MB, at the end {memory[1] / 1e6:,.0f} ({memory[1] / memory[0] - 1:+.2%})",
        f"speed       {speeds[0]:,.1f} updates/s, at the end {speeds[1]:,.1f} ({speeds[1] / speeds[0] - 1:+.1%})",
        f"the machine {machine[1] / machine[0] - 1:+.1%}, by a fixed computation timed in between",
        f"open files  {first[0].files}, at the end {last[-1].files}",
        f"threads     {first[0].threads}, at the end {last[-1].threads}",
    ]
    flat = memory[1] < 1.02 * memory[0] and speeds[1] >= 0.95 * speeds[0]
    return "\n".join(lines), flat and last[-1].files <= first[0].files and last[-1].threads <= first[0].threads


def main() -> None:
    """Run the command line."""
    end_quietly_on_ctrl_c()
    parser = make_parser(__doc__ or "")
    parser.add_argument("--updates", type=at_least(1_000), default=200_000, help="at least (default: %(default)s)")
    parser.add_argument("--seed", type=at_least(0), default=1, help="of the run (default: %(default)s)")
    arguments = parser.parse_args()
    text, is_flat = report(read_all(arguments.updates, arguments.seed))
    print(text)
    sys.exit(0 if is_flat else 1)


if __name__ == "__main__":
    main()
