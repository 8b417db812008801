"""``Timeline``: when one rank did what, in so many bins of time at most, however long it takes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
BINS = 256
FIRST_WIDTH = 0.01
STATM = Path("/proc/self/statm")
PAGE = os.sysconf("SC_PAGESIZE")


@dataclass(frozen=True)
class Binned:
    """What happened in equal bins of time.

    Parameters
    ----------
    width
        Seconds of a bin.
    seconds
        By phase, seconds in each bin.
    raw, stored
        Bytes that were written in each bin, uncompressed and as they are stored.
    memory
        Bytes of anonymous memory, looked at once in each bin in which anything happened; else 0.
    """

    width: float
    seconds: Mapping[str, Values]
    raw: Values
    stored: Values
    memory: Values

    def within(self, frame: float, begin: float, bins: int) -> Binned:
        """Return the same in ``bins`` bins of a longer time of ``frame`` seconds, in which this one begins later.

        Parameters
        ----------
        begin
            Seconds of the frame before this one began.
        """
        width = max(frame, 1e-9) / bins
        edges = np.arange(bins + 1) * width - begin
        own = np.arange(len(self.raw) + 1) * self.width

        def shared(values: Values) -> Values:
            return np.diff(np.interp(edges, own, np.concatenate([[0.0], np.cumsum(values)])))

        largest = np.zeros(bins)
        places = np.clip(((own[:-1] + self.width / 2 + begin) / width).astype(int), 0, bins - 1)
        np.maximum.at(largest, places, self.memory)
        seconds = {phase: shared(values) for phase, values in self.seconds.items()}
        return Binned(width, seconds, shared(self.raw), shared(self.stored), largest)


class Timeline:
    """Counts seconds by phase, bytes and memory into bins, which become twice as wide when there would be too many.

    Independent. To add seconds costs less than a microsecond; memory is looked at when a bin begins. Those who share
    one take turns.

    Parameters
    ----------
    began
        When it begins, by the clock by which seconds are added.
    memory
        Returns bytes of memory.
    """

    def __init__(self, began: float, memory: Callable[[], int] | None = None) -> None:
        self.began = self.ended = began
        self._memory = anonymous_bytes if memory is None else memory
        self._width = FIRST_WIDTH
        self._rows: dict[str, list[float]] = {}
        self._raw, self._stored, self._seen = ([0.0] * BINS for _ in range(3))
        self._newest = -1
        self._counted = began

    def add(self, phase: str, begin: float, end: float) -> None:
        """Add what passed between two times as seconds of ``phase``."""
        last = self._bin(end)
        row = self._rows.get(phase)
        if row is None:
            row = self._rows[phase] = [0.0] * BINS
        if int((begin - self.began) / self._width) == last:
            row[last] += end - begin
        else:
            self._spread(row, begin, end, end - begin)

    def count(self, now: float, raw: int, stored: int) -> None:
        """Count bytes that have been read, encoded and written since bytes were counted last, with none at first."""
        last = self._bin(now)
        if now > self._counted:
            self._spread(self._raw, self._counted, now, raw)
            self._spread(self._stored, self._counted, now, stored)
        else:
            self._raw[last] += raw
            self._stored[last] += stored
        self._counted = now

    def _spread(self, row: list[float], begin: float, end: float, amount: float) -> None:
        """Add an amount evenly to the bins of some time."""
        low, high = (begin - self.began) / self._width, (end - self.began) / self._width
        for number in range(int(low), min(int(high), BINS - 1) + 1):
            row[number] += amount * (min(high, number + 1) - max(low, number)) / (high - low)

    def binned(self) -> Binned:
        """Return a copy of what has been counted."""
        seconds = {phase: np.array(row) for phase, row in self._rows.items()}
        return Binned(self._width, seconds, np.array(self._raw), np.array(self._stored), np.array(self._seen))

    def _bin(self, now: float) -> int:
        """Return the bin of a time, after making room for it; look at memory if it is a new one."""
        number = int((now - self.began) / self._width)
        while number >= BINS:
            self._halve()
            number = int((now - self.began) / self._width)
        self.ended = max(self.ended, now)
        if number > self._newest:
            self._newest = number
            self._seen[number] = max(self._seen[number], self._memory())
        return number

    def _halve(self) -> None:
        """Make two bins one."""
        self._width *= 2
        self._newest //= 2
        rest = [0.0] * (BINS // 2)
        for row in (*self._rows.values(), self._raw, self._stored):
            row[:] = [a + b for a, b in zip(row[::2], row[1::2], strict=True)] + rest
        self._seen = [max(a, b) for a, b in zip(self._seen[::2], self._seen[1::2], strict=True)] + rest


def anonymous_bytes() -> int:
    """Return the bytes of memory that this process has to itself, without mapped files; 0 where nobody can tell."""
    try:
        _, resident, shared, *_ = STATM.read_text().split()
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * PAGE
