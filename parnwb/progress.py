"""Progress: what the root tells its user while ranks write."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Callable
from typing import Protocol, TextIO

MB = 1e6


class Progress(Protocol):
    """Is told of bytes as they are done. Independent; on the root only."""

    def start(self, label: str, total: int) -> None:
        """Begin: ``total`` uncompressed bytes are to come."""

    def advance(self, raw: int, stored: int) -> None:
        """So many uncompressed bytes more are done, stored in so many."""

    def show(self, what: str) -> None:
        """Tell what is being written now. An object of the user's need not have this method."""

    def finish(self) -> None:
        """All is done, or has failed."""


class Silent:
    """Says nothing."""

    def start(self, label: str, total: int) -> None:
        """Say nothing."""

    def advance(self, raw: int, stored: int) -> None:
        """Say nothing."""

    def show(self, what: str) -> None:
        """Say nothing."""

    def finish(self) -> None:
        """Say nothing."""


class PlainLines:
    """A line every few seconds, for batch logs.

    Parameters
    ----------
    stream
        Where lines go.
    interval
        Seconds between lines.
    """

    def __init__(self, stream: TextIO = sys.stderr, interval: float = 5.0) -> None:
        self._stream, self._interval = stream, interval
        self._label, self._now, self._total, self._raw, self._stored = "", "", 0, 0, 0
        self._began = self._spoke = 0.0

    def start(self, label: str, total: int) -> None:
        """Begin counting."""
        self._label, self._now, self._total, self._raw, self._stored = label, "", total, 0, 0
        self._began = self._spoke = time.monotonic()

    def advance(self, raw: int, stored: int) -> None:
        """Count, and speak if it is time."""
        self._raw += raw
        self._stored += stored
        if time.monotonic() - self._spoke >= self._interval:
            self._speak()

    def show(self, what: str) -> None:
        """Keep it for the next line."""
        self._now = what

    def finish(self) -> None:
        """Speak a last time."""
        if self._label:
            self._speak()

    def _speak(self) -> None:
        self._spoke = time.monotonic()
        elapsed = max(self._spoke - self._began, 1e-9)
        rate = self._raw / elapsed
        left = (self._total - self._raw) / rate if rate else float("inf")
        share = 100 * self._raw / self._total if self._total else 100.0
        ratio = f", ratio {self._raw / self._stored:.2f}" if self._stored else ""
        eta = f", {left:.0f} s left" if 0 < left < float("inf") else ""
        now = f"; {self._now}" if self._now else ""
        done = f"{share:.0f} % of {self._total / MB:.0f} MB"
        if self._raw > self._total:  # data whose length was not known
            done = f"{self._raw / MB:.0f} MB"
        line = f"{self._label}: {done}, {rate / MB:.0f} MB/s{ratio}{eta}{now}\n"
        self._stream.write(line)  # in one piece: print ends a line with a second one, and launchers mix what they get
        self._stream.flush()


class Bar:
    """A bar with MB/s and the time left, for terminals."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn, TransferSpeedColumn
        from rich.progress import Progress as RichProgress

        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[now]}", markup=False),
            console=Console(stderr=True),
        )
        self._task = self._bar.add_task("", total=None, now="")

    def start(self, label: str, total: int) -> None:
        """Show the bar."""
        self._bar.reset(self._task, description=label, total=total, now="")
        self._bar.start()

    def advance(self, raw: int, stored: int) -> None:
        """Move it."""
        self._bar.advance(self._task, raw)

    def show(self, what: str) -> None:
        """Show it behind the bar."""
        self._bar.update(self._task, now=what)

    def finish(self) -> None:
        """Leave it as it is."""
        self._bar.stop()


class Extrapolated:
    """Tells of all ranks' bytes by those of the root, where nobody tells the root of the others'.

    Parameters
    ----------
    told
        Who is told.
    total, own
        Bytes of all ranks and of this one.
    """

    def __init__(self, told: Progress, total: int, own: int) -> None:
        self._told, self._factor = told, total / own if own else 0.0

    def start(self, label: str, total: int) -> None:
        """Pass on."""
        self._told.start(label, total)

    def advance(self, raw: int, stored: int) -> None:
        """Pass on as many bytes as all ranks may have done by now."""
        self._told.advance(round(raw * self._factor), round(stored * self._factor))

    def show(self, what: str) -> None:
        """Pass on."""
        self._told.show(what)

    def finish(self) -> None:
        """Pass on."""
        self._told.finish()


class Guarded:
    """Keeps what a display raises away from the writing: a full disk of logs, or a closed terminal.

    Parameters
    ----------
    told
        Who is told, until it fails.
    """

    def __init__(self, told: Progress) -> None:
        self._told: Progress = told

    def start(self, label: str, total: int) -> None:
        """Begin."""
        self._try(lambda: self._told.start(label, total))

    def advance(self, raw: int, stored: int) -> None:
        """Pass it on."""
        self._try(lambda: self._told.advance(raw, stored))

    def show(self, what: str) -> None:
        """Pass it on to whoever takes it."""
        if hasattr(self._told, "show"):
            self._try(lambda: self._told.show(what))

    def finish(self) -> None:
        """Pass it on."""
        self._try(self._told.finish)

    def _try(self, tell: Callable[[], None]) -> None:
        try:
            tell()
        except Exception as error:  # noqa: BLE001 - other ranks would wait for one that left for this
            self._told = Silent()
            warnings.warn(f"the progress display failed and is silent from here on: {error}", stacklevel=3)


def progress_for(show: bool | None, stream: TextIO = sys.stderr) -> Progress:
    """Return a bar on a terminal, lines elsewhere, nothing for False; None shows a bar on terminals only."""
    if show is False or (show is None and not stream.isatty()):
        return Silent()
    return Bar() if stream.isatty() else PlainLines(stream)
