"""What is announced to the kernel, and that nothing of it is ever an error or keeps anybody waiting."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from parnwb.machine import foresight
from parnwb.machine.foresight import STEP_BYTES, FileRange, Foresight, fetch, first_bytes


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.mark.parametrize("nbytes", [1, STEP_BYTES, STEP_BYTES + 1, 7 * STEP_BYTES - 3])
def test_steps_cover_a_range_once_and_no_more(nbytes: int) -> None:
    steps = list(FileRange(5, 11, nbytes).steps())
    assert all(0 < step.nbytes <= STEP_BYTES and step.descriptor == 5 for step in steps)
    assert [step.offset for step in steps] == [11 + n * STEP_BYTES for n in range(len(steps))]
    assert sum(step.nbytes for step in steps) == nbytes


def test_no_more_is_announced_than_is_wanted() -> None:
    ranges = [FileRange(3, 0, 100), FileRange(3, 200, 50), FileRange(3, 300, 10)]
    assert list(first_bytes(ranges, 1000)) == ranges
    assert list(first_bytes(ranges, 120)) == [FileRange(3, 0, 100), FileRange(3, 200, 20)]
    assert list(first_bytes(ranges, 0)) == []


def test_no_descriptor_is_an_error(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        for number in (reading, descriptor, 10_000):
            fetch(FileRange(number, 0, 10))
    finally:
        for number in (reading, writing, descriptor):
            os.close(number)


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="this system has no posix_fadvise")
def test_bytes_are_asked_for_as_they_will_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(os, "posix_fadvise", lambda *given: asked.append(given))
    with Foresight() as ahead:
        ahead.announce([FileRange(3, 0, STEP_BYTES + 5), FileRange(4, 9, 1)])
        wait_until(lambda: len(asked) == 3)
    advice = os.POSIX_FADV_WILLNEED
    assert asked == [(3, 0, STEP_BYTES, advice), (3, STEP_BYTES, 5, advice), (4, 9, 1, advice)]


def test_a_new_announcement_ends_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, may_go_on, asked = threading.Event(), threading.Event(), []

    def slow(step: FileRange) -> None:
        asked.append(step.descriptor)
        begun.set()
        assert may_go_on.wait(20)

    monkeypatch.setattr(foresight, "fetch", slow)
    with Foresight() as ahead:
        ahead.announce([FileRange(1, 0, 1), FileRange(2, 0, 1)])
        assert begun.wait(20)
        ahead.announce([])  # nothing to say is no news
        ahead.announce([FileRange(3, 0, 1)])
        may_go_on.set()
        wait_until(lambda: asked[-1] == 3)
    assert asked == [1, 3]


def test_nobody_waits_for_a_kernel_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = threading.Event()
    monkeypatch.setattr(foresight, "fetch", lambda step: answers.wait(60))
    began = time.monotonic()
    with Foresight() as ahead:
        ahead.announce([FileRange(1, 0, 1)])
    assert time.monotonic() - began < 20
    answers.set()
