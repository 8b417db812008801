"""When the rows of a series were taken: by a rate and a start, or by timestamps; and whether two series agree."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from parnwb.links.values import equal, shown

Difference = tuple[str, str, str]
# Timestamps jitter; a rate that is further from theirs is another one.
RATE_TOLERANCE = 0.01
# So many timestamps are compared, spread over all: each may cost reading a chunk.
LOOKED_AT = 17


@dataclass(frozen=True)
class Clock:
    """When the rows of a series were taken.

    Parameters
    ----------
    rate, start
        Rows in a second, and the time of the first; None for a series with timestamps.
    times
        Timestamps; None for a series with a rate.
    """

    rate: float | None
    start: float | None
    times: Any

    @classmethod
    def of(cls, rate: Any, start: Any, times: Any) -> Clock | None:
        """Return the clock, None where there is none that can be read now, as of an iterator. Independent."""
        if rate is not None:
            return cls(float(rate), float(start if start is not None else 0.0), None)
        if hasattr(times, "__len__") and hasattr(times, "__getitem__") and len(times):
            return cls(None, None, times)
        return None

    @property
    def begins(self) -> float:
        """Time of the first row."""
        return self.start if self.start is not None else float(self.times[0])

    @property
    def goes(self) -> float | None:
        """Rows in a second, of timestamps on average; None where they are too few to tell."""
        return self.rate if self.rate is not None else regular_rate(self.times)

    def __str__(self) -> str:
        return shown(self.rate) if self.rate is not None else f"timestamps, {self.goes or 0:.6g} a second on average"


def different_clocks(asked: Clock | None, found: Clock | None) -> Iterator[Difference]:
    """Iterate over what differs, with both values; what one does not tell is not compared. Independent."""
    if asked is None or found is None:
        return
    if asked.times is not None and found.times is not None:
        yield from _different_timestamps(asked.times, found.times)
        return
    both_rates = asked.times is None and found.times is None
    wanted, there = asked.goes, found.goes
    if wanted is None or there is None:
        return
    if not (equal(wanted, there) if both_rates else abs(there - wanted) <= RATE_TOLERANCE * wanted):
        yield "rate", str(asked), str(found)
    one, other = asked.begins, found.begins
    if not (equal(one, other) if both_rates else abs(one - other) <= 1 / wanted):
        yield "starting_time", shown(one), shown(other)


def _different_timestamps(asked: Any, found: Any) -> Iterator[Difference]:
    """Compare some of them: rows are at the same times if they are less than half a row apart."""
    if len(asked) != len(found):
        yield "timestamps", f"{len(asked)} of them", f"{len(found)} of them"
        return
    rate = regular_rate(found)
    apart = 0.5 / rate if rate is not None else 0.0
    for row in np.unique(np.linspace(0, len(asked) - 1, LOOKED_AT).astype(int)).tolist():
        one, other = float(asked[row]), float(found[row])
        if not equal(one, other) and abs(one - other) > apart:
            yield f"timestamps[{row}]", shown(one), shown(other)
            return


def regular_rate(times: Any) -> float | None:
    """Return the average rate of timestamps, None where they tell none. Independent."""
    rows = len(times)
    span = float(times[rows - 1]) - float(times[0]) if rows > 1 else 0.0
    return (rows - 1) / span if span > 0 else None
