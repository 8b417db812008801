"""Which view is shown where."""

from __future__ import annotations

import sys
from numbers import Real
from typing import TextIO, cast

from parnwb.errors import ParnwbError
from parnwb.progress.meter import Meter
from parnwb.progress.plain import PlainLines
from parnwb.progress.terminal import Terminal
from parnwb.progress.view import Logged, Own, Progress, Silent, View

MODES = ("auto", "terminal", "plain", "none")


def progress_for(show: bool | None, stream: TextIO | None = None) -> View:
    """Return a view on a terminal, lines elsewhere, nothing for False; None shows something on terminals only."""
    is_terminal = (sys.stderr if stream is None else stream).isatty()
    if show is False or (show is None and not is_terminal):
        return Silent()
    return Terminal(stream) if is_terminal else PlainLines(stream)


def view_by_name(name: str) -> View:
    """Return a view by the word for it, one of ``MODES``."""
    kinds = {"terminal": Terminal, "plain": PlainLines, "none": Silent}
    return progress_for(True) if name == "auto" else kinds[name]()


def view_of(given: object) -> View:
    """Return a view for what a user gave as ``progress``; refuse what can be shown nothing.

    Raises
    ------
    ParnwbError
        It is neither True, False nor None, nor a view, with ``heed`` and ``interval``, nor an object with ``start``,
        ``advance`` and ``finish``.
    """
    if isinstance(given, bool | None):
        return progress_for(given)
    if callable(getattr(given, "heed", None)):
        interval = getattr(given, "interval", None)
        if isinstance(interval, bool) or not isinstance(interval, Real) or not float(interval) >= 0:
            raise ParnwbError(
                f"a view, which has heed, also has interval, seconds between two events of progress; got {interval!r}",
                where=type(given).__name__,
                remedy="Add interval = 1.0 to its class",
            )
        return cast("View", given)
    if not all(callable(getattr(given, name, None)) for name in ("start", "advance", "finish")):
        raise ParnwbError(
            f"progress must be True, False, None or an object with start, advance and finish, got {given!r}"
        )
    return Own(cast("Progress", given))


def meter_of(view: View, rank: int, host: str) -> Meter:
    """Return the meter of the job's root, which shows a view what is done and logs it. Independent."""
    return Meter([view, Logged(rank, host)])
