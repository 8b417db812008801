"""``JsonLines``: a logging handler that writes each event, warning and error as one JSON object a line."""

from __future__ import annotations

import json
import logging
import socket
import sys
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TextIO

from parnwb.errors import TargetError


class JsonLines(logging.Handler):
    """Writes what the logger ``parnwb`` and those below it are given, for dashboards.

    Each line has ``event``, ``time``, ``rank`` and ``host``, and what belongs to the event. Lines are appended to what
    a file holds, each in one piece. A file is opened when there is something to say, so every rank may have one.

    Parameters
    ----------
    place
        A file, or an open stream.
    level
        Of logging, from which on records are written: ``DEBUG`` for all, with progress; ``WARNING`` for warnings and
        errors alone.
    """

    def __init__(self, place: Path | TextIO, level: int = logging.DEBUG) -> None:
        super().__init__(level)
        self._place = place
        self._stream: TextIO | None = None if isinstance(place, Path) else place
        self._failed = False

    def open(self) -> None:
        """Open the file, if it is one. Independent.

        Raises
        ------
        TargetError
            It cannot be written to.
        """
        if self._stream is None:
            assert isinstance(self._place, Path)
            try:
                self._stream = self._place.open("a")
            except OSError as error:
                self._failed = True
                raise TargetError(
                    f"the log of events cannot be written: {error.strerror}",
                    where=str(self._place),
                    remedy="Choose a file in a folder that exists and may be written to, or - for standard output",
                ) from error

    def look(self) -> None:
        """Refuse a place that cannot be written to, and leave nothing there. Independent.

        Raises
        ------
        TargetError
            Says why.
        """
        if not isinstance(self._place, Path) or self._stream is not None:
            return
        is_new = not self._place.exists()
        self.open()
        if is_new:  # else it may be a pipe, whose reader would leave
            self.close_file()
            self._place.unlink(missing_ok=True)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line."""
        line = as_json(record)
        if line is None or self._failed:
            return
        try:
            self.open()
            assert self._stream is not None
            self._stream.write(f"{json.dumps(line, default=str)}\n")
            self._stream.flush()
        except Exception as error:  # noqa: BLE001 - other ranks would wait for one that left for this
            self._failed = True
            with suppress(OSError, ValueError):
                sys.stderr.write(f"parnwb: warning: events are not written any more: {error}\n")

    def close(self) -> None:
        """Close the file, but no stream of others."""
        self.close_file()
        super().close()

    def close_file(self) -> None:
        """Close the file until there is something to say. Independent."""
        if isinstance(self._place, Path) and self._stream is not None:
            stream, self._stream = self._stream, None
            with suppress(OSError):  # a full disk, of which `emit` has told
                stream.close()


def as_json(record: logging.LogRecord) -> dict[str, Any] | None:
    """Return a record as it is written; None for words that are no event. Independent."""
    event = getattr(record, "event", None)
    if event is not None:
        said: dict[str, Any] = event.to_json()
    elif record.levelno >= logging.WARNING:
        said = {"event": "error" if record.levelno >= logging.ERROR else "warning", "text": record.getMessage()}
        said["kind"] = getattr(record, "kind", record.name)
    else:
        return None
    time = datetime.fromtimestamp(record.created, timezone.utc).isoformat(timespec="milliseconds")
    head = {"event": said.pop("event"), "time": time.replace("+00:00", "Z"), "rank": getattr(record, "rank", 0)}
    return head | {"host": getattr(record, "host", None) or socket.gethostname()} | said
