"""Rounds of exchange among virtual ranks: every element comes to the rank that writes it, exactly once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hdmf.common import VectorData, VectorIndex
from hypothesis import given, settings
from hypothesis import strategies as st

from parnwb.errors import AgreementError
from parnwb.hyperslab import Hyperslab
from parnwb.layout import DatasetSpec, FileLayout
from parnwb.planning.decomposition import cut_runs
from parnwb.planning.plan import WritePlan
from parnwb.resident import exchange
from parnwb.resident.data import Distributed, DistributedRagged, Resident, index_dtype
from parnwb.resident.held import Block, Columns, Held, Rows, described_parts
from parnwb.resident.partition import check_boxes

quickly = settings(deadline=None, max_examples=60)
runs_of_grains = st.lists(st.integers(0, 9), max_size=12).map(
    lambda sizes: tuple((10 * n, 10 * n + size) for n, size in enumerate(sizes) if size)
)


def spelled(runs: Sequence[tuple[int, int]]) -> list[int]:
    return [grain for low, high in runs for grain in range(low, high)]


def boxes_of(data: st.DataObject, shape: tuple[int, ...], count: int) -> list[Hyperslab]:
    """Cut an array into boxes, some of them empty."""
    boxes = [Hyperslab.whole(shape)]
    for _ in range(count):
        box = boxes.pop(data.draw(st.integers(0, len(boxes) - 1)))
        axis = data.draw(st.integers(0, len(shape) - 1))
        cut = data.draw(st.integers(box.start[axis], box.stop[axis]))
        for low, high in ((box.start[axis], cut), (cut, box.stop[axis])):
            start = (*box.start[:axis], low, *box.start[axis + 1 :])
            boxes.append(Hyperslab(start, (*box.count[:axis], high - low, *box.count[axis + 1 :])))
    return boxes


def spread(data: st.DataObject, values: np.ndarray, ranks: int) -> list[Resident]:
    """Return what each rank has of an array: boxes, columns or rows."""
    kind = data.draw(st.sampled_from(["boxes", "columns", "rows"]))
    held: list[list[Held]] = [[] for _ in range(ranks)]
    if kind == "boxes":
        for number, box in enumerate(boxes_of(data, values.shape, 5)):
            held[number % ranks].append(Block(values[box.slices], box.start))
    elif kind == "columns":
        axis = data.draw(st.integers(0, values.ndim - 1))
        order = np.array(data.draw(st.permutations(range(values.shape[axis]))), dtype=np.int64)
        for rank in range(ranks):
            own = order[rank::ranks]
            held[rank].append(Columns(np.take(values, own, axis), axis, own))
    else:
        cuts = sorted(data.draw(st.lists(st.integers(0, len(values)), max_size=6)))
        pieces = list(zip([0, *cuts], [*cuts, len(values)], strict=True))
        for rank, own in enumerate(pieces[rank::ranks] for rank in range(ranks)):
            starts = np.array([low for low, _ in own], dtype=np.int64)
            held[rank].append(Rows([values[low:high] for low, high in own], starts))
    return [Resident(values.shape, values.dtype, own, rank, ranks, 0) for rank, own in enumerate(held)]


@quickly
@given(data=st.data(), shape=st.lists(st.integers(1, 7), min_size=1, max_size=3).map(tuple), ranks=st.integers(1, 5))
def test_every_element_comes_to_its_owner(data, shape, ranks):
    values = np.arange(np.prod(shape), dtype="i4").reshape(shape)
    residents = spread(data, values, ranks)
    chunks = tuple(data.draw(st.integers(1, n)) for n in shape)
    layout = FileLayout((DatasetSpec("/x", shape, shape, "<i4", chunks),))
    open_runs = ((0, layout.datasets[0].grid.size),)
    length = data.draw(st.integers(1, 4))
    found = np.full(shape, -1, dtype="i4")
    written = []
    whole = exchange._divided(open_runs, ranks)
    for first in range(0, max(map(exchange._size, whole)), length):
        assigned = [cut_runs(runs, first, first + length) for runs in whole]
        plan = WritePlan(layout, ranks, assigned={0: assigned})
        boxes = [exchange._boxes(plan, rank) for rank in range(ranks)]
        for rank in range(ranks):
            written += [plan.grain_grids[0].cells(box).points() for box in boxes[rank]]
            for resident in residents:
                parts = [exchange._parts(resident, boxes[rank])]
                (numbers, _), (flat, _) = exchange._described(parts), exchange._packed(parts, values.dtype)
                for part in described_parts(numbers, flat, values.ndim):
                    assert any(box.intersect(part.slab).size for box in boxes[rank])
                    target = np.full(shape, -1, dtype="i4")
                    part.put_into(target, (0,) * len(shape))
                    assert (found[target >= 0] == -1).all()
                    found[target >= 0] = target[target >= 0]
    assert (found == values).all()
    indices = [index for points in written for index in points]
    assert len(indices) == len(set(indices)) == layout.datasets[0].grid.size


@quickly
@given(runs=runs_of_grains, parts=st.integers(1, 7))
def test_runs_are_divided_evenly_and_in_order(runs, parts):
    divided = exchange._divided(runs, parts)
    assert [grain for own in divided for grain in spelled(own)] == spelled(runs)
    sizes = [exchange._size(own) for own in divided]
    assert len(divided) == parts and max(sizes) - min(sizes) <= 1


@quickly
@given(runs=runs_of_grains, first=st.integers(0, 60), length=st.integers(0, 60))
def test_runs_are_cut_as_sequences_are(runs, first, length):
    assert spelled(cut_runs(runs, first, first + length)) == spelled(runs)[first : first + length]


@quickly
@given(assigned=st.lists(runs_of_grains, min_size=1, max_size=4))
def test_halves_are_smaller_and_together_the_whole(assigned):
    halves = exchange._halves(assigned)
    total = sum(map(exchange._size, assigned))
    assert bool(halves) == (total > 1)
    if halves:
        assert all(0 < sum(map(exchange._size, half)) < total for half in halves)
        both = [sorted(spelled(one) + spelled(other)) for one, other in zip(*halves, strict=True)]
        assert both == [spelled(runs) for runs in assigned]


@quickly
@given(data=st.data(), shape=st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple))
def test_gaps_and_overlaps_of_boxes_are_found(data, shape):
    boxes = [box for box in boxes_of(data, shape, 4) if box.size]
    owners = [(box, number) for number, box in enumerate(boxes)]
    check_boxes(owners, shape)
    with pytest.raises(AgreementError, match="overlap"):
        check_boxes([*owners, (boxes[0], 9)], shape)
    missing = boxes.pop(data.draw(st.integers(0, len(boxes) - 1)))
    with pytest.raises(AgreementError) as caught:
        check_boxes([(box, 0) for box in boxes], shape)
    assert str(caught.value.message).endswith(f"nobody has element {missing.start}")


@pytest.mark.parametrize("length", [0, 1, 255, 256, 65535, 65536])
def test_index_is_as_wide_as_pynwb_makes_it(length):
    target = VectorData(name="x", description="x", data=np.zeros(length))
    index = VectorIndex(name="x_index", data=np.array([length]), target=target)
    assert index_dtype(length) == index.data.dtype
    assert index_dtype(2**32 - 1) == "u4" and index_dtype(2**32) == "u8"


def test_rows_of_one_process():
    rows = [[np.ones((3, 2)), np.zeros((1, 2))], [], [2 * np.ones((2, 2))]]
    spread = DistributedRagged(rows, [2, 0, 1], depth=2, comm=None)
    assert spread.data.shape == (6, 2)
    inner, outer = (index.read(Hyperslab.whole(index.shape)).tolist() for index in spread.indexes)
    assert (inner, outer) == ([2, 5, 6], [0, 1, 3])
    assert spread.data.read(Hyperslab((0, 0), (6, 1)))[:, 0].tolist() == [2, 2, 1, 1, 1, 0]


@pytest.mark.parametrize("use", [np.asarray, iter, next, lambda data: data[0], lambda data: data[:]])
def test_values_cannot_be_had_by_accident(use: Any):
    with pytest.raises(Exception, match="Write with NWBParallelIO"):
        use(Distributed(np.zeros((3, 4)), 1, comm=None))


def test_a_plan_of_some_grains_counts_these_alone():
    layout = FileLayout(tuple(DatasetSpec(f"/{n}", (10,), (10,), "<i4", (2,)) for n in "ab"))
    plan = WritePlan(layout, 2, assigned={1: [((0, 1),), ((3, 5),)]})
    assert plan.remaining_bytes == 24 and (plan.rounds(0), plan.rounds(1)) == (0, 2)
    assert [b.slab for b in plan.buffers(1)] == [Hyperslab((6,), (4,))]
    rest = WritePlan(layout, 2, "slab", elsewhere=frozenset({1}))
    assert rest.remaining_bytes == 40 and {b.dataset for r in range(2) for b in rest.buffers(r)} == {0}
