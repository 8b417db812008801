"""Views: what events are shown to. None of them ends the writing when it fails."""

from __future__ import annotations

import warnings
from contextlib import suppress
from typing import Protocol

from parnwb.progress.events import Ended, Event, Progressed, Started
from parnwb.voice import say


class View(Protocol):
    """Is shown events. Independent; on the root only."""

    interval: float
    """Seconds that pass at least between two events of progress; 0 for one whenever bytes are done."""

    def heed(self, event: Event) -> None:
        """Show an event."""


class Progress(Protocol):
    """An object of the user's. Independent; on the root only."""

    def start(self, label: str, total: int) -> None:
        """Begin: ``total`` uncompressed bytes are to come."""

    def advance(self, raw: int, stored: int) -> None:
        """So many uncompressed bytes more are done, stored in so many."""

    def show(self, what: str) -> None:
        """Tell what is being written now. An object of the user's need not have this method."""

    def finish(self) -> None:
        """All is done, or has failed."""


class Silent:
    """Shows nothing."""

    interval = float("inf")

    def heed(self, event: Event) -> None:
        """Show nothing."""


class Own:
    """Tells an object of the user's.

    Parameters
    ----------
    told
        Who is told.
    """

    interval = 0.0

    def __init__(self, told: Progress) -> None:
        self._told = told
        self._raw = self._stored = 0

    def heed(self, event: Event) -> None:
        """Tell what has changed since the last event."""
        if isinstance(event, Started):
            self._raw = self._stored = 0
            if event.task != "appending":  # which goes on with what it was told to finish
                self._told.start(event.label, event.total_bytes)
        elif isinstance(event, Progressed) and (event.raw_bytes, event.stored_bytes) != (self._raw, self._stored):
            raw, stored = event.raw_bytes - self._raw, event.stored_bytes - self._stored
            self._raw, self._stored = event.raw_bytes, event.stored_bytes
            self._told.advance(raw, stored)
            if event.state.current is not None and hasattr(self._told, "show"):
                self._told.show(str(event.state))
        elif isinstance(event, Ended) and event.task != "appending":
            self._told.finish()


class Logged:
    """Gives events to the logger ``parnwb.progress``.

    Parameters
    ----------
    rank, host
        Who tells of them.
    """

    interval = 1.0

    def __init__(self, rank: int, host: str) -> None:
        self._rank, self._host = rank, host

    def heed(self, event: Event) -> None:
        """Log it, as a text and as what it is."""
        say(event.level, "progress", str(event), self._rank, self._host, event=event)


class Guarded:
    """Keeps what a view raises away from the writing: a full disk of logs, or a closed terminal.

    Parameters
    ----------
    view
        Which is shown events until it fails.
    """

    def __init__(self, view: View) -> None:
        self._view: View = view
        self.interval = view.interval

    def heed(self, event: Event) -> None:
        """Pass it on."""
        try:
            self._view.heed(event)
        except Exception as error:  # noqa: BLE001 - other ranks would wait for one that left for this
            self._view, self.interval = Silent(), Silent.interval
            with suppress(Exception):  # where warnings are errors, or cannot be printed either
                warnings.warn(f"the progress display failed and is silent from here on: {error}", stacklevel=3)
