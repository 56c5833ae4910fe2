"""Check that the tests notice faults in a copy of the project: `python -m experiments.mutate`.

On two cores, run `--part 1/2` and `--part 2/2` side by side.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from console.arguments import make_parser
from console.signals import end_quietly_on_ctrl_c
from experiments.faults import ROOT_FAULTS, Fault
from experiments.faults_in_rooms import ROOM_FAULTS

ROOT = Path(__file__).resolve().parent.parent
FAULTS = [*ROOT_FAULTS, *ROOM_FAULTS]
TESTS_PASSED, TESTS_FAILED = 0, 1  # pytest's exit codes


def copy_project(folder: Path) -> None:
    """Copy everything that the tests run: the modules at the root, the rooms, the tests, and pytest's settings."""
    for path in [*ROOT.glob("*.py"), ROOT / "pyproject.toml"]:
        shutil.copy(path, folder)
    for room in [ROOT / "tests", *(path.parent for path in ROOT.glob("*/__init__.py"))]:
        shutil.copytree(room, folder / room.name, ignore=shutil.ignore_patterns("__pycache__"))


def faulty_text(fault: Fault) -> str:
    """Return the text of the fault's file with the fault in it.

    Raises:
        ValueError: the old text does not occur exactly once, so the fault is out of date.
    """
    text = (ROOT / fault.file).read_text(encoding="utf-8")
    if (count := text.count(fault.old)) != 1:
        raise ValueError(f"fault {fault.name!r}: its text occurs {count} times in {fault.file}: {fault.old!r}")
    return text.replace(fault.old, fault.new)


def tests_fail(tests: Sequence[str], fault: Fault | None = None) -> bool:
    """Run tests in a copy of the project, with a fault in it or as it is. Returns whether one failed.

    Raises:
        RuntimeError: pytest could not run them (a missing file, an error outside of any test).
        subprocess.TimeoutExpired: they hung.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy_project(Path(folder))
        if fault:
            (Path(folder) / fault.file).write_text(faulty_text(fault), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-x", "-q", *tests]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900 if fault else None)
    if done.returncode not in (TESTS_PASSED, TESTS_FAILED):
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    if not fault and done.returncode == TESTS_FAILED:
        print(done.stdout)
    return done.returncode == TESTS_FAILED


def is_noticed(fault: Fault) -> bool:
    """Run a fault's tests and print a row: fault, outcome, seconds, file, tests."""
    began = time.perf_counter()
    noticed = tests_fail([fault.tests], fault)
    outcome, seconds = "noticed" if noticed else "SURVIVED", time.perf_counter() - began
    print(f"{fault.name:50} {outcome:8} {seconds:5.1f} s  {fault.file:32} {fault.tests}", flush=True)
    return noticed


def part(text: str) -> slice:
    """Parse K/N: every N-th from the K-th."""
    first, step = map(int, text.split("/"))
    if not 1 <= first <= step:
        raise argparse.ArgumentTypeError(f"must be K/N with K from 1 to N, got {text}")
    return slice(first - 1, None, step)


def main() -> None:
    """Run the command line. The exit code is 1 if a fault survives, or if the tests fail without one."""
    end_quietly_on_ctrl_c()
    parser = make_parser("Put faults into a copy of the project, one at a time, and check that the tests notice.")
    parser.add_argument("--part", type=part, default="1/1", metavar="K/N", help="only every N-th fault from the K-th")
    parser.add_argument("--only", default="", metavar="TEXT", help="only faults with this text in their names")
    arguments = parser.parse_args()
    for fault in FAULTS:
        faulty_text(fault)  # raises at once if one is out of date, not after the tests of those before it
    faults = [fault for fault in FAULTS if arguments.only in fault.name][arguments.part]
    if not faults:
        parser.error(f"no fault has {arguments.only!r} in its name")
    if tests_fail(sorted({fault.tests for fault in faults})):
        sys.exit("the tests fail without a fault: fix that first")
    print("without a fault, all tests pass", flush=True)
    survivors = [fault for fault in faults if not is_noticed(fault)]
    print(f"{len(faults) - len(survivors)} of {len(faults)} faults noticed")
    for fault in survivors:
        print(f"survived: {fault.name}")
    sys.exit(1 if survivors else 0)


if __name__ == "__main__":
    main()
