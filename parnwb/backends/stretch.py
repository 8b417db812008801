"""``Stretch``: buffers that follow each other in one rank's list, and that one rank writes, not always the same one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from parnwb.planning.plan import Buffer, WritePlan


@dataclass
class Stretch:
    """What a rank has to write at a time. Its end may come nearer meanwhile: another rank writes the rest then.

    The thread that encodes looks at the end before each buffer; whoever brings it nearer leaves what that thread may
    have begun (``balance.AHEAD``).

    Parameters
    ----------
    owner
        In whose list of the plan's buffers.
    low, high
        Numbers of the first buffer, and of the one behind the last.
    """

    owner: int
    low: int
    high: int

    @classmethod
    def own(cls, plan: WritePlan, rank: int) -> Stretch:
        """Return all buffers of a rank. Independent."""
        return cls(rank, 0, sum(1 for _ in plan.buffers(rank)))

    @classmethod
    def nothing(cls) -> Stretch:
        """Return a stretch without buffers."""
        return cls(0, 0, 0)

    def end_at(self, high: int) -> None:
        """Leave to others what begins there. Independent; from any thread."""
        self.high = min(self.high, high)

    def buffers(self, plan: WritePlan) -> Iterator[tuple[int, Buffer]]:
        """Iterate over numbers and buffers. Independent."""
        for number, buffer in islice(enumerate(plan.buffers(self.owner)), self.low, None):
            if number >= self.high:
                return
            yield number, buffer
