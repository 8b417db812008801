"""Rows that ranks hold, given to the ranks that write them."""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from parnwb.comm import Ranks
from parnwb.hyperslab import Hyperslab
from parnwb.planning.plan import WritePlan
from parnwb.sources import Access

Piece = tuple[Hyperslab, npt.NDArray[Any]]


class HeldRows:
    """Values in memory, as pieces that do not overlap: what one rank needs of a window. All calls are independent.

    Parameters
    ----------
    shape
        Of the window.
    dtype
        Of all pieces.
    pieces
        Boxes of the window and their values; whole rows along the axis that they are sorted by.
    axis
        Along which rows are counted.
    """

    access = Access.RANDOM

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], pieces: Sequence[Piece], axis: int) -> None:
        self.shape, self.dtype = shape, dtype
        self._axis = axis
        self._held = sorted(pieces, key=lambda piece: piece[0].start[axis])
        self._lows = [slab.start[axis] for slab, _ in self._held]
        self._longest = max((slab.count[axis] for slab, _ in self._held), default=0)

    def pieces(self, slab: Hyperslab) -> Iterator[Piece]:
        """Iterate over ``(part, values)`` of what is held of ``slab``."""
        first = bisect.bisect_left(self._lows, slab.start[self._axis] - self._longest)
        last = bisect.bisect_left(self._lows, slab.stop[self._axis])
        for held, values in self._held[first:last]:
            common = held.intersect(slab)
            if common.size:
                yield common, values[common.relative_to(held.start).slices]

    def read(self, slab: Hyperslab) -> npt.NDArray[Any]:
        """Return the values of ``slab``."""
        values = np.empty(slab.count, dtype=self.dtype)
        for part, found in self.pieces(slab):
            values[part.relative_to(slab.start).slices] = found
        return values


def owned(plan: WritePlan, dataset: int) -> Callable[[int], list[Hyperslab]]:
    """Return what tells the boxes of a dataset that a rank writes."""
    grains = plan.grain_grids[dataset]
    return lambda rank: [grains.elements(share.grains) for share in plan.shares(rank) if share.dataset == dataset]


def exchanged(ranks: Ranks, held: HeldRows, boxes: Callable[[int], Sequence[Hyperslab]], axis: int) -> HeldRows:
    """Return what this rank needs, of all that ranks hold. Collective.

    Parameters
    ----------
    held
        What this rank has.
    boxes
        The boxes that a rank needs; the same answer on all ranks.
    axis
        Along which rows are counted.
    """
    if ranks.size == 1:
        return held
    parts = [_packed([piece for box in boxes(rank) for piece in held.pieces(box)]) for rank in range(ranks.size)]
    found = ranks.exchange_bytes(parts)
    del parts
    pieces = [piece for part in found for piece in _unpacked(part, len(held.shape), held.dtype)]
    return HeldRows(held.shape, held.dtype, pieces, axis)


def _packed(pieces: Sequence[Piece]) -> npt.NDArray[np.uint8]:
    """Return pieces as bytes: their number, start and count of each, then the values of each in C order."""
    if not pieces:
        return np.empty(0, dtype=np.uint8)
    places = [number for slab, _ in pieces for number in (*slab.start, *slab.count)]
    head = np.array([len(pieces), *places], dtype=np.int64)
    return np.concatenate([head.view(np.uint8), *(_octets(values) for _, values in pieces)])


def _octets(values: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)


def _unpacked(part: npt.NDArray[np.uint8], ndim: int, dtype: np.dtype[Any]) -> Iterator[Piece]:
    if not len(part):
        return
    number = int(part[:8].view(np.int64)[0])
    position = 8 * (1 + 2 * ndim * number)
    for row in part[8:position].view(np.int64).reshape(number, 2, ndim).tolist():
        slab = Hyperslab(tuple(row[0]), tuple(row[1]))
        nbytes = math.prod(slab.count) * dtype.itemsize
        yield slab, part[position : position + nbytes].view(dtype).reshape(slab.count)
        position += nbytes
