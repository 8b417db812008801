"""The plan: every chunk written once, by one rank, out of buffers that fit, whatever the layout."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parnwb import layout as layout_module
from parnwb.errors import PlanError
from parnwb.hyperslab import Hyperslab, ravel
from parnwb.layout import DatasetSpec, FileLayout
from parnwb.planning import plan as plan_module
from parnwb.planning.decomposition import STRATEGIES
from parnwb.planning.plan import DEFAULT_BUFFER_MB, READ_GRID_BYTES, READ_WHILE_WRITTEN, MiB, WritePlan
from parnwb.planning.write_queue import POLICIES, write_queue
from parnwb.sources.access import Access

quickly = settings(deadline=None, max_examples=100)
names = st.sampled_from(sorted(STRATEGIES))


@pytest.fixture(autouse=True, scope="module")
def small_pieces() -> Iterator[None]:
    """Let contiguous and gridded datasets of a few elements have several pieces."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout_module, "CONTIGUOUS_PIECE_BYTES", 16)
        patch.setattr(plan_module, "READ_GRID_BYTES", 60)
        yield


@st.composite
def specs(draw: st.DrawFn, access: Access | None = None) -> DatasetSpec:
    ndim = draw(st.integers(1, 5))
    most = {1: 20, 2: 9, 3: 6}.get(ndim, 4)
    shape = tuple(draw(st.integers(1, most)) for _ in range(ndim))
    if draw(st.integers(0, 5)) == 5:  # an empty one now and then
        empty = draw(st.integers(0, ndim - 1))
        shape = (*shape[:empty], 0, *shape[empty + 1 :])
    largest = draw(st.sampled_from([1, 2, most]))
    chunks = tuple(draw(st.integers(1, largest)) for _ in range(ndim))
    return DatasetSpec(
        path="",
        shape=shape,
        maxshape=shape,
        dtype=draw(st.sampled_from(["|u1", "<i2", "<f8"])),
        chunks=draw(st.sampled_from([chunks, chunks, None])),
        access=(access or draw(st.sampled_from(Access))).value,
        read_beside=draw(st.sampled_from([0, 0, 1, 100, 100_000])),
        whole_rows=draw(st.booleans()),
    )


def layout_of(*found: DatasetSpec) -> FileLayout:
    return FileLayout(
        tuple(DatasetSpec(**{**vars(spec), "path": f"/d{number}"}) for number, spec in enumerate(found))
    )


layouts = st.lists(specs(), max_size=4).map(lambda found: layout_of(*found))
buffers_mb = st.sampled_from([1 / MiB, 15 / MiB, 24 / MiB, 100 / MiB, 1000 / MiB, DEFAULT_BUFFER_MB])
rank_counts = st.sampled_from([1, 2, 3, 4, 5, 7, 12])
policies = st.sampled_from([*POLICIES, lambda spec: spec.nbytes % 3])


@st.composite
def plans(draw: st.DrawFn) -> WritePlan:
    layout = draw(layouts)
    queue = write_queue(draw(policies), layout)
    return WritePlan(layout, draw(rank_counts), draw(names), draw(buffers_mb), queue=queue)


def one(shape: tuple[int, ...], **changes: object) -> FileLayout:
    """A layout of one dataset."""
    fields = {"maxshape": shape, "dtype": "<i2", "chunks": None, **changes}
    return layout_of(DatasetSpec(path="", shape=shape, **fields))


# -- who writes what -----------------------------------------------------------------------------------------


@given(plans())
@quickly
def test_every_chunk_is_written_exactly_once(plan):
    times: Counter[tuple[int, tuple[int, ...]]] = Counter()
    elements = [np.zeros(spec.shape, dtype=int) for spec in plan.layout]
    for rank in range(plan.ranks):
        for buffer in plan.buffers(rank):
            for index, part in plan.chunks(buffer):
                times[buffer.dataset, index] += 1
                elements[buffer.dataset][part.slices] += 1
                assert buffer.slab.contains(part)
    expected = {
        (number, index)
        for number, spec in enumerate(plan.layout)
        for index in Hyperslab.whole(spec.grid.extent).points()
    }
    assert set(times) == expected and set(times.values()) <= {1}
    assert all((count == 1).all() for count in elements)


