"""Rows that come one after another, cut into windows of whole layers of chunks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from parnwb.errors import SourceError
from parnwb.hyperslab import Hyperslab
from parnwb.layout import DatasetSpec, FileLayout
from parnwb.sources.access import Access

Rows = tuple[int, npt.NDArray[Any]]
"""The first row, and the values of it and those that follow."""
OBJECT_BYTES = 200
"""Of an array besides its values: many small blocks are more than their values."""
JOINED_BYTES = 1 << 20
"""Rows that come one by one are put together until they take so much memory."""


@dataclass(frozen=True)
class Window:
    """Some layers of a dataset that grows: all chunks with an index from ``first`` on along its major axis.

    Parameters
    ----------
    first
        The first layer.
    rows
        Rows in the window; only where the dataset ends they may leave the last layer incomplete.
    pieces
        The values that this rank has, by rows counted from the window's first.
    """

    first: int
    rows: int
    pieces: tuple[Rows, ...] = ()

    def slabs(self, spec: DatasetSpec) -> list[tuple[Hyperslab, npt.NDArray[Any]]]:
        """Return the pieces as boxes of the window."""
        starts = ([low if axis == spec.major else 0 for axis in range(len(spec.shape))] for low, _ in self.pieces)
        return [(Hyperslab(tuple(a), v.shape), v) for a, (_, v) in zip(starts, self.pieces, strict=True)]


def windowed(layout: FileLayout, rows: dict[int, int]) -> FileLayout:
    """Return a layout in which only some growing datasets have rows, so many each, and all others nothing."""
    return FileLayout(
        tuple(
            replace(spec.with_rows(rows[number]), access=Access.RANDOM.value) if number in rows else emptied(spec)
            for number, spec in enumerate(layout)
        )
    )


def settled(layout: FileLayout) -> FileLayout:
    """Return a layout in which datasets that grow have nothing."""
    return FileLayout(tuple(emptied(spec) if spec.access == Access.GROWING else spec for spec in layout))


def emptied(spec: DatasetSpec) -> DatasetSpec:
    """Return a dataset without elements."""
    return replace(spec, shape=(0,) * len(spec.shape), access=Access.RANDOM.value)


def split(pieces: Iterable[Rows], row: int, axis: int = 0) -> tuple[list[Rows], list[Rows]]:
    """Part pieces at a row: those before it, and those from it on."""
    before: list[Rows] = []
    after: list[Rows] = []
    for low, values in pieces:
        cut = min(max(0, row - low), values.shape[axis])
        ahead = (slice(None),) * axis
        if cut:
            before.append((low, values[ahead + (slice(0, cut),)]))
        if cut < values.shape[axis]:
            after.append((low + cut, values[ahead + (slice(cut, None),)]))
    return before, after


def joined(arriving: Iterable[Rows], axis: int = 0) -> Iterator[Rows]:
    """Put small pieces that follow each other together: each of them costs memory and time of its own."""
    first, end, nbytes = 0, 0, 0
    small: list[npt.NDArray[Any]] = []

    def together() -> Iterator[Rows]:
        if small:
            yield first, small[0] if len(small) == 1 else np.concatenate(small, axis)
            small.clear()

    for low, values in arriving:
        if low != end or nbytes >= JOINED_BYTES:
            yield from together()
        if not small:
            first, nbytes = low, 0
        small.append(values)
        nbytes += values.nbytes + OBJECT_BYTES
        end = low + values.shape[axis]
    yield from together()


def windows(
    arriving: Iterable[Rows], spec: DatasetSpec, nbytes: int, *, every_layer: bool = False
) -> Iterator[Window]:
    """Cut what comes into windows of about ``nbytes``, at least one layer. Layers in which no row lies are left out.

    Parameters
    ----------
    arriving
        Rows in order; where some are left out the dataset has its fill value.
    spec
        The dataset as it was created.
    every_layer
        Whether layers without rows are to be written too.

    Raises
    ------
    SourceError
        More rows come than the dataset may have.
    """
    axis, thickness = spec.major, spec.grid.chunk[spec.major]
    limit, begin, end = spec.maxshape[axis], 0, 0
    row_bytes = max(1, math.prod(n for a, n in enumerate(spec.shape) if a != axis) * spec.itemsize)
    pending: list[Rows] = []
    for low, values in joined(arriving, axis):
        end = low + values.shape[axis]
        if limit is not None and end > limit:
            raise SourceError(
                f"an iterator gave {end} rows or more, its maxshape allows {limit}",
                where=spec.path,
                remedy="Announce the right maxshape, or None for an axis whose length is not known",
            )
        pending.append((low, values))
        whole = end - end % thickness
        if (whole - max(begin, pending[0][0])) * row_bytes >= nbytes:
            ready, rest = split(pending, whole, axis)
            pending = [(at, np.array(kept)) for at, kept in rest]  # a view would keep all of its base
            yield from _runs(ready, spec, whole, begin if every_layer else None, nbytes // row_bytes)
            begin = whole
    end = max(end, spec.shape[axis])
    yield from _runs(pending, spec, end, begin if every_layer else None, nbytes // row_bytes)


def _runs(pieces: list[Rows], spec: DatasetSpec, end: int, begin: int | None, most: int) -> Iterator[Window]:
    """Yield a window for each run of layers with rows; from ``begin`` on, if given, for all layers before ``end``."""
    axis, thickness = spec.major, spec.grid.chunk[spec.major]
    runs: list[tuple[int, int, list[Rows]]] = []  # first row, row after the last, pieces
    for low, values in pieces:
        first, stop = low - low % thickness, -(-(low + values.shape[axis]) // thickness) * thickness
        if runs and first <= runs[-1][1]:
            begun, reached, held = runs[-1]
            held.append((low, values))
            runs[-1] = begun, max(stop, reached), held
        else:
            runs.append((first, stop, [(low, values)]))
    if begin is not None:
        runs = list(_with_gaps(runs, begin, end, max(1, most // thickness) * thickness))
    for first, stop, held in runs:
        yield Window(first // thickness, min(stop, end) - first, _filled(held, first, min(stop, end), spec))


def _with_gaps(
    runs: list[tuple[int, int, list[Rows]]], begin: int, end: int, step: int
) -> Iterator[tuple[int, int, list[Rows]]]:
    for first, stop, held in [*runs, (end, end, [])]:
        for low in range(begin, first, step):
            yield low, min(low + step, first), []
        if held:
            yield first, stop, held
        begin = stop


def _filled(pieces: list[Rows], low: int, high: int, spec: DatasetSpec) -> tuple[Rows, ...]:
    """Return pieces counted from row ``low``, with the fill value where there is none."""
    found: list[Rows] = []
    at = low
    for first, values in [*pieces, (high, None)]:
        if first > at:
            shape = tuple(first - at if axis == spec.major else n for axis, n in enumerate(spec.shape))
            found.append((at - low, np.broadcast_to(spec.fill, shape)))
        if values is not None:
            found.append((first - low, values))
            at = first + values.shape[spec.major]
    return tuple(found)
