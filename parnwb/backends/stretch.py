"""``Stretch``: parts of buffers that follow each other in one rank's list, and that one rank writes, not always it.

A rank's list is counted in parts, ``PARTS`` for each buffer. A buffer is taken whole as a rule; where ranks have drawn
apart and the end is near, those that are late take halves and quarters, so that less is left when the others are done.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import numpy.typing as npt

from parnwb.hyperslab import Hyperslab
from parnwb.planning.plan import Buffer, WritePlan
from parnwb.sources.access import Access

PARTS = 4
"""Of a buffer: halves of halves. Some are empty where a buffer has fewer chunks, or must be read whole."""
AT_FIRST = 2 * PARTS
"""Parts of a stretch that may be begun before the first reply: a buffer to ask for, and the next one meanwhile.

With less, one that begins with empty parts might end there without anything to ask for.
"""


@dataclass
class Stretch:
    """What a rank has to write at a time. Its end may come nearer meanwhile: another rank writes the rest then.

    The thread that encodes begins nothing at ``limit`` or behind until a reply has moved that on; so what is there can
    be given to others.

    Parameters
    ----------
    owner
        In whose list of the plan's buffers.
    low, high
        Numbers of the first part, and of the one behind the last.
    limit
        Of the first part that may not be begun yet.
    step
        Most parts to be taken at once.
    """

    owner: int
    low: int
    high: int
    limit: int
    step: int = PARTS
    _moved: threading.Condition = field(default_factory=threading.Condition, init=False, repr=False, compare=False)

    @classmethod
    def own(cls, plan: WritePlan, rank: int) -> Stretch:
        """Return all buffers of a rank, which nobody else writes. Independent."""
        high = PARTS * sum(1 for _ in plan.buffers(rank))
        return cls(rank, 0, high, high)

    @classmethod
    def nothing(cls) -> Stretch:
        """Return a stretch without buffers."""
        return cls(0, 0, 0, 0)

    @classmethod
    def of(cls, numbers: npt.NDArray[np.int64]) -> Stretch:
        """Return what ``numbers`` was called for."""
        return cls(*numbers.tolist())

    def numbers(self) -> npt.NDArray[np.int64]:
        """Return it as a reply holds it."""
        return np.array([self.owner, self.low, self.high, self.limit, self.step], dtype=np.int64)

    def shared(self) -> Stretch:
        """Return the same one, of which no more may be begun than others leave."""
        return Stretch(self.owner, self.low, self.high, min(self.high, AT_FIRST))

    def go_on(self, rest: Stretch) -> None:
        """Go on as a reply says: so far, in such steps, and to that end. Independent; from any thread."""
        with self._moved:
            self.limit, self.step = max(self.limit, rest.limit), rest.step
            self.high = min(self.high, rest.high)
            self._moved.notify_all()

    def end_at(self, high: int) -> None:
        """Leave to others what begins there. Independent; from any thread."""
        with self._moved:
            self.high = min(self.high, high)
            self._moved.notify_all()

    def buffers(self, plan: WritePlan) -> Iterator[tuple[int, Buffer]]:
        """Iterate over buffers, or parts of them, each with the number of the first part that comes behind it.

        Independent. Waits until a part may be begun, or is left to others: whoever iterates is to be told by
        ``end_at(0)`` that nobody wants more.
        """
        position = self.low
        for number, buffer in islice(enumerate(plan.buffers(self.owner)), self.low // PARTS, None):
            parts = Parts(plan, buffer)
            while position < PARTS * (number + 1):
                self._wait_for(position)
                count = self.count_at(position)
                if not count:
                    return
                slab = parts.slab(position % PARTS, count)
                position += count
                position += parts.empty_from(position - PARTS * number)
                if slab is not None:
                    yield position, Buffer(buffer.dataset, slab)

    def count_at(self, position: int) -> int:
        """Return how many parts are to be begun together at a position: none if they may not, or are left to others."""
        with self._moved:
            room = max(0, min(self.limit, self.high, position + self.step) - position)
        count = PARTS
        while count > room or (count and position % count):
            count //= 2
        return count

    def _wait_for(self, position: int) -> None:
        with self._moved:
            self._moved.wait_for(lambda: position < self.limit or position >= self.high)


class Parts:
    """The parts of a buffer. Independent.

    Parameters
    ----------
    plan
        Whose buffer it is.
    buffer
        What is halved along its first axis of more than one chunk, as often as that gives so many parts: whole rows
        stay together as long as can be.
    """

    def __init__(self, plan: WritePlan, buffer: Buffer) -> None:
        spec = plan.layout.datasets[buffer.dataset]
        self._buffer, self._grid = buffer, spec.grid
        in_large_blocks = buffer.dataset in plan.blocks  # of which each part would decode all once more
        self._is_whole = in_large_blocks or spec.access not in (Access.RANDOM, Access.GROWING)

    def slab(self, first: int, count: int) -> Hyperslab | None:
        """Return the elements of ``count`` parts from ``first`` on, a multiple of this power of two; None if empty."""
        if self._is_whole or count == PARTS:
            return self._buffer.slab if first == 0 else None
        cells: Hyperslab | None = self._grid.cells(self._buffer.slab)
        size = PARTS
        while size > count and cells is not None:
            size //= 2
            cells = _half(cells, second=bool(first & size))
        return None if cells is None else self._grid.elements(cells)

    def empty_from(self, first: int) -> int:
        """Return how many parts from ``first`` on are empty before one that is not, or the buffer's end."""
        rest = range(first, PARTS)
        return next((part - first for part in rest if self.slab(part, 1) is not None), len(rest))


def _half(box: Hyperslab, *, second: bool) -> Hyperslab | None:
    """Return half of a box along its first axis that is longer than one; of a box of one, the first half is all."""
    axis = next((axis for axis, count in enumerate(box.count) if count > 1), None)
    if axis is None:
        return None if second else box
    middle = -(-box.count[axis] // 2)
    low, count = (middle, box.count[axis] - middle) if second else (0, middle)
    return Hyperslab(
        tuple(start + low * (a == axis) for a, start in enumerate(box.start)),
        tuple(count if a == axis else n for a, n in enumerate(box.count)),
    )
