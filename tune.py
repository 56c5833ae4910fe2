"""Train with many seeds, or search for settings, on all cores or on a Ray cluster: `python tune.py --seeds 1 2 3`"""

from __future__ import annotations

import console.requirements  # noqa: F401 (first of all: it says what is missing)

# isort: split
import argparse
import contextlib
import json
import math
import signal
import socket
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from cluster.ray_session import check_ray, ray_session
from cluster.results import Row, over_seeds, table, write_csv
from cluster.search_space import check_search, parse_search
from cluster.trial import SCORE, clock_of, run_trial
from config import Config
from console.arguments import LATEST, at_least, check_writable, make_parser
from console.commands import script
from console.errors import InputError, exit_on_bad_input
from console.messages import say
from console.settings import flag_of
from console.signals import end_quietly_on_ctrl_c
from environments.check import check_env
from storage.atomic import atomic_write
from training.command import parse_command_line

FAILURES = 3  # times that a trial whose process died goes on


class Interrupted(Exception):
    """The job was ended by a signal, of this number."""

    def __init__(self, number: int) -> None:
        self.number = number


class Job(NamedTuple):
    """What is to be trained: it lies beside the results, so that an interrupted job goes on.

    Attributes:
        settings: of all runs, as `Config.from_preset` takes them.
        seeds: one run for each; empty for a search.
        search: what a search changes, as it was typed.
        trials: of a search.
        cpus: of each run.
    """

    settings: dict[str, Any]
    seeds: list[int]
    search: list[str]
    trials: int
    cpus: int


def parse_arguments(arguments: Sequence[str] | None = None) -> tuple[argparse.Namespace, Job | None]:
    """Read and check the command line. Without a job, one is resumed.

    Raises:
        InputError: a setting or what to search is wrong.
    """
    parser = make_parser(
        "Train with many seeds, or search for settings, with all of train.py's flags. Each run is an ordinary one, in "
        "logs and models.",
        usage="%(prog)s (--seeds S ... | --search NAME=... | --resume) [flags of train.py]",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--seeds", type=at_least(0), nargs="+", metavar="SEED", help="train once with each")
    what.add_argument(
        "--search",
        nargs="+",
        metavar="NAME=VALUES",
        help="train with settings that Optuna draws: learning_rate=1e-5:1e-2 from a range, target_every=50,100 from "
        "a list. ASHA stops what falls behind",
    )
    what.add_argument("--resume", nargs="?", const=LATEST, metavar="FOLDER", help="go on with an interrupted job")
    parser.add_argument("--trials", type=at_least(1), default=20, help="of a search (default: %(default)s)")
    parser.add_argument("--cpus", type=at_least(1), default=1, help="of each run (default: %(default)s)")
    parser.add_argument("--address", help="of a Ray cluster to run on (default: this machine)")
    found, rest = parser.parse_known_args(arguments)
    if found.resume:
        if rest:
            parser.error(f"--resume goes on with the job's own settings: leave out {' '.join(rest)}")
        return found, None
    given = parse_command_line(rest)
    if given.resume or given.check or (found.seeds and "seed" in given.settings):
        parser.error("--check is for train.py, and so is --seed beside --seeds")
    search = parse_search(found.search or [])
    config = Config.from_preset(**given.settings)
    if found.seeds and len(set(found.seeds)) < len(found.seeds):
        raise InputError("--seeds: name each seed once")
    for flag, folder in (("--logs-dir", config.logs_dir), ("--models-dir", config.models_dir)):
        check_writable(flag, folder)
    check_env(config)
    check_search(search, given.settings)
    settings = given.settings if found.seeds else {"seed": 1, **given.settings}
    return found, Job(settings, found.seeds or [], found.search or [], found.trials, found.cpus)


def new_folder(job: Job) -> Path:
    """Make the folder of a job, in that of the logs, and record the job there."""
    env = Config.from_preset(**job.settings).env.rpartition(":")[2].replace("/", "-")
    folder = Path(job.settings.get("logs_dir", Config.logs_dir)) / f"tune-{env}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder.mkdir(parents=True)
    with atomic_write(folder / "job.json") as path:
        path.write_text(json.dumps(job._asdict(), indent=1))
    return folder


def find_job(name: str) -> tuple[Path, Job]:
    """Find the folder of a job to go on with, "latest" or its path.

    Raises:
        InputError: there is none.
    """
    folders = sorted(Path(Config.logs_dir).glob("tune-*/job.json"))
    path = (folders[-1] if folders else None) if name == LATEST else Path(name) / "job.json"
    if not path or not path.is_file():
        raise InputError(f"--resume {name}: there is no such job; it is a folder logs/tune-...")
    try:
        return path.parent, Job(**json.loads(path.read_text()))
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error}): start the job again") from error


def trial(settings: dict[str, Any]) -> None:
    """Train once, in a process of Ray's."""
    from console.tensorflow_import import import_tensorflow

    import_tensorflow()  # quietly, before what imports Keras
    from train import train

    run_trial(settings, train)


