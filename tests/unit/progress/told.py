"""Events for tests, and who keeps what it is shown."""

from __future__ import annotations

import io

from parnwb.progress.events import Ended, Event, Extent, Progressed, Started, State

STARTED = Started("/out/x.nwb", "writing", "writing x.nwb (direct)", 400_000_000, 8, ("a", "b"))
APPENDING = Started("/out/x.nwb", "appending", "appending to x.nwb", 0)
ENDED = Ended("/out/x.nwb", "writing", "done", 400_000_000, 100_000_000, 4.0)
STATE = State((Extent("/a/data", 1.0), Extent("/b/data", 0.25), Extent("/c/data", 0.0), Extent("/d/data", None)), 1, 3)


def progressed(raw: int = 200_000_000, stored: int = 50_000_000, *, state: State = STATE, **more: object) -> Progressed:
    """Return an event two seconds after the start."""
    given = {"seconds": 2.0, "recent_rate": 80e6, **more}
    return Progressed(
        STARTED.path, STARTED.task, STARTED.label, STARTED.total_bytes, raw, stored, state=state, **given
    )


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Kept:
    """A view that keeps what it is shown."""

    def __init__(self, interval: float = 0.0) -> None:
        self.interval = interval
        self.events: list[Event] = []

    def heed(self, event: Event) -> None:
        self.events.append(event)

    @property
    def progressed(self) -> list[Progressed]:
        return [event for event in self.events if isinstance(event, Progressed)]


class Told:
    """An object of a user's."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def start(self, label: str, total: int) -> None:
        self.calls.append(("start", label, total))

    def advance(self, raw: int, stored: int) -> None:
        self.calls.append(("advance", raw, stored))

    def finish(self) -> None:
        self.calls.append(("finish",))


class Screen(io.StringIO):
    """A terminal, as far as anybody asks."""

    def isatty(self) -> bool:
        return True