@given(plans())
@quickly
def test_buffers_are_whole_chunks_within_the_limit(plan):
    limit = int(plan.buffer_mb * MiB)
    for rank in range(plan.ranks):
        for buffer in plan.buffers(rank):
            spec = plan.layout.datasets[buffer.dataset]
            assert buffer.slab.size > 0
            assert spec.grid.elements(spec.grid.cells(buffer.slab)) == buffer.slab  # no chunk is cut
            unit = spec.chunk_bytes
            if spec.access == Access.SEQUENTIAL:  # whole rows, one chunk thick at least
                unit = spec.grid.chunk[0] * math.prod(spec.shape[1:]) * spec.itemsize
            room = plan_module.READ_GRID_BYTES if spec.access == Access.GRIDDED else limit
            nbytes = buffer.slab.size * spec.itemsize
            assert nbytes <= max(room, unit)
            assert nbytes <= plan.buffer_bytes(buffer.dataset)


@given(plans())
@quickly
def test_buffers_come_by_dataset(plan):
    for rank in range(plan.ranks):
        found = list(plan.buffers(rank))
        order = [plan.order.datasets.index(buffer.dataset) for buffer in found]
        assert plan.order.alternates or order == sorted(order)
        for number in range(len(plan.layout)):
            assert list(plan.buffers(rank, number)) == [b for b in found if b.dataset == number]


@given(plans())
@quickly
def test_counts_agree_with_the_chunks_themselves(plan):
    for number in range(len(plan.layout)):
        counts = [
            sum(1 for b in plan.buffers(rank, number) for _ in plan.chunks(b)) for rank in range(plan.ranks)
        ]
        assert [plan.count_chunks(rank, number) for rank in range(plan.ranks)] == counts
        assert plan.rounds(number) == max(counts)
        assert sum(counts) == plan.layout.datasets[number].grid.size


@given(plans())
@quickly
def test_bytes_add_up(plan):
    per_rank = [plan.nbytes(rank) for rank in range(plan.ranks)]
    assert sum(per_rank) == plan.layout.nbytes
    for rank, nbytes in enumerate(per_rank):
        items = [b.slab.size * plan.layout.datasets[b.dataset].itemsize for b in plan.buffers(rank)]
        assert sum(items) == nbytes
    if plan.layout.nbytes:
        costs = [plan.cost(rank) for rank in range(plan.ranks)]
        assert plan.balance() == pytest.approx(max(costs) / (plan.total_cost / plan.ranks))
        assert sum(costs) == pytest.approx(plan.total_cost)
        assert 1 <= plan.balance() * (1 + 1e-12) <= plan.ranks * (1 + 1e-9)
    else:
        assert plan.balance() == 1.0


# -- access --------------------------------------------------------------------------------------------------


def reads(plan: WritePlan) -> list[Hyperslab]:
    """Return all that is read of anything, by whichever rank."""
    return sorted(b.slab for rank in range(plan.ranks) for b in plan.buffers(rank))


@given(specs(Access.GRIDDED), buffers_mb, st.integers(1, 9), names)
@quickly
def test_read_grid_does_not_depend_on_ranks_buffers_or_strategy(spec, buffer_mb, ranks, name):
    layout = layout_of(spec)
    assert reads(WritePlan(layout, ranks, name, buffer_mb)) == reads(WritePlan(layout, 1, "balanced"))


