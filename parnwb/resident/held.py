"""What a rank holds of a dataset, in memory: boxes, columns in any order, or rows of uneven length.

Each kind hands out the *parts* of it that lie within a box of the dataset. A part goes to another rank as a few
integers, which say where its values belong, and the values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from parnwb.hyperslab import Hyperslab

Values = npt.NDArray[Any]
Positions = npt.NDArray[np.int64]
CACHED_BYTES = 256 * 1024
"""So much is surely in a core's cache."""


@dataclass(frozen=True, eq=False)
class Part:
    """Values at some runs of positions along one axis, and within ranges along all others.

    Parameters
    ----------
    slab
        Where they are, in elements of the dataset. Along ``axis`` it begins at the lowest position, and its count is
        the number of positions in all runs.
    axis
        The axis with the runs.
    runs
        ``(first position, count)`` of each run, in the order of the values; no two overlap.
    take
        Returns the values, of shape ``slab.count``, the runs one after the other.
    """

    slab: Hyperslab
    axis: int
    runs: Positions
    take: Callable[[], Values]

    def put_into(self, target: Values, origin: tuple[int, ...]) -> None:
        """Assign the values to their places in an array whose first element is at ``origin`` of the dataset."""
        place: list[Any] = list(self.slab.relative_to(origin).slices)
        place[self.axis] = slice(None)
        box, indices, values = target[tuple(place)], _indices(self.runs, origin[self.axis]), self.take()
        if isinstance(indices, slice) or self.axis == 0:
            box[(slice(None),) * self.axis + (indices,)] = values
            return
        # numpy goes along the first axis for each index in turn: that must not leave the processor's cache.
        thickness = max(1, CACHED_BYTES * len(box) // max(1, box.nbytes))
        for low in range(0, len(box), thickness):
            rows = slice(low, low + thickness)
            box[(rows,) + (slice(None),) * (self.axis - 1) + (indices,)] = values[rows]

    def description(self) -> Positions:
        """Return all but the values as integers."""
        head = [self.axis, len(self.runs), *self.slab.start, *self.slab.count]
        return np.concatenate([np.array(head, dtype=np.int64), self.runs.reshape(-1)])


def described_parts(numbers: Positions, values: Values, ndim: int) -> Iterator[Part]:
    """Iterate over the parts whose descriptions and values follow each other in two flat arrays. Independent."""
    at = used = 0
    while at < len(numbers):
        axis, count = int(numbers[at]), int(numbers[at + 1])
        box = [int(number) for number in numbers[at + 2 : at + 2 + 2 * ndim]]
        at += 2 + 2 * ndim
        slab = Hyperslab(tuple(box[:ndim]), tuple(box[ndim:]))
        own = values[used : used + slab.size].reshape(slab.count)
        yield Part(slab, axis, numbers[at : at + 2 * count].reshape(-1, 2), _giver(own))
        at += 2 * count
        used += slab.size


def _giver(values: Values) -> Callable[[], Values]:
    return lambda: values


def _indices(runs: Positions, origin: int) -> Any:
    """Return the positions of runs as what numpy is quickest with: a slice where they are evenly spaced."""
    starts, counts = runs[:, 0] - origin, runs[:, 1]
    if len(runs) == 1:
        return slice(int(starts[0]), int(starts[0] + counts[0]))
    steps = np.diff(starts)
    if steps[0] > 0 and (counts == 1).all() and (steps == steps[0]).all():
        return slice(int(starts[0]), int(starts[-1]) + 1, int(steps[0]))
    return _spelled_out(starts, counts)


def _spelled_out(starts: Positions, counts: Positions) -> Positions:
    before = np.cumsum(counts) - counts
    return np.repeat(starts - before, counts) + np.arange(int(counts.sum()))


def _merged(starts: Positions, counts: Positions) -> Positions:
    """Return runs as few of them: those that follow each other without a gap become one."""
    first = np.concatenate([[True], starts[1:] != (starts + counts)[:-1]])
    return np.stack([starts[first], np.add.reduceat(counts, np.flatnonzero(first))], axis=1)


class Held(Protocol):
    """A piece of a dataset that one rank has in memory. All calls are independent."""

    def within(self, box: Hyperslab) -> Iterator[Part]:
        """Iterate over its parts within a box of the dataset; nothing is copied before their values are taken."""


@dataclass(frozen=True, eq=False)
class Block:
    """A box of the dataset.

    Parameters
    ----------
    values
        Of any shape with at least one axis.
    start
        Where its first element is.
    """

    values: Values
    start: tuple[int, ...]

    @property
    def slab(self) -> Hyperslab:
        """The box."""
        return Hyperslab(self.start, self.values.shape)

    def within(self, box: Hyperslab) -> Iterator[Part]:
        """Yield the common part of two boxes, if there is one."""
        common = self.slab.intersect(box)
        if common.size:
            runs = np.array([[common.start[0], common.count[0]]], dtype=np.int64)
            yield Part(common, 0, runs, lambda: self.values[common.relative_to(self.start).slices])


@dataclass(frozen=True, eq=False)
class Columns:
    """Everything at some positions of one axis, in any order.

    Parameters
    ----------
    values
        Whole along all other axes.
    axis
        Which axis.
    index
        Position of each element along ``axis``, all different.
    """

    values: Values
    axis: int
    index: Positions

    @cached_property
    def _order(self) -> Positions:
        return np.argsort(self.index, kind="stable")

    @cached_property
    def _sorted(self) -> Positions:
        return self.index[self._order]

    def within(self, box: Hyperslab) -> Iterator[Part]:
        """Yield what lies within a box, if anything does."""
        axis = self.axis
        first, last = (int(i) for i in np.searchsorted(self._sorted, [box.start[axis], box.stop[axis]]))
        if first == last or box.size == 0:
            return
        columns = np.sort(self._order[first:last])  # as they lie in memory: only the receiver need put them in order
        start = (*box.start[:axis], int(self._sorted[first]), *box.start[axis + 1 :])
        count = (*box.count[:axis], last - first, *box.count[axis + 1 :])
        runs = _merged(self.index[columns], np.ones(len(columns), dtype=np.int64))

        def take() -> Values:
            place: list[Any] = list(box.slices)
            if columns[-1] - columns[0] + 1 == len(columns):
                place[axis] = slice(int(columns[0]), int(columns[-1]) + 1)
                return self.values[tuple(place)]
            place[axis] = slice(None)
            return np.take(self.values[tuple(place)], columns, axis)

        yield Part(Hyperslab(start, count), axis, runs, take)


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of uneven length along the first axis, whole along all others.

    Parameters
    ----------
    rows
        Arrays that differ in their first extent at most.
    starts
        Where the first element of each is; rows do not overlap.
    """

    rows: Sequence[Values]
    starts: Positions

    @cached_property
    def _order(self) -> Positions:
        """The rows that are not empty, by where they begin."""
        counts = np.array([len(row) for row in self.rows], dtype=np.int64)
        order = np.argsort(self.starts, kind="stable")
        return order[counts[order] > 0]

    @cached_property
    def _runs(self) -> tuple[Positions, Positions]:
        """First and one past the last position of each of them."""
        starts = self.starts[self._order]
        return starts, starts + np.array([len(self.rows[number]) for number in self._order], dtype=np.int64)

    def within(self, box: Hyperslab) -> Iterator[Part]:
        """Yield what lies within a box, if anything does."""
        begins, ends = self._runs
        first = int(np.searchsorted(ends, box.start[0], side="right"))
        last = int(np.searchsorted(begins, box.stop[0]))
        if first >= last or box.size == 0:
            return
        starts = np.maximum(begins[first:last], box.start[0])
        counts = np.minimum(ends[first:last], box.stop[0]) - starts
        inner = starts - begins[first:last]

        def take() -> Values:
            others = (slice(None), *box.slices[1:])
            pieces = [self.rows[number][begin : begin + count][others] for number, begin, count in which]
            return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

        which = list(zip(self._order[first:last].tolist(), inner.tolist(), counts.tolist(), strict=True))
        slab = Hyperslab((int(starts[0]), *box.start[1:]), (int(counts.sum()), *box.count[1:]))
        yield Part(slab, 0, _merged(starts, counts), take)
