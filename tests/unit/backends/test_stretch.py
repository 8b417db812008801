"""A rank's list of buffers, cut into stretches anywhere: each chunk is in one of them, once."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parnwb.backends.stretch import AT_FIRST, PARTS, Stretch
from parnwb.layout import DatasetSpec, FileLayout
from parnwb.planning.plan import MiB, WritePlan
from parnwb.sources.access import Access

EXTENTS = st.lists(st.integers(1, 9), min_size=1, max_size=3)


def plan_of(extents: list[int], chunks: int, access: Access = Access.RANDOM) -> WritePlan:
    """Return a plan for one rank whose buffers hold so many chunks of 2 along each axis."""
    shape, chunk = tuple(2 * n for n in extents), (2,) * len(extents)
    spec = DatasetSpec("/data", shape, shape, "<i2", chunk, access=access)
    return WritePlan(FileLayout((spec,)), 1, buffer_mb=chunks * spec.chunk_bytes / MiB)


def chunks_in(plan: WritePlan, stretch: Stretch) -> Counter[tuple[int, ...]]:
    """Return how often each chunk is in a stretch; check what is told of what comes behind."""
    found: Counter[tuple[int, ...]] = Counter()
    before = stretch.low
    for behind, buffer in stretch.buffers(plan):
        assert before < behind
        before = behind
        found.update(index for index, _ in plan.chunks(buffer))
    return found


@given(EXTENTS, st.integers(1, 30), st.lists(st.integers(0, 400), max_size=6), st.sampled_from((1, 2, 3, 4)))
@settings(deadline=None)
@pytest.mark.parametrize("access", [Access.RANDOM, Access.GRIDDED, Access.SEQUENTIAL])
def test_each_chunk_is_in_one_stretch(access, extents, chunks, cuts, step):
    plan = plan_of(extents, chunks, access)
    high = Stretch.own(plan, 0).high
    edges = sorted({0, high, *(cut for cut in cuts if cut < high)})
    found: Counter[tuple[int, ...]] = Counter()
    for low, end in zip(edges[:-1], edges[1:], strict=True):
        found += chunks_in(plan, Stretch(0, low, end, end, step))
    assert found == Counter(dict.fromkeys(np.ndindex(*extents), 1))


@pytest.mark.parametrize(
    ("extents", "sizes"),
    [([16, 6], [(8, 12)] * 4), ([2, 6], [(2, 6)] * 4), ([1, 6], [(2, 4), (2, 2), (2, 4), (2, 2)]), ([1, 1], [(2, 2)])],
)
def test_quarters_are_whole_rows_as_long_as_can_be(extents, sizes):
    plan = plan_of(extents, 100)
    assert [buffer.slab.count for _, buffer in Stretch(0, 0, PARTS, PARTS, 1).buffers(plan)] == sizes


def test_buffers_of_large_blocks_stay_whole():
    """Each part would decode all of its blocks once more."""
    plan = replace(plan_of([16, 6], 100), blocks={0: (8, 12)})
    (whole,) = [buffer for _, buffer in Stretch.own(plan, 0).buffers(plan)]
    assert [buffer for _, buffer in Stretch(0, 0, PARTS, PARTS, 1).buffers(plan)] == [whole]


def test_what_may_be_begun_is_not_taken_back():
    stretch = Stretch(0, 0, 40, 12)
    stretch.go_on(Stretch(0, 4, 40, 8))
    assert stretch.limit == 12
    stretch.end_at(6)
    assert (stretch.limit, stretch.high) == (12, 6)


def test_whole_buffers_are_taken_where_nothing_hurries():
    plan = plan_of([40], 8)
    assert [(behind, buffer.slab.count) for behind, buffer in Stretch.own(plan, 0).buffers(plan)] == [
        (PARTS * n, (16,)) for n in range(1, 6)
    ]


@given(st.integers(1, 12), st.integers(1, 5), st.integers(1, PARTS), st.integers(0, 47))
@settings(deadline=None)
def test_a_reply_always_lets_a_rank_go_on(buffers, chunks, step, low):
    """Whatever is empty: each item that was asked for is followed by the next one, or the end."""
    plan = plan_of([buffers * chunks], chunks)
    high = PARTS * buffers
    stretch = Stretch(0, min(low, high), high, min(high, min(low, high) + AT_FIRST))
    items = stretch.buffers(plan)

    def waits_for_ever() -> None:
        stretch.end_at(0)
        late.append(True)

    late: list[bool] = []
    watch = threading.Timer(20, waits_for_ever)
    watch.start()
    for behind, _ in items:
        stretch.go_on(Stretch(0, behind, high, min(high, max(stretch.limit, behind + 2 * step)), step))
    watch.cancel()
    assert not late


def test_one_that_waits_is_told_that_nobody_wants_more():
    plan = plan_of([40], 8)
    stretch, taken = Stretch.own(plan, 0).shared(), []
    thread = threading.Thread(target=lambda: taken.extend(stretch.buffers(plan)))
    thread.start()
    thread.join(timeout=0.1)
    assert thread.is_alive()  # it has begun what it may
    stretch.end_at(0)
    thread.join(timeout=20)
    assert [behind for behind, _ in taken] == [PARTS, 2 * PARTS]
