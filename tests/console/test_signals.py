"""StopOnSignal records the first signal, leaves the second to the system, and puts the old handlers back."""

import os
import signal
import threading

import pytest

from console.signals import StopOnSignal


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_recorded(number: signal.Signals, capfd: pytest.CaptureFixture[str]) -> None:
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]
    with StopOnSignal() as stop:
        assert stop.received == 0
        os.kill(os.getpid(), number)
        assert stop.received == number
        assert "a second Ctrl-C stops at once" in capfd.readouterr().err
        assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == [signal.SIG_DFL] * 2
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


def test_another_thread_handles_no_signals() -> None:
    before = signal.getsignal(signal.SIGINT)
    handlers = []

    def enter() -> None:
        with StopOnSignal() as stop:
            handlers.append((stop.received, signal.getsignal(signal.SIGINT)))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert handlers == [(0, before)]
