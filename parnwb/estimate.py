"""How long a conversion may take: one plain rule, until somebody measures."""

from __future__ import annotations

RATE = 40e6
"""Uncompressed bytes that a rank reads, compresses and writes in a second, where nobody has said otherwise."""

START_SECONDS = 3.0
"""What a conversion takes whatever its size: imports, metadata, the skeleton, the last fsync."""


def seconds(nbytes: float, ranks: int, rate: float = RATE) -> float:
    """Return about how long ``ranks`` ranks take for so many uncompressed bytes. Independent.

    Parameters
    ----------
    rate
        Bytes that one rank does in a second.
    """
    return START_SECONDS + nbytes / (ranks * rate)
