"""Whether the tests notice faults put into a copy of the project: `python -m experiments.mutate`."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from console.arguments import make_parser
from console.signals import end_quietly_on_ctrl_c
from experiments.faults import FAULTS, Fault

ROOT = Path(__file__).resolve().parent.parent
TESTS_PASSED, TESTS_FAILED = 0, 1  # pytest's exit codes


def copy_project(folder: Path) -> None:
    """Copy what the tests run: the modules, the tests and pytest's settings."""
    for path in [*ROOT.glob("*.py"), *ROOT.glob("*.html"), ROOT / "pyproject.toml"]:
        shutil.copy(path, folder)
    for name in ("tests", "experiments", "examples"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))


def faulty_text(fault: Fault) -> str:
    """The text of the fault's file with the fault in it.

    Raises:
        ValueError: the old text does not occur exactly once, so the fault has to be brought up to date.
    """
    text = (ROOT / fault.file).read_text(encoding="utf-8")
    if (count := text.count(fault.old)) != 1:
        raise ValueError(f"fault {fault.name!r}: its text occurs {count} times in {fault.file}: {fault.old!r}")
    return text.replace(fault.old, fault.new)


def tests_fail(tests: Sequence[str], fault: Fault | None = None) -> bool:
    """Run tests in a copy of the project, with a fault in it or as it is.

    Raises:
        RuntimeError: pytest could not run them (a missing file, an error outside of any test).
        subprocess.TimeoutExpired: they hung.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy_project(Path(folder))
        if fault:
            (Path(folder) / fault.file).write_text(faulty_text(fault), encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "-x", "-q", *tests]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900)
    if done.returncode not in (TESTS_PASSED, TESTS_FAILED):
        raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    if not fault and done.returncode == TESTS_FAILED:
        print(done.stdout)
    return done.returncode == TESTS_FAILED


def main() -> None:
    """The command line: exit code 1 when a fault survives, or when the tests fail without one."""
    end_quietly_on_ctrl_c()
    make_parser("Put faults into a copy of the project, one at a time, and see the tests fail.").parse_args()
    for fault in FAULTS:
        faulty_text(fault)  # one out of date should not wait for the tests before it
    tests = sorted({fault.tests for fault in FAULTS})
    if tests_fail(tests):
        sys.exit("the tests fail without a fault: mend that first")
    print(f"without a fault {', '.join(tests)} pass", flush=True)
    survivors = [fault for fault in FAULTS if not caught(fault)]
    print(f"{len(FAULTS) - len(survivors)} of {len(FAULTS)} faults caught")
    sys.exit(1 if survivors else 0)


def caught(fault: Fault) -> bool:
    """Run a fault's tests and print a row: fault, file, outcome, seconds, tests."""
    began = time.perf_counter()
    noticed = tests_fail([fault.tests], fault)
    outcome, seconds = "caught" if noticed else "SURVIVED", time.perf_counter() - began
    print(f"{fault.name:42} {fault.file:17} {outcome:8} {seconds:5.1f} s  {fault.tests}", flush=True)
    return noticed


if __name__ == "__main__":
    main()
