"""Signals: the first is noted, its echo ignored, a second one ends the process at once, even within a call."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from hews_gpu.training.preempt import Preempted, StopSignals, stopped_by

SCRIPT = """
import ctypes, signal, sys, time
from hews_gpu.training.preempt import StopSignals
with StopSignals() as signals:
    signals.gently = True
    print("ready", flush=True)
    while not signals.asked:
        time.sleep(0.01)
    print(signals.asked, flush=True)
    if sys.argv[1] == "stuck":
        while True:  # as in a collective whose other side is gone
            ctypes.CDLL(None).sem_wait(ctypes.create_string_buffer(32))
    time.sleep(1.5)
"""


def started(mode):
    child = subprocess.Popen([sys.executable, "-c", SCRIPT, mode], stdout=subprocess.PIPE, text=True)
    assert child.stdout.readline() == "ready\n"
    return child


def test_the_echo_of_a_signal_is_ignored():
    child = started("free")
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
        child.send_signal(number)
    assert int(child.stdout.readline()) in (signal.SIGTERM, signal.SIGINT)
    assert child.wait(10) == 0
    child.stdout.close()


def test_a_second_signal_ends_it_at_once_even_within_a_call_that_never_returns():
    child = started("stuck")
    child.send_signal(signal.SIGUSR2)
    assert int(child.stdout.readline()) == signal.SIGUSR2
    time.sleep(1.1)
    began = time.monotonic()
    child.send_signal(signal.SIGTERM)
    assert child.wait(10) == 128 + signal.SIGTERM
    assert time.monotonic() - began < 0.3
    child.stdout.close()


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGUSR2, Preempted)])
def test_before_there_is_a_step_to_finish_it_is_raised(number, raised):
    before = signal.getsignal(number)
    with pytest.raises(raised), StopSignals():
        os.kill(os.getpid(), number)
        time.sleep(1)
    assert signal.getsignal(number) == before


def test_the_users_own_stop_carries_what_to_do_next_a_schedulers_leaves_it_in_the_log():
    lines = []
    stop = stopped_by(signal.SIGINT, "stopped after step 3. Go on.", lines.append)
    assert isinstance(stop, KeyboardInterrupt) and str(stop) == "stopped after step 3. Go on."
    assert lines == []
    assert isinstance(stopped_by(signal.SIGTERM, "stopped after step 3. Go on.", lines.append), Preempted)
    assert lines == ["stopped after step 3. Go on."]


def test_another_thread_leaves_the_signals_alone():
    found = []

    def enter():
        with StopSignals() as signals:
            found.append(signals.asked)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [0]