@given(
    st.integers(1, 5_000_000),
    st.sampled_from([(1, 1), (30, 7), (384, 64), (384, 384), (1536, 64)]),
    st.sampled_from([1, 100, 32_768, 78_125]),
    st.sampled_from([0.001, 1, 8, 33, 64, 1000]),
    st.sampled_from([1, 2, 3, 17]),
    names,
)
@settings(deadline=None, max_examples=30)
def test_read_grid_of_recordings_does_not_depend_on_them_either(samples, channels, thickness, buffer_mb, ranks, name):
    """With the real constant: the blocks, whoever reads them, lie on one grid that only the layout decides."""
    width, chunk_width = channels
    layout = one((samples, width), chunks=(min(samples, thickness), chunk_width), access="gridded")
    (spec,) = layout
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan_module, "READ_GRID_BYTES", READ_GRID_BYTES)
        plan = WritePlan(layout, ranks, name, buffer_mb)
        (grid,) = plan.grain_grids
        assert (grid,) == WritePlan(layout, 1).grain_grids
        for buffer in (next(plan.buffers(rank), None) for rank in range(ranks)):
            assert buffer is None or buffer.slab == grid.cell(grid.cells(buffer.slab).start)
    block = math.prod(grid.chunk) * spec.itemsize
    assert block <= max(READ_GRID_BYTES, spec.chunk_bytes)
    assert 2 * block > READ_GRID_BYTES or block >= spec.nbytes or grid.chunk[0] == spec.grid.chunk[0]


@given(specs(Access.SEQUENTIAL), specs(), buffers_mb, st.integers(1, 9), names)
@quickly
def test_sequential_stays_on_the_root_in_order(spec, other, buffer_mb, ranks, name):
    plan = WritePlan(layout_of(other, spec), ranks, name, buffer_mb)
    assert not any(list(plan.buffers(rank, 1)) for rank in range(1, ranks))
    position = 0
    for buffer in plan.buffers(0, 1):  # each read goes on where the last one ended
        assert buffer.slab.count[1:] == spec.shape[1:]
        assert ravel(buffer.slab.start, spec.shape) == position
        position += buffer.slab.size
    assert position == math.prod(spec.shape)


def test_sequential_does_not_unbalance_the_rest():
    sequential = DatasetSpec("", (100,), (100,), "<i2", (10,), access="sequential")
    spread = DatasetSpec("", (400,), (400,), "<i2", (10,))
    plan = WritePlan(layout_of(sequential, spread), 4)
    assert [plan.count_chunks(rank, 1) for rank in range(4)] == [10] * 4
    assert [plan.count_chunks(rank, 0) for rank in range(4)] == [10, 0, 0, 0]


def test_gridded_block_is_never_shared():
    layout = one((1000, 8), chunks=(10, 4), access="gridded")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan_module, "READ_GRID_BYTES", 16 * 80)  # 16 chunks of 80 bytes
        plan = WritePlan(layout, 3)
        assert {b.slab.count for rank in range(3) for b in plan.buffers(rank)} == {(80, 8), (40, 8)}


# -- examples with known answers -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(STRATEGIES))
@pytest.mark.parametrize("shape", [(0,), (0, 4), (4, 0), (0, 0, 0)])
@pytest.mark.parametrize("chunks", [True, False])
@pytest.mark.parametrize("access", list(Access))
def test_empty_dataset_is_nobodys(name, shape, chunks, access):
    plan = WritePlan(one(shape, chunks=(2,) * len(shape) if chunks else None, access=access.value), 3, name)
    assert [list(plan.buffers(rank)) for rank in range(3)] == [[], [], []]
    assert (plan.rounds(0), plan.memory(), plan.balance(), plan.buffer_bytes(0)) == (0, 0, 1.0, 0)


@pytest.mark.parametrize("name", sorted(STRATEGIES))
@pytest.mark.parametrize("access", list(Access))
@pytest.mark.parametrize("ndim", [1, 2, 3, 4, 5])
def test_one_element(name, access, ndim):
    plan = WritePlan(one((1,) * ndim, chunks=(1,) * ndim, access=access.value), 5, name)
    assert sorted(len(list(plan.buffers(rank))) for rank in range(5)) == [0, 0, 0, 0, 1]
    assert plan.rounds(0) == 1


def test_more_ranks_than_chunks():
    plan = WritePlan(one((30,), chunks=(10,)), 7)
    assert sorted(plan.count_chunks(rank, 0) for rank in range(7)) == [0, 0, 0, 0, 1, 1, 1]


