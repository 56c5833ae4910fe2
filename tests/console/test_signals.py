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
        # Python handles Ctrl-C itself here, as in a notebook, where a second one must not end everything.
        after = [signal.default_int_handler, signal.SIG_DFL]
        assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == after
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_second_ctrl_c_interrupts_what_a_notebook_does() -> None:
    with StopOnSignal() as stop, pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.received == signal.SIGINT
        os.kill(os.getpid(), signal.SIGINT)


def test_a_script_is_ended_by_a_second_ctrl_c(monkeypatch: pytest.MonkeyPatch) -> None:
    own = signal.signal(signal.SIGINT, lambda *_: None)  # as `end_quietly_on_ctrl_c` sets one
    try:
        with StopOnSignal():
            os.kill(os.getpid(), signal.SIGINT)
            assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGINT, own)


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
