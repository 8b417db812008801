"""Buffers of data in large blocks: all of the data, no more room than there is, and few blocks in two of them."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parnwb.hyperslab import Hyperslab
from parnwb.layout import DatasetSpec, FileLayout
from parnwb.planning.by_blocks import cells_at_once
from parnwb.planning.plan import WritePlan


def loads(plan: WritePlan, block: tuple[int, ...]) -> int:
    """Return how many blocks are read for all buffers, if none is kept."""
    count = 0
    for buffer in plan.buffers(0):
        ends = zip(buffer.slab.start, buffer.slab.stop, block, strict=True)
        touched = Hyperslab.whole(tuple(-(-high // size) - low // size for low, high, size in ends))
        count += touched.size
    return count


@pytest.mark.parametrize(
    ("chunk", "block", "expected", "before"),
    [
        ((31250, 64), (78125, 64), 48, 144),
        ((4000, 64), (78125, 64), 48, 216),
        ((4000, 1536), (78125, 64), 216, 216),  # no box could be longer
        ((512, 64), (1000, 1536), 164, 164),  # whole rows are best as they are
    ],
)
def test_few_blocks_are_read_twice(
    chunk: tuple[int, int], block: tuple[int, int], expected: int, before: int
) -> None:
    spec = DatasetSpec("/rows", (156_250, 1536), (None, 1536), "<i2", chunk)
    plan = WritePlan(FileLayout((spec,)), 1)
    after = WritePlan(FileLayout((spec,)), 1, blocks={0: block})
    assert (loads(after, block), loads(plan, block)) == (expected, before)


extents = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 5), st.integers(1, 9)), min_size=1, max_size=3)


@given(extents, st.integers(1, 40))
@settings(deadline=None, max_examples=100)
def test_boxes_fit_and_are_not_smaller_than_they_need_be(axes: list[tuple[int, int, int]], room: int) -> None:
    count, chunk, block = (tuple(each) for each in zip(*axes, strict=True))
    box = cells_at_once(count, chunk, block, room)
    whole = Hyperslab.whole(count)
    size = Hyperslab.whole(box).size
    assert size <= room and all(1 <= n <= there for n, there in zip(box, count, strict=True))
    for axis in range(len(box)):  # there is no room for one more
        assert box[axis] == count[axis] or size // box[axis] * (box[axis] + 1) > room
    cells = [cell for tile in whole.tiles(box) for cell in tile.points()]
    assert sorted(cells) == list(product(*map(range, count)))
