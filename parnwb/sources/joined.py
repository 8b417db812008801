"""Rows that are in a file already, followed by those of a source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from parnwb.codec.cast import in_file_dtype
from parnwb.exactness import check_exact
from parnwb.hyperslab import Hyperslab
from parnwb.machine.foresight import FileRange
from parnwb.sources.access import Access
from parnwb.sources.source import PiecewiseSource, Source, file_ranges, read_beside, reads_whole_rows


@dataclass(frozen=True)
class JoinedSource:
    """The last rows of one source and then all of another, as one. All calls are independent.

    Parameters
    ----------
    before
        Whose rows from ``first`` on come first; it can be read in any order.
    first
        Row of ``before``.
    after
        What follows, of the same shape but for its rows; its values must be some that the type of ``before`` has.
    """

    before: Source
    first: int
    after: Source

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of both together, in elements."""
        return (self._joint + self.after.shape[0], *self.after.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of ``before``."""
        return self.before.dtype

    @property
    def access(self) -> Access:
        """What ``after`` promises."""
        return self.after.access

    @property
    def whole_rows(self) -> bool:
        """Whether ``after`` reads all of a row for any part of it."""
        return reads_whole_rows(self.after)

    @property
    def read_beside(self) -> int:
        """What is read beside the values of ``after``."""
        return read_beside(self.after)

    def read(self, slab: Hyperslab) -> npt.NDArray[Any]:
        """Return the values of ``slab``, of shape ``slab.count``. Independent.

        Raises
        ------
        SourceError
            One of the two could not be read, or ``after`` has values that the type of ``before`` has not.
        """
        values = np.empty(slab.count, dtype=self.dtype)
        for part, piece in self.pieces(slab):
            values[part.relative_to(slab.start).slices] = piece
        return values

    def pieces(self, slab: Hyperslab) -> Iterator[tuple[Hyperslab, npt.NDArray[Any]]]:
        """Iterate over ``(part, values)`` that cover ``slab``, in order. Independent."""
        head, rest = self._parted(slab)
        if head.size:
            yield head, self.before.read(_moved(head, self.first))
        if rest.size:
            inner = _moved(rest, -self._joint)
            after = self.after
            found = after.pieces(inner) if isinstance(after, PiecewiseSource) else [(inner, after.read(inner))]
            for part, values in found:
                check_exact(values, self.dtype, "new rows", part.start)
                yield _moved(part, self._joint), in_file_dtype(values, self.dtype).astype(self.dtype, copy=False)

    def file_ranges(self, slab: Hyperslab) -> list[FileRange]:
        """Return where both sources have their values. Independent."""
        head, rest = self._parted(slab)
        before = file_ranges(self.before, _moved(head, self.first)) if head.size else []
        return before + (file_ranges(self.after, _moved(rest, -self._joint)) if rest.size else [])

    def _parted(self, slab: Hyperslab) -> tuple[Hyperslab, Hyperslab]:
        """Return the parts of ``slab`` that come from the first source and from the second; one may be empty."""
        head = slab.intersect(Hyperslab.whole((self._joint, *self.shape[1:])))
        return head, slab.intersect(Hyperslab((self._joint, *(0 for _ in slab.start[1:])), self.after.shape))

    @property
    def _joint(self) -> int:
        """Row at which ``after`` begins."""
        return self.before.shape[0] - self.first


def _moved(slab: Hyperslab, rows: int) -> Hyperslab:
    return Hyperslab((slab.start[0] + rows, *slab.start[1:]), slab.count)