def test_rows_of_the_source_first():
    """A time slab over all channels, not a column of chunks: each byte of a row-major source is read once."""
    layout = one((100_000, 384), chunks=(10_000, 64))
    (first, *_) = WritePlan(layout, 2, buffer_mb=32).buffers(0)
    assert first.slab.count[1] == 384
    assert first.slab.count[0] >= 10_000


def neuropixels(rows: int) -> FileLayout:
    """384 channels of a file of 385, and the last one, for which all of it is read once more."""
    channels = DatasetSpec("", (rows, 384), (rows, 384), "<i2", (10_000, 64), read_beside=rows * 2)
    sync = DatasetSpec("", (rows, 1), (rows, 1), "<i2", (rows, 1), read_beside=rows * 768)
    return layout_of(channels, sync)


@pytest.mark.parametrize("ranks", [2, 3, 5])
def test_who_reads_all_rows_for_one_column_has_fewer_of_the_others(ranks):
    rows = 1_000_000
    plan = WritePlan(neuropixels(rows), ranks)
    *others, last = range(ranks)
    grain = 10_000 * 64 * 2
    assert plan.count_chunks(last, 1) == 1
    for rank in others:
        assert abs(plan.nbytes(rank) - plan.nbytes(last) - (rows * 768 / READ_WHILE_WRITTEN)) <= 2 * grain
    assert plan.balance() <= 1 + grain * ranks / plan.total_cost


def test_shares_are_the_same_for_ranks_that_were_sent_the_layout_and_in_json_and_resumed():
    layout = neuropixels(1_000_000)
    told = FileLayout.from_json(json.loads(json.dumps(layout.to_json())))
    for rank in range(3):
        assert WritePlan(told, 3).shares(rank) == WritePlan(layout, 3).shares(rank)
    half = np.arange(600) < 300
    resumed = WritePlan(told, 2, done={0: half})
    assert resumed.count_chunks(0, 0) + resumed.count_chunks(1, 0) == 300
    assert abs(resumed.cost(0) - resumed.cost(1)) <= 2 * 10_000 * 64 * 2


def test_chunk_larger_than_the_buffer_is_allowed():
    plan = WritePlan(one((100,), chunks=(60,)), 2, buffer_mb=1 / MiB)
    assert [b.slab.count for rank in range(2) for b in plan.buffers(rank)] == [(60,), (40,)]


@given(plans())
@quickly
def test_what_stays_with_the_root_is_the_roots_alone(plan):
    kept = frozenset(range(0, len(plan.layout), 2))
    found = replace(plan, kept=kept)
    for number in kept:
        assert [found.count_chunks(rank, number) for rank in range(1, plan.ranks)] == [0] * (plan.ranks - 1)
        assert found.count_chunks(0, number) == plan.layout.datasets[number].grid.size
    slabs = [b for rank in range(plan.ranks) for b in found.buffers(rank)]
    elements = sum(plan.layout.datasets[b.dataset].grid.cells(b.slab).size for b in slabs)
    assert elements == sum(spec.grid.size for spec in plan.layout)


# -- memory --------------------------------------------------------------------------------------------------


@given(plans())
@quickly
def test_memory_bound_holds_for_what_is_in_flight(plan):
    """What the source returns, the chunks made of it, and three buffers encoded to chunks as large as the data."""
    for number, spec in enumerate(plan.layout):
        sizes = [
            b.slab.size * spec.itemsize for rank in range(plan.ranks) for b in plan.buffers(rank, number)
        ]
        if sizes:
            assert plan.memory() >= 5 * max(sizes)


@given(plans())
@quickly
def test_memory_is_projected_for_each_rank(plan):
    """A rank that has less to hold than the others is told so, and none gets beyond the bound."""
    for rank in range(plan.ranks):
        sizes = [b.slab.size * plan.layout.datasets[b.dataset].itemsize for b in plan.buffers(rank)]
        assert plan.projected_memory(rank) == 5 * max(sizes, default=0) <= plan.memory()


