"""Train with many seeds, or search for settings, on all cores or on a Ray cluster: `python tune.py --seeds 1 2 3`"""

from __future__ import annotations

import console.requirements  # noqa: F401 (first of all: it says what is missing)

# isort: split
import argparse
import math
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cluster.job import Job, command_of, find_job, new_folder
from cluster.ray_session import go_to_folder, ray_session
from cluster.results import Row, over_seeds, table, write_csv
from cluster.search_space import check_search, parse_search
from cluster.trial import SCORE, run_trial
from cluster.tuner import Interrupted, run_job
from console.arguments import LATEST, at_least, check_writable, make_parser
from console.commands import script
from console.errors import InputError, exit_on_bad_input
from console.messages import say
from console.ray_installation import check_ray
from console.signals import end_quietly_on_ctrl_c
from environments.check import check_env
from training.command import parse_command_line

THREADS = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")  # variables that limit them


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
    if given.settings.get("actors"):
        parser.error("--actors is for train.py: here every run has a process of its own already")
    if len(set(found.seeds or [])) < len(found.seeds or []):
        raise InputError("--seeds: name each seed once")
    settings = given.settings if found.seeds else {"seed": 1, **given.settings}
    return found, Job(settings, found.seeds or [], found.search or [], found.trials, found.cpus)


def check_job(job: Job) -> None:
    """Check what would end every run of a job.

    Raises:
        InputError: something would.
    """
    check_search(parse_search(job.search), job.settings)
    check_writable("--logs-dir", job.config.logs_dir)
    check_writable("--models-dir", job.config.models_dir)
    check_env(job.config)


def trial(settings: dict[str, Any]) -> None:
    """Train once, in a process of Ray's."""
    from console.tensorflow_import import import_tensorflow

    go_to_folder()
    import_tensorflow()  # quietly, before what imports Keras
    from train import train

    run_trial(settings, train)


def show(job: Job, rows: Sequence[Row], folder: Path) -> None:
    """Write the results of a job to its folder, and print what they say."""
    write_csv(rows, folder / "results.csv")
    print(table(rows))
    if job.seeds:
        print(over_seeds(rows))
    elif math.isfinite(rows[0][SCORE]):
        print(f"train so    {command_of(job, rows[0])}")
    runs = [Path(job.config.logs_dir) / row["run"] for row in rows if row["run"]]
    if runs and find_spec("seaborn"):
        from reports.curves import read_run
        from reports.plot import TAGS, plot

        plot([read_run(run) for run in runs], TAGS, "steps", folder / "curves.png")
        print(f"curves in   {folder / 'curves.png'}")
    print(f"results in  {folder / 'results.csv'}")


def main() -> None:
    """Run the command line."""
    end_quietly_on_ctrl_c()
    with exit_on_bad_input():
        arguments, job = parse_arguments()
        if job:
            check_job(job)
        check_ray(arguments.address)
        folder, job = (new_folder(job), job) if job else find_job(arguments.resume)
        say(f"starting Ray, which takes some seconds; results in {folder}")
        try:
            with ray_session(arguments.address, dict.fromkeys(THREADS, str(job.cpus))):
                rows = run_job(job, folder, trial)
        except Interrupted as interrupted:
            say(f"interrupted; {script('tune.py', '--resume', str(folder))} goes on")
            sys.exit(128 + interrupted.number)
        show(job, rows, folder)


if __name__ == "__main__":
    main()