def run_job(job: Job, folder: Path) -> list[Row]:
    """Run what is left of a job in a Ray session. Returns a row for each trial, the best first.

    Raises:
        Interrupted: by Ctrl-C or SIGTERM; Tune has saved where it stood.
    """
    import optuna
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", message="The reported value is ignored")  # of a run that went on

    class Live(tune.Callback):
        """Prints every score as it comes."""

        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: dict[str, Any], **_: Any) -> None:
            name, time = f"{_name(trial.config, searched):<{width}}", f"{clock} {result.get(clock, 0):>9,}"
            say(f"{name}  {time}  {SCORE} {result.get(SCORE, math.nan):.2f}")

        def on_trial_error(self, iteration: int, trials: Any, trial: Any, **_: Any) -> None:
            say(f"warning: the process of {_name(trial.config, searched)} died")

    clock, limit = clock_of(Config.from_preset(**job.settings))
    space = parse_search(job.search)
    searched = list(space) or ["seed"]
    width = max(len(name) for name in searched) + 20 * len(searched)
    choices = {name: values.domain() for name, values in space.items()}
    options: dict[str, Any] = {"metric": SCORE, "mode": "max"}
    if job.search:
        scheduler = ASHAScheduler(time_attr=clock, max_t=limit, grace_period=max(1, limit // 4), reduction_factor=2)
        options |= {"search_alg": OptunaSearch(seed=0), "num_samples": job.trials, "scheduler": scheduler}
    else:
        choices["seed"] = tune.grid_search(job.seeds)
    trainable = tune.with_resources(trial, {"cpu": job.cpus})
    state = str(folder.resolve() / "ray")
    if tune.Tuner.can_restore(state):
        tuner = tune.Tuner.restore(state, trainable, resume_unfinished=True, resume_errored=True)
    else:
        tuner = tune.Tuner(
            trainable,
            param_space={**job.settings, **choices},
            tune_config=tune.TuneConfig(**options),
            run_config=tune.RunConfig(
                name="ray",
                storage_path=str(folder.resolve()),
                failure_config=tune.FailureConfig(max_failures=FAILURES),
                callbacks=[Live()],
                verbose=0,
            ),
        )
    with signals_received() as received:
        results = tuner.fit()
    if received:
        raise Interrupted(received[0])
    each = [results[i] for i in range(len(results))]
    rows = [row_of(result.config or {}, result.metrics or {}, searched) for result in each]
    return sorted(rows, key=lambda row: -row[SCORE])


@contextlib.contextmanager
def signals_received() -> Iterator[list[int]]:
    """Give a list that holds the numbers of the signals that came, once the block has ended.

    Tune handles Ctrl-C itself, in order, and says nothing of it; Python writes what came to a file as well.
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


def row_of(settings: dict[str, Any], metrics: dict[str, Any], searched: Sequence[str]) -> Row:
    """Return the row of a trial: what set it apart, its score and where it ended."""
    names = ("steps", "episode", "seconds", "run", "failure")
    found = {name: metrics.get(name, "") for name in names}
    return {**{name: settings.get(name) for name in searched}, SCORE: metrics.get(SCORE, -math.inf), **found}


def _name(settings: dict[str, Any], searched: Sequence[str]) -> str:
    values = ((name, settings.get(name)) for name in searched)
    return " ".join(f"{name}={value:.3g}" if isinstance(value, float) else f"{name}={value}" for name, value in values)


def best_command(job: Job, row: Row) -> str:
    """Return the command that trains with the settings of a row."""
    found = {**job.settings, **{name: row[name] for name in parse_search(job.search)}}
    words: list[str] = []
    for name, value in found.items():
        flag = flag_of(name)
        if isinstance(value, bool):
            words.append(flag if value else f"--no-{flag[2:]}")
        elif isinstance(value, dict):
            words += [flag, *(f"{key}={json.dumps(of)}" for key, of in value.items())]
        else:
            words += [flag, str(value)]
    return script("train.py", *words)


def main() -> None:
    """Run the command line."""
    end_quietly_on_ctrl_c()
    with exit_on_bad_input():
        arguments, job = parse_arguments()
        check_ray()
        folder, job = (new_folder(job), job) if job else find_job(arguments.resume)
        threads = dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), str(job.cpus))
        say(f"starting Ray, which takes some seconds; results in {folder}")
        try:
            with ray_session(arguments.address, threads):
                rows = run_job(job, folder)
        except Interrupted as interrupted:
            say(f"interrupted; {script('tune.py', '--resume', str(folder))} goes on")
            sys.exit(128 + interrupted.number)
    write_csv(rows, folder / "results.csv")
    print(table(rows))
    if job.seeds:
        print(over_seeds(rows))
    elif math.isfinite(rows[0][SCORE]):
        print(f"train so    {best_command(job, rows[0])}")
    draw(rows, folder, job.settings.get("logs_dir", Config.logs_dir))


def draw(rows: Sequence[Row], folder: Path, logs_dir: str) -> None:
    """Draw the curves of all runs, if seaborn is installed."""
    from reports.curves import read_run
    from reports.plot import TAGS, plot

    names = [row["run"] for row in rows if row["run"]]
    if names and find_spec("seaborn"):
        plot([read_run(Path(logs_dir) / name) for name in names], TAGS, "steps", folder / "curves.png")
        print(f"curves in   {folder / 'curves.png'}")
    print(f"results in  {folder / 'results.csv'}")


if __name__ == "__main__":
    main()
