"""``Terminal``: all datasets in one view, which is drawn anew a few times a second."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from parnwb.progress.events import MB, Ended, Event, Extent, Progressed, State

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text

REDRAWS_APART = 0.3
OTHER_LINES = 4
BAR_WIDTH, SHARE_WIDTH = 20, 5
SECONDS_IN = (("h", 3600), ("min", 60))


class Terminal:
    """A bar for all bytes with MB/s, time left and ranks that wait; below it a bar for each dataset.

    Nothing is drawn between two events: there is no thread that would take turns with the ranks' work.

    Parameters
    ----------
    stream
        The terminal; None for standard error.
    """

    interval = REDRAWS_APART

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._live: Live | None = None

    def heed(self, event: Event) -> None:
        """Draw what has changed, and leave it there when the task ends."""
        if isinstance(event, Progressed) and event.task != "appending":
            if self._live is None:
                self._live = self._opened()
            self._live.update(drawn(event, self._live.console), refresh=True)
        elif isinstance(event, Ended) and self._live is not None:
            live, self._live = self._live, None
            live.stop()

    def _opened(self) -> Live:
        from rich.live import Live

        live = Live(console=console_on(self._stream), auto_refresh=False, vertical_overflow="crop")
        live.start()
        return live


def console_on(stream: TextIO | None) -> Console:
    """Return a console that draws, although a launcher may stand between this rank and the terminal. Independent."""
    from rich.console import Console

    stream = sys.stderr if stream is None else stream
    if stream.isatty():
        return Console(file=stream)
    columns, lines = _terminal_size()
    return Console(file=stream, force_terminal=True, width=columns, height=lines)


def _terminal_size() -> tuple[int, int]:
    """Return columns and lines of the terminal of this session, or what the environment says; else 80 and 24."""
    try:
        with open("/dev/tty") as terminal:
            size = os.get_terminal_size(terminal.fileno())
            found = size.columns, size.lines
    except OSError:
        found = 0, 0
    given = (os.environ.get(name, "") for name in ("COLUMNS", "LINES"))
    columns, lines = (int(text) if text.isdigit() else seen for text, seen in zip(given, found, strict=True))
    return columns or 80, lines or 24


def drawn(event: Progressed, console: Console) -> RenderableType:
    """Return how far all is, as something that rich prints; no more lines than the terminal has. Independent."""
    from rich.console import Group

    state, share = event.state, min(1.0, event.raw_bytes / event.total_bytes) if event.total_bytes else 1.0
    shown = _chosen(state, max(1, console.height - OTHER_LINES))
    named = [(event.label, share), *((f"  {extent.path}", extent.share) for extent in shown)]
    width = max(8, min(max(len(name) for name, _ in named), console.width - BAR_WIDTH - SHARE_WIDTH - 2))
    parts: list[RenderableType] = [_bars(named[:1], width), _line(_words(event))]
    if shown:
        more = len(state.extents) - len(shown)
        words = f"{state.complete} of {state.known} datasets complete" + (f"; {more} not shown" if more else "")
        parts += [_bars(named[1:], width), _line(words)]
    return Group(*parts)


def _line(words: str) -> Text:
    from rich.text import Text

    return Text(f"  {words}", no_wrap=True, overflow="ellipsis")


def _words(event: Progressed) -> str:
    """Return how quick it is, how long it takes still, and who waits."""
    words = [f"{event.raw_bytes / MB:.0f} of {event.total_bytes / MB:.0f} MB", f"{event.recent_rate / MB:.0f} MB/s"]
    if event.stored_bytes:
        words.append(f"{event.stored_rate / MB:.0f} MB/s stored")
    if event.seconds_left is not None:
        words.append(f"{duration(event.seconds_left)} left")
    if event.state.waiting:
        words.append(f"{event.state.waiting} rank(s) wait")
    return ", ".join(words)


def _bars(named: Sequence[tuple[str, float | None]], width: int) -> Table:
    """Return a bar for each name, of which the end is shown where not all of it fits."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 1))
    table.add_column(width=width, no_wrap=True)
    table.add_column(width=BAR_WIDTH)
    table.add_column(width=SHARE_WIDTH, justify="right")
    for name, share in named:
        text = name if len(name) <= width else f"  …{name[3 - width :]}"
        known = "..." if share is None else f"{int(100 * share + 1e-9)} %"
        table.add_row(Text(text), ProgressBar(1.0, share or 0.0, width=BAR_WIDTH), known)
    return table


def _chosen(state: State, most: int) -> tuple[Extent, ...]:
    """Return the datasets that are shown, in the order of the file: where not all fit, those under way first."""
    extents = state.extents
    if len(extents) <= most:
        return extents
    by_interest = sorted(range(len(extents)), key=lambda number: (_interest(extents[number]), number))
    return tuple(extents[number] for number in sorted(by_interest[:most]))


def _interest(extent: Extent) -> int:
    if extent.is_complete:
        return 2
    return 0 if extent.share else 1


def duration(seconds: float) -> str:
    """Return a duration in words."""
    words = []
    for unit, length in SECONDS_IN:
        count, seconds = divmod(seconds, length)
        if count:
            words.append(f"{count:.0f} {unit}")
    return " ".join(words) if len(words) == len(SECONDS_IN) else " ".join([*words, f"{seconds:.0f} s"])
