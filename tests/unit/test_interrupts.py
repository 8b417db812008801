"""Signals set a flag and nothing else; a second one that means "end" ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from parnwb.interrupts import EX_TEMPFAIL, GRACE_SECONDS, SIGNALS, Interrupts


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in SIGNALS]


def send(number: int) -> None:
    """Send a signal to this process and return when Python has seen it."""
    os.kill(os.getpid(), number)
    for _ in range(1000):  # handlers run between bytecodes
        time.sleep(0)


def test_the_status_is_the_documented_one():
    assert EX_TEMPFAIL == os.EX_TEMPFAIL == 75


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_sets_the_flag(number):
    before = handlers()
    with Interrupts() as interrupts:
        assert not interrupts.received
        send(number)
        assert interrupts.received
    assert handlers() == before
    assert interrupts.received


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_same_signal_twice_within_the_grace_is_one(number):
    with Interrupts() as interrupts:
        for _ in range(3):
            send(number)
        assert interrupts.received


def test_entered_twice_it_still_gives_the_handlers_back():
    before = handlers()
    with Interrupts() as interrupts, interrupts:
        pass
    assert handlers() == before


def test_user_signals_may_come_as_often_as_they_like():
    with Interrupts() as interrupts:
        for number in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR1):
            send(number)
        assert interrupts.received


def test_without_a_signal_nothing_is_set():
    with Interrupts() as interrupts:
        time.sleep(0)
    assert not interrupts.received
    assert not Interrupts().received


def test_handlers_of_others_come_back_even_after_an_error():
    caught = []
    previous = [signal.signal(number, lambda *_: caught.append(1)) for number in SIGNALS]
    mine = handlers()
    try:
        with pytest.raises(ValueError, match="mine"), Interrupts():
            assert handlers() != mine
            raise ValueError("mine")
        assert handlers() == mine
        send(signal.SIGUSR1)
        assert caught == [1]
    finally:
        for number, handler in zip(SIGNALS, previous, strict=True):
            signal.signal(number, handler)


def test_ignored_signals_are_ignored_again_afterwards():
    previous = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            send(signal.SIGUSR1)
        assert interrupts.received
        assert signal.getsignal(signal.SIGUSR1) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGUSR1, previous)


def test_one_inside_of_another():
    before = handlers()
    with Interrupts() as outer:
        with Interrupts() as inner:
            assert not inner.received
            send(signal.SIGUSR1)
        assert (outer.received, inner.received) == (True, True)
        with Interrupts() as second:
            assert not second.received
    assert handlers() == before


def test_the_flag_can_be_used_twice():
    interrupts = Interrupts()
    before = handlers()
    for _ in range(2):
        with interrupts:
            send(signal.SIGUSR1)
        assert handlers() == before


def test_another_thread_may_not_have_handlers_and_does_without():
    before, errors = handlers(), []

    def work() -> None:
        try:
            with Interrupts() as interrupts:
                errors.append(handlers() != before)
            errors.append(interrupts.received)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert errors == [False, False]
    assert handlers() == before


# The program waits for its flag without looking at it; the parent says when the next signal goes out.
PROGRAM = """
import sys, time
from parnwb.interrupts import Interrupts
with Interrupts() as interrupts:
    print("ready", flush=True)
    while not interrupts.received:
        time.sleep(0.002)
    print("flagged", flush=True)
    time.sleep(20)
"""


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (signal.SIGTERM, signal.SIGTERM),
        (signal.SIGINT, signal.SIGINT),
        (signal.SIGINT, signal.SIGTERM),
        (signal.SIGUSR1, signal.SIGTERM),
    ],
)
def test_a_second_signal_that_means_end_ends_at_once(first, second):
    command = [sys.executable, "-c", PROGRAM]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "ready\n"
            process.send_signal(first)
            assert process.stdout.readline() == "flagged\n"
            process.send_signal(first)  # as a launcher and a batch system both pass it on
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(GRACE_SECONDS + 0.2)
            began = time.monotonic()
            process.send_signal(second)
            assert process.wait(10) == -second
            assert time.monotonic() - began < 5
            assert process.stderr.read() == ""
        finally:
            process.kill()
