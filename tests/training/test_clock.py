"""Seconds and speeds by hand, on a clock that the test sets."""

from types import SimpleNamespace

import pytest

from training import clock
from training.clock import Clock


class Time:
    """The time now, in seconds, which the test sets."""

    now = 100.0


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(clock, "time", SimpleNamespace(perf_counter=lambda: time.now))
    return time


def test_a_window_that_ends_in_the_same_step_has_the_speed_of_the_one_before(time: Time) -> None:
    clock = Clock()
    time.now = 102
    assert clock.window_speed(50) == 25
    clock.begin_window(50)
    time.now = 103  # an evaluation later
    assert clock.window_speed(50) == 25
    clock.begin_window(50)
    time.now = 105
    assert clock.window_speed(80) == 15  # 30 steps in the 2 s since it began


def test_preparations_do_not_count(time: Time) -> None:
    clock = Clock()
    time.now = 110
    clock.start(steps=0)
    time.now = 112
    assert clock.seconds == clock.seconds_since_start == 2 and clock.window_speed(50) == 25


def test_a_resumed_run_adds_its_seconds(time: Time) -> None:
    before = Clock()
    time.now = 102
    before.window_speed(50)
    before.begin_window(50)
    time.now = 104
    state = before.get_state()
    time.now = 1_000
    resumed = Clock()
    resumed.set_state(state)
    resumed.start(steps=55)
    time.now = 1_001
    assert (resumed.seconds, resumed.seconds_since_start) == (5, 1)
    assert resumed.window_speed(55) == 25  # the speed before the break
    assert resumed.window_speed(60) == 5  # steps and seconds since it was resumed
