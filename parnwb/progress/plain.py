"""``PlainLines``: a line every few seconds, for batch logs."""

from __future__ import annotations

import sys
from typing import TextIO

from parnwb.progress.events import Event, Progressed


class PlainLines:
    """A line every few seconds, and one at the end of each task.

    Parameters
    ----------
    stream
        Where lines go; None for standard error, whatever that is when a line is written.
    interval
        Seconds between lines.
    """

    def __init__(self, stream: TextIO | None = None, interval: float = 5.0) -> None:
        self._stream = stream
        self.interval = interval

    def heed(self, event: Event) -> None:
        """Write a line about what has been done; commits and the like are for the log."""
        if isinstance(event, Progressed) and not _says_nothing(event):
            stream = sys.stderr if self._stream is None else self._stream
            stream.write(f"{event}\n")  # in one piece: print writes the end by itself, and launchers mix what they get
            stream.flush()


def _says_nothing(event: Progressed) -> bool:
    """Tell whether it is about rows that a program appends, of which there are none yet."""
    return event.task == "appending" and not event.raw_bytes
