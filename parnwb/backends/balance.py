"""``Balance``: the root's account of who is how far, by which a rank that has done all of its own helps another one."""

from __future__ import annotations

import numpy as np

from parnwb.backends.stretch import Stretch

AHEAD = 4
"""Buffers behind the last one that was asked for which nobody else may have: their rank may have begun them.

The buffer that it asks for next, one that waits to be taken and one that waits for room behind it, have been encoded
before the reply to the former request has been read, and each reply tells how far the rank may go. One more for safety.
"""


class Balance:
    """Independent; on the root.

    Parameters
    ----------
    ranks
        How many take part.
    """

    def __init__(self, ranks: int) -> None:
        self._owner = np.arange(ranks)
        self._next = np.zeros(ranks, dtype=np.int64)
        self._high = np.zeros(ranks, dtype=np.int64)  # nobody takes from a rank that has not asked yet

    def has_asked(self, rank: int, number: int, high: int) -> int:
        """Note that a rank asks for addresses; return where its stretch ends now.

        Parameters
        ----------
        number
            Of the buffer.
        high
            Where its stretch ends, as far as it knows.
        """
        if not self._high[rank]:
            self._high[rank] = high
        self._next[rank] = number + 1
        return int(self._high[rank])

    def end_of(self, rank: int) -> int:
        """Return where a rank's stretch ends now."""
        return int(self._high[rank])

    def help_for(self, rank: int) -> Stretch:
        """Return what a rank that has nothing left is to write: half of what the slowest can spare; or an empty one."""
        spare = self._high - self._next - AHEAD
        slowest = int(spare.argmax())
        if spare[slowest] <= 0:
            return Stretch.nothing()
        high = int(self._high[slowest])
        low = high - (int(spare[slowest]) + 1) // 2
        self._high[slowest] = low
        self._owner[rank], self._next[rank], self._high[rank] = self._owner[slowest], low, high
        return Stretch(int(self._owner[rank]), low, high)
