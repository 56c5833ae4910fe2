"""The progress of a run: a bar on a terminal, lines elsewhere, and nothing if it is quiet."""

import contextlib
import fcntl
import os
import pty
import re
import struct
import sys
import termios

import pytest

from config import Config
from training.progress import Progress

LOGS = {"reward_avg": -193.25, "reward_min": -500.0, "reward_max": 25.0, "epsilon": 0.9512, "steps_per_second": 1150.3}


def test_lines_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(Config(), 0)
    for _ in range(3):
        progress.update(5_000)
        progress.show(LOGS)
    progress.close()
    output = capsys.readouterr()
    lines = output.err.splitlines()
    assert output.out == "" and len(lines) == 3 and output.err.replace("\n", "").isprintable()
    assert lines[0].startswith("episode  5,000  reward   -193.2  ( -500.0 to    25.0)  epsilon 0.951    1,150 steps/s")
    assert len({len(line) for line in lines}) == 1  # numbers line up


def test_a_run_that_steps_limit_counts_steps(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(Config(steps=10_000), 2_000)
    progress.update(500)
    progress.show(LOGS)
    progress.close()
    assert capsys.readouterr().err.startswith("step  2,500  reward")


def test_an_evaluation_is_shown_where_it_happens(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(Config(), 1_000)
    progress.show_evaluation({"avg": -3.5}, is_best=False, is_look=True)
    progress.show_evaluation({"avg": 20.93, "won": 0.998, "possible": 21.4}, is_best=True, is_look=False)
    progress.show_evaluation({"avg": 20.5}, is_best=False, is_look=False)
    progress.close()
    assert capsys.readouterr().err.splitlines() == [
        "episode  1,000  greedy -3.50, a first look",
        "episode  1,000  greedy 20.93 of 21.40 possible from these starts, won 99.8%, best so far",
        "episode  1,000  greedy 20.50",
    ]


def test_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    progress = Progress(Config(steps=100, learn_start=100), 0, quiet=True)
    progress.update(50)
    progress.show(LOGS)
    progress.show_evaluation({"avg": 20.5}, is_best=True, is_look=False)
    progress.close()
    assert capfd.readouterr() == ("", "")


def test_one_line_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        progress = Progress(Config(), 0)
        monkeypatch.setattr(progress._bar, "mininterval", 0)
        for _ in range(5):
            progress.show(LOGS)
            progress.update(2_500)
        progress.close()
        monkeypatch.undo()
    written = b""
    with contextlib.suppress(OSError):  # Linux reports the end of a closed terminal as an error
        while part := os.read(master, 100_000):
            written += part
    os.close(master)
    text = written.decode()
    assert text.count("\n") == 1  # at the end
    *_, last = [line for line in text.split("\r") if line.strip()]
    assert len(last) < 80
    assert re.search(r"12.5k/25.0k, .*left, avg -193.2 \(-500 to 25\) eps 0.95 1,150 steps/s", last)


def test_time_left_follows_the_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Episodes take 0.1 s at first and 0.01 s later. The estimate follows the new speed: the other 15,000 episodes take
    150 s. The mean speed since the start would give 285 s."""
    progress = Progress(Config(), 0)
    now = 0.0
    monkeypatch.setattr(progress._bar, "_time", lambda: now)
    progress._bar.start_t = progress._bar.last_print_t = now
    for seconds in [0.1] * 1_000 + [0.01] * 9_000:
        now += seconds
        progress.update(1)
    assert progress._bar.n == 10_000
    minutes, seconds = map(int, progress._left().split(":"))
    assert 60 * minutes + seconds == pytest.approx(150, rel=0.05)
    progress.close()
