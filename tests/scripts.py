"""Run the scripts as a user does, each in a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def run(*arguments: str, env: dict[str, str] | None = None, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments and return its exit code and output."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=120,
    )


def assert_refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    """Assert exit code 2 and a single line on standard error, which contains the words; one that says what starts may
    stand before it."""
    assert result.returncode == 2, result.stderr
    *before, line = result.stderr.strip().splitlines()
    assert len(before) <= 1 and all(each.startswith("training on ") for each in before), before
    for word in words:
        assert word in line, line
