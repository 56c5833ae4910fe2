"""List the runs on this disk, or delete what they no longer need. `python runs.py`"""

from __future__ import annotations

import console.requirements  # noqa: F401 (first of all: it says what is missing)

# isort: split
import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from config import Config
from console.arguments import make_parser
from console.errors import InputError, exit_on_bad_input
from console.messages import one_line
from console.signals import end_quietly
from storage.runs import RunEntry, clean, find_log_folder, log_folders, read_entry

COLUMNS = ("run", "started", "environment", "episodes", "greedy", "MB", "state", "apart from the preset")


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = make_parser("List the runs on this disk: newest last, with the greedy score of the best model.")
    parser.add_argument("runs", nargs="*", metavar="RUN", help="a run's name or folder, or latest (default: all)")
    parser.add_argument(
        "--clean",
        action="store_true",
        help="delete the checkpoints of these runs, or of all that have ended by themselves: they can no longer be "
        "extended, their curves and models stay",
    )
    parser.add_argument("--logs-dir", default=Config.logs_dir, help="folder of the runs (default: %(default)s)")
    return parser.parse_args()


def table(entries: Sequence[RunEntry]) -> str:
    """Tabulate runs, one line each."""
    rows = [COLUMNS]
    for entry in entries:
        greedy = "" if entry.greedy is None else f"{entry.greedy:.2f}"
        numbers = f"{entry.episodes:,}", greedy, f"{entry.size / 1e6:,.0f}"
        rows.append((entry.name, entry.started, entry.env, *numbers, entry.state, entry.settings))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    right = {COLUMNS.index(name) for name in ("episodes", "greedy", "MB")}

    def line(row: Sequence[str]) -> str:
        cells = enumerate(zip(row, widths, strict=True))
        return "  ".join(cell.rjust(width) if i in right else cell.ljust(width) for i, (cell, width) in cells).rstrip()

    return "\n".join(map(line, rows))


def main() -> None:
    """Run the command line."""
    end_quietly()
    arguments = parse_arguments()
    with exit_on_bad_input():
        named = [find_log_folder(name, arguments.logs_dir) for name in arguments.runs]
        entries: dict[Path, RunEntry] = {}
        for folder in named or log_folders(arguments.logs_dir):
            try:
                entries[folder] = read_entry(folder)
            except InputError as error:
                if named:
                    raise
                print(one_line(f"left out: {error}"), file=sys.stderr)
        if not arguments.clean:
            print(table(list(entries.values())) if entries else f"there is no run in {arguments.logs_dir}")
            return
        for folder, entry in entries.items():
            if named or entry.state in ("finished", "stopped itself"):
                print(f"{entry.name}: {clean(folder) / 1e6:,.0f} MB freed")


if __name__ == "__main__":
    main()
