"""Run a job on Ray Tune, in a session of Ray."""

from __future__ import annotations

import contextlib
import math
import signal
import socket
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster.job import Job
from cluster.results import Row
from cluster.search_space import parse_search
from cluster.trial import SCORE, clock_of
from console.messages import say

FAILURES = 3  # times that a run whose process died goes on
COLUMNS = ("steps", "episode", "seconds", "run", "failure")  # of a table, after what sets a run apart and its score


class Interrupted(Exception):
    """A job was ended by a signal, of this number."""

    def __init__(self, number: int) -> None:
        self.number = number


def run_job(job: Job, folder: Path, trial: Callable[[dict[str, Any]], None]) -> list[Row]:
    """Run what is left of a job.

    Args:
        job: what to train.
        folder: of the job, where Tune keeps how far it is.
        trial: trains once, with these settings, in a process of Ray's.

    Returns:
        A row for each run, the best first.

    Raises:
        Interrupted: by Ctrl-C or SIGTERM. The job can go on.
    """
    from ray import tune

    trainable = tune.with_resources(trial, {"cpu": job.cpus})
    state = str(folder.resolve() / "ray")
    if tune.Tuner.can_restore(state):
        tuner = tune.Tuner.restore(state, trainable, resume_unfinished=True, resume_errored=True)
    else:
        tuner = _new_tuner(job, folder, trainable)
    with warnings.catch_warnings(), _signals_received() as received:
        warnings.filterwarnings("ignore", message="The reported value is ignored")  # by Optuna, of a run that went on
        results = tuner.fit()
    if received:
        raise Interrupted(received[0])
    each = [results[i] for i in range(len(results))]
    rows = [row_of(result.config or {}, result.metrics or {}, job.varied) for result in each]
    return sorted(rows, key=lambda row: -row[SCORE])


def _new_tuner(job: Job, folder: Path, trainable: Any) -> Any:
    import optuna
    from ray import tune
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    clock, limit = clock_of(job.config)
    options: dict[str, Any] = {"metric": SCORE, "mode": "max"}
    if job.search:
        varied = {name: values.domain() for name, values in parse_search(job.search).items()}
        scheduler = asha(clock, limit)
        options |= {"search_alg": OptunaSearch(seed=0), "num_samples": job.trials, "scheduler": scheduler}
    else:
        varied = {"seed": tune.grid_search(job.seeds)}
    return tune.Tuner(
        trainable,
        param_space={**job.settings, **varied},
        tune_config=tune.TuneConfig(**options),
        run_config=tune.RunConfig(
            name="ray",
            storage_path=str(folder.resolve()),
            failure_config=tune.FailureConfig(max_failures=FAILURES),
            callbacks=[_live(job)],
            verbose=0,
        ),
    )


def asha(clock: str, limit: int) -> Any:
    """Make the scheduler that stops the worse half of the runs after three and after six tenths of their time.

    Nothing is stopped later. At its own `max_t` it would stop a run that is about to choose and save its models.
    """
    from ray.tune.schedulers import ASHAScheduler

    return ASHAScheduler(
        time_attr=clock, max_t=int(1.15 * limit) + 1, grace_period=max(1, int(0.3 * limit)), reduction_factor=2
    )


def _live(job: Job) -> Any:
    from ray import tune

    clock, _ = clock_of(job.config)

    class Live(tune.Callback):
        """Prints every score as it comes."""

        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **_: Any) -> None:
            name, score = name_of(trial.config, job.varied), result.get(SCORE, math.nan)
            kept = ", of the model that it keeps" * ("seconds" in result)
            say(f"{name}  {clock} {result.get(clock, 0):>9,}  {SCORE} {score:.2f}{kept}")

        def on_trial_error(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
            say(f"warning: the process of {name_of(trial.config, job.varied)} died")

    return Live()


def name_of(settings: Mapping[str, Any], varied: Sequence[str]) -> str:
    """Return what sets a run apart, as in "learning_rate=0.00123 target_every=50"."""
    values = ((name, settings.get(name)) for name in varied)
    return " ".join(f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}" for name, value in values)


def row_of(settings: Mapping[str, Any], metrics: Mapping[str, Any], varied: Sequence[str]) -> Row:
    """Return the row of a run: what set it apart, its score and where it ended."""
    found = {name: metrics.get(name, "") for name in COLUMNS}
    return {**{name: settings.get(name) for name in varied}, SCORE: metrics.get(SCORE, -math.inf), **found}


@contextlib.contextmanager
def _signals_received() -> Iterator[list[int]]:
    """Give a list that holds the numbers of the signals that came, once the block has ended.

    Tune handles Ctrl-C in order, but says nothing of it. Python also writes the number of each signal to a socket.
    """
    received: list[int] = []
    reader, writer = socket.socketpair()
    for end in (reader, writer):
        end.setblocking(False)
    before = signal.set_wakeup_fd(writer.fileno())
    previous = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, previous)
        signal.set_wakeup_fd(before)
        with contextlib.suppress(BlockingIOError):
            received += reader.recv(64)
        reader.close()
        writer.close()
