"""A rank's stream of buffers, as hdmf's iterators: all values once, and in step where all ranks must call."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import h5py
import numpy as np
import pytest
from hdmf.data_utils import AbstractDataChunkIterator
from hypothesis import given, settings
from hypothesis import strategies as st

from parnwb.errors import PlanError, SourceError
from parnwb.hyperslab import Hyperslab
from parnwb.iterator import CollectiveChunkIterator, IndependentChunkIterator
from parnwb.layout import DatasetSpec, FileLayout
from parnwb.planning.plan import MiB, WritePlan
from parnwb.sources.array import ArraySource

quickly = settings(deadline=None, max_examples=60)
KINDS = [IndependentChunkIterator, CollectiveChunkIterator]


@st.composite
def cases(draw: st.DrawFn) -> tuple[WritePlan, np.ndarray]:
    ndim = draw(st.integers(1, 4))
    shape = tuple(draw(st.integers(0 if axis == 0 else 1, 6)) for axis in range(ndim))
    chunks = tuple(draw(st.integers(1, 4)) for _ in range(ndim))
    access = draw(st.sampled_from(["random", "gridded", "sequential"]))
    values = np.arange(int(np.prod(shape)), dtype="<i4").reshape(shape)
    spec = DatasetSpec("/x", shape, (None,) * ndim, "<i2", chunks, access=access)
    strategy = draw(st.sampled_from(["balanced", "slab", "block"]))
    buffer_mb = draw(st.sampled_from([1, 20, 100])) / MiB
    return WritePlan(FileLayout((spec,)), draw(st.integers(1, 6)), strategy, buffer_mb), values


@pytest.mark.parametrize("kind", KINDS)
@given(cases())
@quickly
def test_all_ranks_together_give_every_value_once(kind, case):
    plan, values = case
    found, times = np.full(values.shape, -1, values.dtype), np.zeros(values.shape, dtype=int)
    for rank in range(plan.ranks):
        for chunk in kind(plan, rank, 0, ArraySource(values)):
            assert chunk.data.dtype == values.dtype
            found[chunk.selection] = chunk.data
            times[chunk.selection] += 1
    assert (times == 1).all()
    np.testing.assert_array_equal(found, values)


@given(cases())
@quickly
def test_collective_ranks_keep_step(case):
    plan, values = case
    grid = plan.layout.datasets[0].grid
    for rank in range(plan.ranks):
        chunks = list(CollectiveChunkIterator(plan, rank, 0, ArraySource(values)))
        assert len(chunks) == plan.rounds(0)
        taken = plan.count_chunks(rank, 0)
        for number, chunk in enumerate(chunks):
            assert (chunk.data.size > 0) == (number < taken)  # empty steps come last
            start = tuple(part.start for part in chunk.selection)
            assert tuple(part.stop - part.start for part in chunk.selection) == chunk.data.shape
            if chunk.data.size:
                assert grid.cells(Hyperslab(start, chunk.data.shape)).size == 1


@given(cases())
@quickly
def test_independent_buffers_are_the_plans(case):
    plan, values = case
    for rank in range(plan.ranks):
        selections = [c.selection for c in IndependentChunkIterator(plan, rank, 0, ArraySource(values))]
        assert selections == [buffer.slab.slices for buffer in plan.buffers(rank, 0)]


def one(values: np.ndarray, ranks: int = 2) -> WritePlan:
    spec = DatasetSpec("/x", values.shape, (None, *values.shape[1:]), "<f8", (4,) + (3,) * (values.ndim - 1))
    return WritePlan(FileLayout((spec,)), ranks)


@pytest.mark.parametrize("kind", KINDS)
def test_answers_what_hdmf_asks(kind):
    values = np.zeros((10, 6), "<i2")
    stream = kind(one(values), 0, 0, ArraySource(values))
    assert isinstance(stream, AbstractDataChunkIterator)
    assert iter(stream) is stream
    assert stream.recommended_chunk_shape() == (4, 3)
    assert stream.recommended_data_shape() == (10, 6)
    assert (stream.dtype, stream.maxshape) == (np.dtype("<i2"), (None, 6))


@pytest.mark.parametrize("kind", KINDS)
def test_hdmf_writes_it(kind, tmp_path):
    """By itself, without any backend of parnwb's."""
    from datetime import datetime, timezone

    from pynwb import NWBHDF5IO, NWBFile, TimeSeries

    values = np.arange(60, dtype="<i2").reshape(10, 6)
    nwbfile = NWBFile("s", "id", datetime(2026, 1, 1, tzinfo=timezone.utc))
    stream = kind(one(values, ranks=1), 0, 0, ArraySource(values))
    nwbfile.add_acquisition(TimeSeries(name="x", data=stream, unit="V", rate=1.0))
    with NWBHDF5IO(tmp_path / "x.nwb", "w") as io:
        io.write(nwbfile)
    with h5py.File(tmp_path / "x.nwb") as file:
        np.testing.assert_array_equal(file["acquisition/x/data"][...], values)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("rank", "dataset", "words"),
    [
        (-1, 0, r"rank must be within 0\.\.1, got -1"),
        (2, 0, r"rank must be within 0\.\.1, got 2"),
        (0, 1, r"dataset must be within 0\.\.0, got 1"),
        (0, -1, r"dataset must be within 0\.\.0, got -1"),
    ],
)
def test_out_of_range(kind, rank, dataset, words):
    values = np.zeros(10)
    with pytest.raises(PlanError, match=words):
        kind(one(values), rank, dataset, ArraySource(values))


@pytest.mark.parametrize("kind", KINDS)
def test_source_that_answers_wrongly_is_named(kind):
    class Short(ArraySource):
        def read(self, slab: Hyperslab) -> Any:
            return super().read(slab)[:-1]

    values = np.zeros(10)
    with pytest.raises(SourceError, match=r"asked \(\d+,\), got") as caught:
        list(kind(one(values), 0, 0, Short(values)))
    assert caught.value.where == "/x[0:8]"


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_read_before_it_is_asked_for(kind):
    read = []

    class Noting(ArraySource):
        def read(self, slab: Hyperslab) -> Any:
            read.append(slab)
            return super().read(slab)

    values = np.zeros((40, 3))
    plan = WritePlan(one(values).layout, 1, buffer_mb=100 / MiB)
    stream = kind(plan, 0, 0, Noting(values))
    assert read == []
    next(stream)
    assert len(read) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_it_goes_with_its_last_user_not_when_the_garbage_collector_comes(kind):
    """It holds the values of a round, of which there may be thousands."""
    values = np.arange(20)
    gc.disable()
    try:
        begun, unused = (kind(one(values), 0, 0, ArraySource(values)) for _ in range(2))
        assert len(list(begun)) > 0
        left = [weakref.ref(begun), weakref.ref(unused)]
        del begun, unused
        assert [reference() for reference in left] == [None, None]
    finally:
        gc.enable()
