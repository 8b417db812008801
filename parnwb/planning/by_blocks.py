"""Buffers of data that come in large blocks, of which a rank cannot keep a row until the next buffer needs it."""

from __future__ import annotations

import math


def cells_at_once(
    count: tuple[int, ...], chunk: tuple[int, ...], block: tuple[int, ...], room: int
) -> tuple[int, ...]:
    """Return the shape of a box of cells such that few blocks belong to more than one of these boxes. Independent.

    It is as long as a block along each axis where there is room for that, then as long as can be along the axis where
    most blocks would lie on both sides of a border.

    Parameters
    ----------
    count
        Cells that there are, along each axis.
    chunk
        Elements of a cell.
    block
        Elements of a block, which begin where the data do.
    room
        Cells of a box; one at least.
    """
    axes, box = range(len(count)), [1] * len(count)

    def stretch(axis: int, most: int) -> None:
        others = math.prod(box) // box[axis]
        box[axis] = max(box[axis], min(most, room // others))

    needed = [min(there, -(-b // c)) for there, c, b in zip(count, chunk, block, strict=True)]
    for axis in sorted(axes, key=lambda axis: needed[axis]):
        stretch(axis, needed[axis])

    def cut(axis: int) -> float:
        """Return the share of blocks that lie on both sides of a border along an axis."""
        length = box[axis] * chunk[axis]
        return block[axis] / length if length % block[axis] and box[axis] < count[axis] else 0.0

    for axis in sorted(axes, key=lambda axis: (cut(axis), axis), reverse=True):
        stretch(axis, count[axis])
    return tuple(box)
