"""``Hyperslab``: a box of elements, the unit in which everything is planned, read and written."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

from parnwb.errors import PlanError


@dataclass(frozen=True, order=True)
class Hyperslab:
    """A box in an n-dimensional array: HDF5's start and count, with stride and block of one. Independent.

    Parameters
    ----------
    start
        First index along each axis, none negative.
    count
        Number of elements along each axis, none negative; a zero makes the box empty.
    """

    start: tuple[int, ...]
    count: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.start) != len(self.count):
            raise PlanError(f"a hyperslab needs one count per start, got {self.start} and {self.count}")
        if any(value < 0 for value in (*self.start, *self.count)):
            raise PlanError(f"a hyperslab has no negative start or count, got {self.start} and {self.count}")

    @classmethod
    def whole(cls, shape: tuple[int, ...]) -> Hyperslab:
        """Return the box that covers an array of ``shape``."""
        return cls((0,) * len(shape), tuple(shape))

    @property
    def stop(self) -> tuple[int, ...]:
        """One past the last index along each axis."""
        return tuple(start + count for start, count in zip(self.start, self.count, strict=True))

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.count)

    @property
    def slices(self) -> tuple[slice, ...]:
        """The box as numpy's basic index."""
        return tuple(slice(start, stop) for start, stop in zip(self.start, self.stop, strict=True))

    def place(self, path: str) -> str:
        """Return the box of a dataset as errors name it: ``/path/data[0:100, 0:12]``."""
        return f"{path}[{', '.join(f'{low}:{high}' for low, high in zip(self.start, self.stop, strict=True))}]"

    def intersect(self, other: Hyperslab) -> Hyperslab:
        """Return the common part of two boxes; where there is none, an empty box."""
        start = tuple(max(a, b) for a, b in zip(self.start, other.start, strict=True))
        stop = tuple(min(a, b) for a, b in zip(self.stop, other.stop, strict=True))
        return Hyperslab(start, tuple(max(0, high - low) for low, high in zip(start, stop, strict=True)))

    def contains(self, other: Hyperslab) -> bool:
        """Tell whether every element of ``other`` is in this box."""
        return other.size == 0 or self.intersect(other) == other

    def relative_to(self, origin: tuple[int, ...]) -> Hyperslab:
        """Return the same box counted from ``origin``."""
        return Hyperslab(tuple(a - b for a, b in zip(self.start, origin, strict=True)), self.count)

    def scaled(self, unit: tuple[int, ...], shape: tuple[int, ...]) -> Hyperslab:
        """Return the box of elements that this box of grid cells covers.

        Parameters
        ----------
        unit
            Shape of a grid cell in elements.
        shape
            Shape of the array; the last cells may stick out and are cut there.
        """
        start = tuple(a * u for a, u in zip(self.start, unit, strict=True))
        stop = tuple(min(b * u, n) for b, u, n in zip(self.stop, unit, shape, strict=True))
        return Hyperslab(start, tuple(max(0, high - low) for low, high in zip(start, stop, strict=True)))

    def points(self) -> Iterator[tuple[int, ...]]:
        """Iterate over all indices in C order."""
        return product(*(range(low, high) for low, high in zip(self.start, self.stop, strict=True)))

    def split(self, limit: int) -> Iterator[Hyperslab]:
        """Cut into boxes of at most ``limit`` elements (at least one), in C order.

        Trailing axes stay whole as long as they fit, so that each piece is as contiguous as can be.
        """
        if self.size == 0:
            return
        piece = [1] * len(self.count)
        room = max(1, limit)
        for axis in reversed(range(len(self.count))):
            piece[axis] = max(1, min(self.count[axis], room))
            room //= piece[axis]
            if piece[axis] < self.count[axis]:
                break
        yield from self.tiles(tuple(piece))

    def tiles(self, piece: tuple[int, ...]) -> Iterator[Hyperslab]:
        """Cut into boxes of the shape ``piece``, smaller where this ends, in C order."""
        corners = (range(low, high, step) for low, high, step in zip(self.start, self.stop, piece, strict=True))
        for corner in product(*corners):
            yield Hyperslab(corner, piece).intersect(self)


def ravel(index: tuple[int, ...], shape: tuple[int, ...]) -> int:
    """Return the C-order position of ``index`` in an array of ``shape``."""
    position = 0
    for value, extent in zip(index, shape, strict=True):
        position = position * extent + value
    return position


def unravel(position: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the index of the C-order ``position`` in an array of ``shape``."""
    index = []
    for extent in reversed(shape):
        position, value = divmod(position, extent)
        index.append(value)
    return tuple(reversed(index))


def run_boxes(low: int, high: int, shape: tuple[int, ...]) -> list[Hyperslab]:
    """Cover the C-order run ``low <= position < high`` of a grid by few boxes, in C order.

    At most ``2 * ndim - 1`` boxes: a ragged head, whole rows, a ragged tail, on each axis.
    """
    if low >= high:
        return []
    if len(shape) == 1:
        return [Hyperslab((low,), (high - low,))]
    row = math.prod(shape[1:])
    first, last = -(-low // row), high // row
    if first > last:  # the run lies within one row and touches neither of its ends
        return [_in_row(box, last) for box in run_boxes(low - last * row, high - last * row, shape[1:])]
    head = run_boxes(low - (first - 1) * row, row, shape[1:]) if low < first * row else []
    body = [Hyperslab((first,) + (0,) * (len(shape) - 1), (last - first, *shape[1:]))] if last > first else []
    tail = run_boxes(0, high - last * row, shape[1:])
    return [_in_row(box, first - 1) for box in head] + body + [_in_row(box, last) for box in tail]


def _in_row(box: Hyperslab, row: int) -> Hyperslab:
    return Hyperslab((row, *box.start), (1, *box.count))


def even_share(total: int, parts: int, part: int) -> tuple[int, int]:
    """Return ``(low, high)`` of one of ``parts`` contiguous shares of ``total``; sizes differ by one at most."""
    return total * part // parts, total * (part + 1) // parts
