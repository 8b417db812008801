"""Numbers as people read them."""

from __future__ import annotations

from collections.abc import Sequence

MB = 1e6
TIMES = "\N{NO-BREAK SPACE}× "


def extent_in_words(extent: Sequence[int] | None) -> str:
    """Return a shape."""
    return TIMES.join(map(str, extent)) if extent else "none"


def bytes_in_words(nbytes: float) -> str:
    """Return bytes with three digits and a unit."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if nbytes >= size:
            return f"{_three_digits(nbytes / size)}\N{NO-BREAK SPACE}{unit}"
    return f"{nbytes:.0f} B"


def rate_in_words(nbytes: float) -> str:
    """Return bytes of a second."""
    return f"{bytes_in_words(nbytes)}/s"


def seconds_in_words(seconds: float) -> str:
    """Return a duration: seconds, minutes or hours."""
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} h"
    if seconds >= 120:
        return f"{seconds / 60:.1f} min"
    return f"{_three_digits(seconds)} s"


def _three_digits(number: float) -> str:
    return f"{number:.{0 if number >= 100 else 1 if number >= 10 else 2}f}"
