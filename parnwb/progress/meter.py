"""``Meter``: counts bytes as they are done, and makes events of them that views see a few times a second."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from parnwb.errors import Interrupted
from parnwb.progress.events import DONE, FAILED, STOPPED, Ended, Event, Progressed, Started, State
from parnwb.progress.view import Guarded, View

RECENT_SECONDS = 5.0
SAMPLES_APART = 0.5


class Counting(Protocol):
    """Is told of bytes as they are done. Independent."""

    def advance(self, raw: int, stored: int) -> None:
        """So many uncompressed bytes more are done, stored in so many."""


class Meter:
    """Counts what is done, task after task. Independent; without views, as on all ranks but the root, it costs nothing.

    Parameters
    ----------
    views
        Which are shown events; one that fails is shown no more.
    clock
        Returns seconds.
    """

    def __init__(self, views: Sequence[View] = (), clock: Callable[[], float] = time.monotonic) -> None:
        self._views = [Guarded(view) for view in views]
        self._clock = clock
        self._look: Callable[[], State] = State
        self._started: Started | None = None
        self._began = self._due = 0.0
        self._next = [0.0] * len(self._views)
        self._raw = self._stored = 0
        self._samples: deque[tuple[float, int]] = deque()

    def watch(self, look: Callable[[], State]) -> None:
        """Ask ``look`` how far all datasets are, whenever a view is to be shown that."""
        self._look = look

    def tell(self, event: Event) -> None:
        """Show an event to all views."""
        for view in self._views:
            view.heed(event)

    def begin(self, started: Started) -> None:
        """Begin to count anew."""
        if not self._views:
            return
        self._started = started
        self._raw = self._stored = 0
        self._began = now = self._clock()
        self._samples = deque([(now, 0)])
        self._next = [now + view.interval for view in self._views]
        self._due = min(self._next)
        self.tell(started)

    def advance(self, raw: int, stored: int) -> None:
        """Count bytes; show views what is due."""
        if self._started is None:
            return
        self._raw += raw
        self._stored += stored
        now = self._clock()
        if now >= self._due:
            self._show(now)

    def end(self, status: str = DONE, error: str = "") -> None:
        """Show all views how it ended; nothing if nothing has begun."""
        if self._started is None:
            return
        progressed = self._progressed(self._clock())
        self.tell(progressed)
        started, self._started = self._started, None
        self.tell(
            Ended(
                started.path, started.task, status, self._raw, self._stored, round(progressed.seconds, 3), error
            )
        )

    @contextmanager
    def task(self, started: Started) -> Iterator[None]:
        """Count what is done within the block."""
        self.begin(started)
        try:
            yield
        except BaseException as error:
            stopped = isinstance(error, Interrupted | KeyboardInterrupt)
            self.end(STOPPED if stopped else FAILED, str(error) or type(error).__name__)
            raise
        self.end()

    def _show(self, now: float) -> None:
        """Show how far it is to the views that are due, each of which sees it at its own pace."""
        progressed = self._progressed(now)
        for number, view in enumerate(self._views):
            if now >= self._next[number]:
                view.heed(progressed)
                self._next[number] = now + view.interval
        self._due = min(self._next)

    def _progressed(self, now: float) -> Progressed:
        assert self._started is not None
        started, samples = self._started, self._samples
        if now - samples[-1][0] >= SAMPLES_APART:
            samples.append((now, self._raw))
        while len(samples) > 1 and now - samples[0][0] > RECENT_SECONDS:
            samples.popleft()
        since, before = samples[0]
        recent = (self._raw - before) / (now - since) if now > since else 0.0
        return Progressed(
            started.path,
            started.task,
            started.label,
            started.total_bytes,
            self._raw,
            self._stored,
            now - self._began,
            recent,
            self._look(),
        )


class Extrapolated:
    """Counts all ranks' bytes by those of one, where nobody tells the root of the others'.

    Parameters
    ----------
    told
        Who is told.
    total, own
        Bytes of all ranks and of this one.
    """

    def __init__(self, told: Counting, total: int, own: int) -> None:
        self._told, self._factor = told, total / own if own else 0.0

    def advance(self, raw: int, stored: int) -> None:
        """Count as many bytes as all ranks may have done by now."""
        self._told.advance(round(raw * self._factor), round(stored * self._factor))
