"""``Phases``: where the seconds of one rank went, and when, always measured."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TypeVar

from parnwb.timeline import Timeline

Item = TypeVar("Item")


class Phases:
    """Seconds by phase. A phase within another stops the outer one's clock, so each second of a thread counts once.

    Independent. Threads have clocks of their own; a phase that two of them share gets the seconds of both. It costs
    some three microseconds to enter and leave a phase.

    Parameters
    ----------
    clock
        Returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._seconds: dict[str, float] = {}
        self._timeline = Timeline(clock())
        self._adding = threading.Lock()
        self._thread = _Thread()

    @property
    def seconds(self) -> Mapping[str, float]:
        """Seconds by phase, in the order in which they were first counted; a view, which goes on growing."""
        return MappingProxyType(self._seconds)

    @property
    def timeline(self) -> Timeline:
        """When they went, in bins of time."""
        return self._timeline

    def count(self, raw: int, stored: int) -> None:
        """Count bytes, uncompressed and as they are stored, for the time since it was called last; begin with none."""
        with self._adding:
            self._timeline.count(self._clock(), raw, stored)

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Count what happens within the block as ``phase``, but for the phases within it."""
        thread = self._thread
        self._count()
        thread.phases.append(phase)
        try:
            yield
        finally:
            self._count()
            thread.phases.pop()

    def each(self, phase: str, items: Iterable[Item]) -> Iterator[Item]:
        """Iterate; count what it takes to come by each item as ``phase``, and not what is done with it."""
        iterator = iter(items)
        while True:
            with self(phase):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def _count(self) -> None:
        """Give the seconds since the last change to the innermost phase of this thread."""
        thread, now = self._thread, self._clock()
        if thread.phases:
            phase = thread.phases[-1]
            with self._adding:
                self._seconds[phase] = self._seconds.get(phase, 0.0) + now - thread.since
                self._timeline.add(phase, thread.since, now)
        thread.since = now


class _Thread(threading.local):
    """The phases that a thread is in, the innermost last, and when they last changed."""

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.since = 0.0