@given(plans())
@quickly
def test_least_memory_is_the_largest_buffer(plan):
    for rank in range(plan.ranks):
        sizes = [b.slab.size * plan.layout.datasets[b.dataset].itemsize for b in plan.buffers(rank)]
        assert plan.least_memory(rank) == max(sizes, default=0)


def test_memory_counts_a_layer_of_chunks():
    """Whole rows as thick as a chunk, however small the buffers are: the least in which rows become chunks."""
    layer = 78_125 * 1536 * 2
    plan = WritePlan(one((10**7, 1536), chunks=(78_125, 64), access="sequential"), 4, buffer_mb=1)
    assert plan.buffer_bytes(0) == layer and plan.memory() >= 3 * layer
    assert next(plan.buffers(0)).slab.count == (78_125, 1536)
    assert plan.least_memory(0) == layer
    assert plan.least_memory(1) == 0


@given(layouts, names, buffers_mb)
@quickly
def test_memory_does_not_depend_on_ranks(layout, name, buffer_mb):
    assert len({WritePlan(layout, ranks, name, buffer_mb).memory() for ranks in (1, 3, 1000)}) == 1


@pytest.mark.parametrize("channels", [384, 1536])
@pytest.mark.parametrize("samples", [10**6, 10**10])
def test_memory_is_bounded_whatever_the_length_and_the_channels(channels, samples):
    layout = one((samples, channels), chunks=(32_768, 64))
    assert WritePlan(layout, 2).memory() <= 5 * DEFAULT_BUFFER_MB * MiB


# -- settings ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"ranks": 0}, "at least one rank, got 0"),
        ({"ranks": -3}, "at least one rank, got -3"),
        ({"buffer_mb": 0}, "buffer_mb must be positive"),
        ({"buffer_mb": -1}, "buffer_mb must be positive"),
        ({"buffer_mb": float("nan")}, "buffer_mb must be positive"),
        ({"buffer_mb": float("inf")}, "buffer_mb must be positive"),
        ({"decomposition": "stripes"}, "decomposition must be one of"),
    ],
)
def test_impossible_settings_are_refused(arguments, words):
    with pytest.raises(PlanError, match=words):
        WritePlan(**{"layout": one((4,)), "ranks": 2, **arguments})


@given(plans())
@quickly
def test_json_is_plain_and_complete(plan):
    found = plan.to_json()
    assert json.loads(json.dumps(found)) == found
    assert sum(share["bytes"] for share in found["shares"]) == found["total_bytes"] == plan.layout.nbytes
    covered = {spec.path: np.zeros(spec.shape, dtype=int) for spec in plan.layout}
    for share in found["shares"]:
        for slab in share["hyperslabs"]:
            covered[slab["dataset"]][Hyperslab(tuple(slab["start"]), tuple(slab["count"])).slices] += 1
    assert all((count == 1).all() for count in covered.values())


def test_json_of_some_ranks():
    found = WritePlan(one((100,), chunks=(1,)), 50).to_json(ranks=range(3, 5))
    assert [share["rank"] for share in found["shares"]] == [3, 4]


def test_json_tells_the_memory_of_each_rank():
    """What comes in order stays with the root, which alone needs room for a layer of its chunks."""
    layer = 100 * 30 * 2
    found = WritePlan(one((1000, 30), chunks=(100, 10), access="sequential"), 3, buffer_mb=1 / MiB).to_json()
    assert [share["projected_memory_bytes"] for share in found["shares"]] == [5 * layer, 0, 0]
    assert found["projected_memory_bytes"] == 5 * layer


def test_json_of_no_ranks():
    assert WritePlan(one((100,), chunks=(1,)), 50).to_json(ranks=range(0))["shares"] == []


def test_plan_is_equal_where_it_is_made_alike():
    assert WritePlan(one((9,)), 2) == WritePlan(one((9,)), 2) != WritePlan(one((9,)), 3)
