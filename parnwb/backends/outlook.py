"""``Outlook``: the bytes of the next buffer are fetched from their file while this one is encoded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, pairwise
from typing import TypeVar

from parnwb.backends.backend import Portion
from parnwb.errors import ParnwbError
from parnwb.machine.foresight import FileRange, Foresight, first_bytes
from parnwb.planning.plan import Buffer, MiB
from parnwb.sources import file_ranges

Piece = TypeVar("Piece")


class Outlook:
    """Goes through a rank's list of buffers with who reads them. Independent.

    It holds no memory of its own, unlike a thread that reads: of the usual chunks a buffer is one layer, and half of
    one cannot be encoded. It takes nothing either: what it has announced may still be given to another rank.

    Parameters
    ----------
    portion
        What is read.
    owner
        In whose list of the plan's buffers.
    foresight
        By which it is announced.
    """

    def __init__(self, portion: Portion, owner: int, foresight: Foresight) -> None:
        self._portion, self._foresight = portion, foresight
        self._pairs = pairwise(chain(portion.plan.buffers(owner), [None]))
        self._read: Buffer | None = None
        self._announced: Buffer | None = None

    def beyond(self, buffer: Buffer, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Iterate over the pieces of a buffer, or of a part of one; behind the last one announce the next buffer.

        The first of all buffers is announced itself, before its first piece.
        """
        if not _is_in(buffer, self._announced) and not _is_in(buffer, self._read):
            self._announce(buffer)
        yield from pieces
        if not _is_in(buffer, self._read):
            self._announce(self._behind(buffer))

    def _behind(self, buffer: Buffer) -> Buffer | None:
        for read, following in self._pairs:
            if _is_in(buffer, read):
                self._read = read
                return following
        return None

    def _announce(self, buffer: Buffer | None) -> None:
        self._announced = buffer
        if buffer is not None:
            self._foresight.announce(self._ranges(buffer))

    def _ranges(self, buffer: Buffer) -> list[FileRange]:
        """Return what is to be read, as far as a buffer goes: more could be dropped before it is read."""
        try:
            ranges = file_ranges(self._portion.source(buffer.dataset), buffer.slab)
        except ParnwbError:  # reading says so, when it comes to it
            return []
        return list(first_bytes(ranges, int(self._portion.plan.buffer_mb * MiB)))


def _is_in(part: Buffer, whole: Buffer | None) -> bool:
    return whole is not None and part.dataset == whole.dataset and whole.slab.contains(part.slab)
