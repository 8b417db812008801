"""``Balance``: the root's account of who is how far, by which a rank that has done all of its own helps another one."""

from __future__ import annotations

import numpy as np

from parnwb.backends.stretch import AT_FIRST, PARTS, Stretch

EARLY = 4
"""A late rank takes at once a fourth of what ranks have left on average, and not more than a buffer."""
MUCH = 8 * PARTS
"""While ranks have more left than this on average, they may go on a buffer further, in case that a reply is late."""


class Balance:
    """Independent; on the root. Counts in parts of buffers, as stretches do.

    Parameters
    ----------
    ranks
        How many take part.
    """

    def __init__(self, ranks: int) -> None:
        self._owner = np.arange(ranks)
        self._next = np.zeros(ranks, dtype=np.int64)
        self._limit = np.full(ranks, AT_FIRST, dtype=np.int64)
        self._high = np.zeros(ranks, dtype=np.int64)  # nobody takes from a rank that has not asked yet
        self._heard = np.zeros(ranks, dtype=bool)
        self._done = np.zeros(ranks, dtype=np.int64)
        # Ranks that were heard, what they have left and what they have done: sums, because ranks are many.
        self._known = self._left = self._all_done = 0

    def has_asked(self, rank: int, behind: int, high: int) -> Stretch:
        """Note that a rank asks for addresses; return the rest of its stretch, and how far it may go.

        A rank asks when its thread goes on with what comes behind; the reply allows one more step beyond that, so that
        it is there before it is wanted.

        Parameters
        ----------
        behind
            Number of the first part behind those that it has encoded.
        high
            Where its stretch ends, as far as it knows.
        """
        self._all_done += behind - int(self._next[rank])
        self._done[rank] += behind - self._next[rank]
        self._set(rank, behind, int(self._high[rank]) or high)
        step = self._step_of(rank)
        spare = PARTS if self._average > MUCH else 0
        self._limit[rank] = max(int(self._limit[rank]), behind + 2 * step + spare)
        return self._rest_of(rank, step)

    def end_of(self, rank: int) -> int:
        """Return where a rank's stretch ends now; 0 if it has not asked yet."""
        return int(self._high[rank])

    def rest_of(self, rank: int) -> Stretch:
        """Return the rest of a rank's stretch as it is now."""
        return self._rest_of(rank, self._step_of(rank))

    def help_for(self, rank: int) -> Stretch:
        """Return what a rank that has nothing left is to write, or an empty stretch.

        It is half of what the one that has most can spare; but no more than ranks have left on average, because others
        may come for the same.
        """
        self._set(rank, 0, 0)
        spare = self._high - self._limit
        slowest = int(spare.argmax())
        if spare[slowest] <= 0:
            return Stretch.nothing()
        high = int(self._high[slowest])
        low = high - max(1, min((int(spare[slowest]) + 1) // 2, self._average))
        self._set(slowest, int(self._next[slowest]), low)
        self._set(rank, low, high)
        self._owner[rank] = self._owner[slowest]
        self._limit[rank] = low + AT_FIRST
        return self.rest_of(rank)

    def _set(self, rank: int, following: int, high: int) -> None:
        self._left += high - following - int(self._high[rank] - self._next[rank])
        self._next[rank], self._high[rank] = following, high
        self._known += not self._heard[rank]
        self._heard[rank] = True

    def _rest_of(self, rank: int, step: int) -> Stretch:
        owner, low, high, limit = (int(of[rank]) for of in (self._owner, self._next, self._high, self._limit))
        return Stretch(owner, low, high, min(limit, high), step)

    @property
    def _average(self) -> int:
        return self._left // self._known

    def _step_of(self, rank: int) -> int:
        """Return how many parts a rank takes at once: fewer near the end, if it is slower than others."""
        if self._done[rank] + PARTS // 2 > self._all_done / self._known:
            return PARTS
        return min(PARTS, max(1, self._average // EARLY))
