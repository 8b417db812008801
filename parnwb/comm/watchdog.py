"""``Watchdog``: a clock that stands still when the job does, and what this rank's threads are doing by it."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from parnwb.errors import ParnwbError

DEFAULT_WATCHDOG = 600.0
LONGEST_TICK = 1.0
TICKS_IN_LIMIT = 16


def check_watchdog(seconds: float | None) -> None:
    """Refuse a time limit that is none. Independent.

    Raises
    ------
    ParnwbError
        It is neither None nor a number of seconds from 0 on.
    """
    if not _is_limit(seconds):
        raise ParnwbError(
            f"watchdog must be a number of seconds, or None or 0 for no watchdog, got {seconds!r}",
            remedy=f"Leave it out for {DEFAULT_WATCHDOG:.0f} s",
        )


def until_checked(seconds: float | None) -> float | None:
    """Return a time limit to work under until ranks agree that it is none. Independent."""
    return seconds if _is_limit(seconds) else DEFAULT_WATCHDOG


def _is_limit(seconds: object) -> bool:
    if seconds is None:
        return True
    return isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 <= seconds < math.inf


class Lane:
    """What one thread is doing, and since when. Only that thread changes it.

    Parameters
    ----------
    watchdog
        Whose clock counts.
    """

    def __init__(self, watchdog: Watchdog) -> None:
        self._watchdog = watchdog
        self._since = 0
        self.text = ""
        self.working = False
        self.together = False

    def step(self, text: str, *, together: bool = False) -> None:
        """Begin a step; ``together`` where all ranks must take part for it to end."""
        self._since, self.text, self.together = self._watchdog.ticks, text, together
        self.working = True

    def rest(self) -> None:
        """End a step: from here on this thread waits for others, or is not in parnwb's hands."""
        self.working = False

    def moved(self) -> None:
        """Tell that the step goes on well."""
        self._since = self._watchdog.ticks

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Rest for a while, then take the step up again."""
        working, self.working = self.working, False
        try:
            yield
        finally:
            self._since = self._watchdog.ticks
            self.working = working

    @contextmanager
    def at(self, text: str, *, together: bool = False) -> Iterator[None]:
        """Be at a step within another one."""
        before = self.text, self.together, self.working
        self.step(text, together=together)
        try:
            yield
        finally:
            self.moved()
            self.text, self.together, self.working = before

    @property
    def seconds(self) -> float:
        """Of the watchdog's time since the step began or went on."""
        return (self._watchdog.ticks - self._since) * self._watchdog.tick


class Watchdog:
    """Counts its own short sleeps, so that time in which the whole job is stopped does not count.

    Parameters
    ----------
    limit
        Seconds that a step may take; None or 0 for ever.
    """

    def __init__(self, limit: float | None) -> None:
        self.limit = limit or math.inf
        self.tick = min(LONGEST_TICK, self.limit / TICKS_IN_LIMIT)
        self.ticks = 0
        self.main = Lane(self)
        self._lanes = [self.main]
        self._stopped = threading.Event()

    @property
    def active(self) -> bool:
        """Whether there is a limit."""
        return self.limit < math.inf

    def start(self, alarm: Callable[[Lane], None]) -> None:
        """Watch, in a thread; ``alarm`` is called there for a step that takes too long."""
        if self.active:
            threading.Thread(target=self._run, args=(alarm,), name="parnwb-watchdog", daemon=True).start()

    def stop(self) -> None:
        """Watch no more."""
        self._stopped.set()

    @contextmanager
    def lane(self) -> Iterator[Lane]:
        """Watch another thread for a while."""
        lane = Lane(self)
        self._lanes.append(lane)
        try:
            yield lane
        finally:
            lane.rest()
            self._lanes.remove(lane)

    def doing(self) -> str:
        """Return what all threads are doing, or were before they had to wait, as one line."""
        working = [lane.text for lane in reversed(self._lanes) if lane.working] or [self.main.text]
        return ", ".join(dict.fromkeys(filter(None, working)))

    def _run(self, alarm: Callable[[Lane], None]) -> None:
        while not self._stopped.wait(self.tick):
            self.ticks += 1
            for lane in reversed(tuple(self._lanes)):  # the main one may be waiting for another
                if lane.working and lane.seconds >= self.limit:
                    alarm(lane)
