"""Report on finished runs: what looks wrong with them, their curves, or a web page. `python report.py`"""

from __future__ import annotations

import console.requirements  # noqa: F401 (first of all: it says what is missing)

# isort: split
import argparse
import contextlib
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from config import Config
from console.arguments import LATEST, add_trust_arguments, check_output, make_parser, trusted_settings
from console.errors import InputError, exit_on_bad_input
from console.messages import say
from console.settings import flag_of
from console.signals import end_quietly
from reports.curves import RunLog, read_run
from reports.findings import find_problems, verdict
from reports.plot import AXES, TAGS, plot
from storage.atomic import atomic_write
from storage.runs import best_model, find_log_folder
from training.tags import REWARD_AVG

PAGE, PLOT = (".html",), (".png", ".svg")
NEEDS = {"model": PAGE, "env": PAGE, "env_args": PAGE, "network": PAGE, "tags": PLOT, "x": PLOT}  # endings of --out


def parse_arguments() -> argparse.Namespace:
    """Read and check the command line."""
    parser = make_parser("Print what looks wrong with finished runs, plot their curves, or write a web page about one.")
    parser.add_argument(
        "runs", nargs="*", default=[LATEST], metavar="RUN", help="a run's name or log folder (default: the latest run)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="page.html: a self-contained page about one run; curves.png or curves.svg: the curves of all runs, where "
        "those that differ only in their seed share a band (default: print the findings)",
    )
    parser.add_argument("--tags", nargs="+", help=f"curves to plot, by their tags (default: {' '.join(TAGS)})")
    parser.add_argument("--x", choices=AXES, help=f"horizontal axis of the plot (default: {AXES[0]})")
    parser.add_argument(
        "--model", type=Path, help="the .model file for a page about a Blob run (default: the run's best, if found)"
    )
    parser.add_argument("--logs-dir", default=Config.logs_dir, help="folder of the runs (default: %(default)s)")
    add_trust_arguments(parser)
    arguments = parser.parse_args()
    with exit_on_bad_input():
        check_arguments(arguments)
    return arguments


def check_arguments(arguments: argparse.Namespace) -> None:
    """Raise InputError unless the flags go together, the folders are there, and what --out needs is too."""
    out = arguments.out
    ending = out.suffix.lower() if out else ""
    for name, endings in NEEDS.items():
        if getattr(arguments, name) and ending not in endings:
            raise InputError(f"{flag_of(name)} needs an --out that ends in {' or '.join(endings)}")
    if ending in PAGE and len(arguments.runs) > 1:
        raise InputError(f"--out {out} takes one run: name one, or plot several with --out curves.png")
    if out:
        check_output("--out", out, PAGE + PLOT)
        package = "plotly" if ending in PAGE else "seaborn"
        if not find_spec(package):
            raise InputError(f"--out {out} needs {package}: pip install -r requirements-extra.txt")
    arguments.runs = [find_log_folder(name, arguments.logs_dir) for name in arguments.runs]


def print_findings(logs: Sequence[RunLog]) -> None:
    """Print what looks wrong with each run, below its name if there are several."""
    for log in logs:
        if len(logs) > 1:
            print(f"{log.folder.name}:")
        print("\n".join(f"- {problem}" for problem in find_problems(log)) or verdict(log))


def write_page(log: RunLog, arguments: argparse.Namespace) -> None:
    """Write the page of a run.

    Raises:
        InputError: there is nothing to show, the model does not suit, or the page cannot be written.
    """
    from reports.page import make_page

    if REWARD_AVG not in log.curves:
        raise InputError(f"{log.folder} has no curves yet: let the run end a window of episodes first")
    model = arguments.model or best_model(log.folder, log.config)
    say("making the page, some seconds")
    page = make_page(log, model, trusted_settings(arguments))
    with writing(arguments.out) as path:
        path.write_text(page, encoding="utf-8")


def write_plot(logs: Sequence[RunLog], arguments: argparse.Namespace) -> None:
    """Plot the curves of runs.

    Raises:
        InputError: no run has one of the curves, or the plot cannot be written.
    """
    with writing(arguments.out) as path:
        plot(logs, arguments.tags or TAGS, arguments.x or AXES[0], path)


@contextlib.contextmanager
def writing(out: Path) -> Iterator[Path]:
    """Give a path to write to, which becomes `out` when the block ends; then say so."""
    try:
        with atomic_write(out, out.suffix) as path:
            yield path
    except OSError as error:
        raise InputError(f"--out {out} cannot be written ({error.strerror or error})") from error
    print(f"wrote {out} ({out.stat().st_size / 1e6:.1f} MB)")


def main() -> None:
    """Run the command line."""
    end_quietly()
    arguments = parse_arguments()
    with exit_on_bad_input():
        logs = [read_run(run) for run in arguments.runs]
        if not arguments.out:
            print_findings(logs)
        elif arguments.out.suffix.lower() in PAGE:
            write_page(logs[0], arguments)
        else:
            write_plot(logs, arguments)


if __name__ == "__main__":
    main()
