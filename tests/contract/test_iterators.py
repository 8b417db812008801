"""The iterators by themselves: what hdmf does with them, and what a collective caller may rely on."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest
from contract.inputs import Array, add, values
from hdmf.data_utils import AbstractDataChunkIterator
from pynwb import NWBHDF5IO, H5DataIO, NWBFile, validate

from parnwb import CollectiveChunkIterator, DatasetSpec, FileLayout, IndependentChunkIterator, WritePlan
from parnwb.sources import as_source

SHAPE, CHUNKS = (103, 11), (20, 4)
PATH = "/acquisition/series/data"


def plan_for(ranks: int, decomposition: str = "balanced", chunks: tuple[int, ...] | None = CHUNKS) -> WritePlan:
    spec = DatasetSpec(PATH, shape=SHAPE, maxshape=(None, 11), dtype="<i2", chunks=chunks)
    return WritePlan(FileLayout((spec,)), ranks, decomposition, buffer_mb=0.001)


def written_by_pynwb(data: object, path: Path) -> tuple[Array, tuple[int, ...], tuple[int | None, ...]]:
    file = NWBFile("iterators", "alone", datetime(2026, 1, 1, tzinfo=timezone.utc))
    add(file, "series", data)
    with NWBHDF5IO(path, "w") as io:
        io.write(file)
    assert validate(path=path) == []
    with NWBHDF5IO(path, "r") as io:
        dataset = io.read().acquisition["series"].data
        return dataset[()], dataset.chunks, dataset.maxshape


@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "H5DataIO"])
@pytest.mark.parametrize("kind", [IndependentChunkIterator, CollectiveChunkIterator])
def test_pynwb_writes_what_they_yield(kind: type[AbstractDataChunkIterator], wrapped: bool, tmp_path: Path) -> None:
    data = values(SHAPE)
    iterator = kind(plan_for(1), 0, 0, as_source(data))
    item = H5DataIO(data=iterator, compression="gzip", shuffle=True) if wrapped else iterator
    found, chunks, maxshape = written_by_pynwb(item, tmp_path / "one.nwb")
    assert found.dtype == data.dtype and found.tobytes() == data.tobytes()
    assert chunks == CHUNKS and maxshape == (None, 11)


def test_pynwb_writes_one_ranks_part_and_takes_empty_steps(tmp_path: Path) -> None:
    data, plan = values(SHAPE) | 1, plan_for(5, "slab")
    ranks = [rank for rank in range(5) if plan.count_chunks(rank, 0) < plan.rounds(0)]
    assert ranks, "the plan is not meant to come out even"
    own = np.zeros(SHAPE, bool)
    for chunk in IndependentChunkIterator(plan, ranks[0], 0, as_source(data)):
        own[chunk.selection] = True
    iterator = CollectiveChunkIterator(plan, ranks[0], 0, as_source(data))
    found, _, _ = written_by_pynwb(H5DataIO(data=iterator, fillvalue=0), tmp_path / "part.nwb")
    assert np.array_equal(found, np.where(own, data, 0))


@pytest.mark.parametrize("decomposition", ["balanced", "slab", "block"])
@pytest.mark.parametrize("ranks", [1, 2, 3, 5, 40])
def test_collective_steps_are_the_plans_rounds_on_every_rank(ranks: int, decomposition: str) -> None:
    plan, data = plan_for(ranks, decomposition), values(SHAPE)
    written, found = np.zeros(SHAPE, int), np.zeros(SHAPE, "i2")
    for rank in range(ranks):
        steps = list(CollectiveChunkIterator(plan, rank, 0, as_source(data)))
        assert len(steps) == plan.rounds(0)
        assert sum(step.data.size > 0 for step in steps) == plan.count_chunks(rank, 0)
        for step in steps:
            assert step.data.dtype == data.dtype
            assert step.data.shape == written[step.selection].shape
            written[step.selection] += 1
            found[step.selection] = step.data
    assert (written == 1).all() and np.array_equal(found, data)


@pytest.mark.parametrize("chunks", [CHUNKS, None], ids=["chunked", "contiguous"])
@pytest.mark.parametrize("ranks", [1, 2, 3, 5, 40])
def test_independent_buffers_cover_all_once_in_whole_chunks(ranks: int, chunks: tuple[int, ...] | None) -> None:
    plan, data = plan_for(ranks, chunks=chunks), values(SHAPE)
    written = np.zeros(SHAPE, int)
    grid = plan.layout.datasets[0].grid
    for rank in range(ranks):
        for step in IndependentChunkIterator(plan, rank, 0, as_source(data)):
            assert step.data.size and np.array_equal(step.data, data[step.selection])
            written[step.selection] += 1
            for axis, part in enumerate(step.selection):
                assert part.start % grid.chunk[axis] == 0
                assert part.stop % grid.chunk[axis] == 0 or part.stop == SHAPE[axis]
    assert (written == 1).all()


def test_they_tell_hdmf_what_it_asks_for() -> None:
    iterator = IndependentChunkIterator(plan_for(1), 0, 0, as_source(values(SHAPE, "f4")))
    assert isinstance(iterator, AbstractDataChunkIterator)
    assert iterator.dtype == np.dtype("f4")
    assert iterator.maxshape == (None, 11)
    assert iterator.recommended_chunk_shape() == CHUNKS
    assert iterator.recommended_data_shape() == SHAPE
