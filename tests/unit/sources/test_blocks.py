"""Zarr and dask arrays: right values whatever is asked, each block loaded once, sent by description."""

from __future__ import annotations

import gc
import pickle
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes
from pynwb import H5DataIO, NWBFile, TimeSeries

from parnwb import NWBParallelIO
from parnwb.errors import SourceError
from parnwb.hyperslab import Hyperslab
from parnwb.sources import Access, as_source, blocks, read_checked, read_pieces, takes_over
from parnwb.sources.adapt import is_source_like
from parnwb.sources.blocks import BlockCache, BlockedSource
from parnwb.sources.dask import DaskSource
from parnwb.sources.dask_iterator import DaskArrayIterator
from parnwb.sources.zarr import ZarrSource, read_zarr_spec

zarr = pytest.importorskip("zarr", reason='needs the extra "test"')
da = pytest.importorskip("dask.array", reason='needs the extra "test"')


def stored(folder: Path, values: Any, chunks: tuple[int, ...]) -> Any:
    array = zarr.open(str(folder / "array.zarr"), mode="w", shape=values.shape, chunks=chunks, dtype=values.dtype)
    array[...] = values
    return array


class Counted(BlockedSource):
    """Blocks of an array, and how often each was loaded."""

    def __init__(self, values: Any, sizes: tuple[tuple[int, ...], ...]) -> None:
        super().__init__(values.shape, values.dtype, [np.cumsum([0, *axis]) for axis in sizes])
        self.values, self.loaded = values, []

    def _load(self, index: tuple[int, ...], elements: Hyperslab) -> Any:
        self.loaded.append(index)
        return self.values[elements.slices].copy()


@st.composite
def questions(draw: st.DrawFn) -> tuple[Any, tuple[tuple[int, ...], ...], Hyperslab]:
    """An array, sizes of its blocks, and a box of it."""
    shape = draw(array_shapes(min_dims=1, max_dims=3, max_side=9))
    sizes, start, stop = [], [], []
    for extent in shape:
        cuts = sorted(draw(st.sets(st.integers(1, extent))) | {extent})
        sizes.append(tuple(np.diff([0, *cuts]).tolist()))
        low = draw(st.integers(0, extent - 1))
        start.append(low)
        stop.append(draw(st.integers(low + 1, extent)))
    slab = Hyperslab(tuple(start), tuple(b - a for a, b in zip(start, stop, strict=True)))
    return np.arange(np.prod(shape)).reshape(shape), tuple(sizes), slab


@given(questions())
@settings(deadline=None, max_examples=60)
def test_any_box_of_any_blocks(question):
    values, sizes, slab = question
    source = Counted(values, sizes)
    assert np.array_equal(read_checked(source, slab, "/d"), values[slab.slices])
    times = np.zeros(values.shape, dtype=int)
    for part, found in read_pieces(source, slab, "/d"):
        assert np.array_equal(found, values[part.slices])
        times[part.slices] += 1
    assert (times[slab.slices] == 1).all() and times.sum() == slab.size
    assert len(source.loaded) == len(set(source.loaded))


def test_blocks_at_the_border_of_buffers_are_loaded_once(monkeypatch):
    """Buffers of 3 rows, blocks of 5: the row of blocks that two buffers share is kept."""
    values = np.arange(60 * 4).reshape(60, 4)
    source = Counted(values, ((5,) * 12, (2, 2)))
    for low in range(0, 60, 3):
        source.read(Hyperslab((low, 0), (3, 4)))
    assert len(source.loaded) == len(set(source.loaded)) == 24


def test_the_cache_holds_no_more_than_it_may():
    cache = BlockCache(100)
    for number in range(5):
        cache.keep(number, np.zeros(40, dtype="u1"))
    assert [number for number in range(5) if cache.find(number) is not None] == [3, 4]
    cache.find(3)
    cache.make_room(60)
    assert cache.find(3) is not None and cache.find(4) is None, "the one that was used last stays"
    cache.keep("large", np.zeros(400, dtype="u1"))
    assert cache.find(3) is None and cache.find("large") is not None


def test_sources_share_one_cache_which_goes_with_them(monkeypatch):
    monkeypatch.setattr(blocks, "_caches", WeakValueDictionary())
    one, other = (Counted(np.arange(6), ((3, 3),)) for _ in range(2))
    assert one._cache is other._cache is blocks._shared_cache()
    assert np.array_equal(one.read(Hyperslab((0,), (3,))), other.read(Hyperslab((0,), (3,))))
    assert other.loaded == [(0,)], "blocks of one are not taken for those of another"
    del one, other
    gc.collect()
    assert not blocks._caches


@pytest.mark.parametrize("chunks", [(7, 4), (100, 1), (1, 8)])
def test_zarr_arrays(tmp_path, chunks):
    values = np.arange(100 * 8, dtype="<f4").reshape(100, 8)
    source = as_source(stored(tmp_path, values, chunks))
    assert isinstance(source, ZarrSource) and source.access is Access.RANDOM
    assert (source.shape, source.dtype) == (values.shape, values.dtype)
    for start, count in (((0, 0), (100, 8)), ((13, 3), (50, 4)), ((99, 7), (1, 1))):
        slab = Hyperslab(start, count)
        assert np.array_equal(read_checked(source, slab, "/d"), values[slab.slices])
    sent = pickle.loads(pickle.dumps(source))
    assert np.array_equal(sent.read(Hyperslab((5, 2), (60, 3))), values[5:65, 2:5])
    assert len(pickle.dumps(source)) < 2000, "it is sent by its path"


def test_zarr_arrays_in_memory_are_sent_if_they_are_small(monkeypatch):
    source = as_source(zarr.array(np.arange(100)))
    assert np.array_equal(pickle.loads(pickle.dumps(source)).read(Hyperslab((90,), (10,))), np.arange(90, 100))
    monkeypatch.setattr("parnwb.sources.zarr.MAX_PICKLED_BYTES", 799)
    with pytest.raises(SourceError, match="its store is in memory"):
        pickle.dumps(source)


def test_dask_arrays():
    values = np.arange(90 * 6, dtype="i4").reshape(90, 6)
    array = da.from_array(values, chunks=((20, 50, 20), (5, 1))) * 2
    source = as_source(array)
    assert isinstance(source, DaskSource) and source.access is Access.RANDOM
    for start, count in (((0, 0), (90, 6)), ((19, 4), (52, 2)), ((89, 5), (1, 1))):
        slab = Hyperslab(start, count)
        assert np.array_equal(read_checked(source, slab, "/d"), 2 * values[slab.slices])
    sent = pickle.loads(pickle.dumps(source))
    assert np.array_equal(sent.read(Hyperslab((0, 0), (90, 6))), 2 * values)


def test_dask_blocks_are_computed_once():
    computed = []

    def double(block: Any) -> Any:
        computed.append(block.shape)
        return 2 * block

    array = da.ones((60, 4), chunks=(25, 4)).map_blocks(double, dtype="f8", meta=np.empty((0, 0)))
    source = as_source(DaskArrayIterator(array, chunk_shape=(8, 4)))
    for low in range(0, 60, 8):
        count = min(8, 60 - low)
        assert (source.read(Hyperslab((low, 0), (count, 4))) == 2).all()
    assert computed == [(25, 4), (25, 4), (10, 4)]


def test_dask_arrays_of_unknown_shape_are_refused():
    array = da.ones((10,), chunks=5)
    with pytest.raises(SourceError, match="must know the sizes") as caught:
        as_source(array[array > 0])
    assert "compute_chunk_sizes" in caught.value.remedy


def test_dask_graphs_that_hold_too_many_values_are_not_sent(monkeypatch):
    monkeypatch.setattr("parnwb.sources.dask.MAX_PICKLED_BYTES", 5000)
    pickle.dumps(as_source(da.ones((10_000,), chunks=5000)))
    with pytest.raises(SourceError, match="as a graph"):
        pickle.dumps(as_source(da.from_array(np.random.default_rng(1).random(10_000), chunks=5000)))


def test_both_are_taken_from_inside_another_iterator(tmp_path):
    hdmf = pytest.importorskip("neuroconv.tools.hdmf", reason='needs the extra "convert"')
    for data, kind in (
        (stored(tmp_path, np.arange(24).reshape(6, 4), (2, 4)), ZarrSource),
        (da.ones((6, 4), chunks=2), DaskSource),
    ):
        assert is_source_like(data)
        assert isinstance(as_source(hdmf.SliceableDataChunkIterator(data)), kind)


def test_what_is_kept_is_known_beforehand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "CACHE_BYTES", 100)
    small, long, large = (Counted(np.zeros(n, "u1"), (sizes,)) for n, sizes in (
        (30, (10, 20)), (400, (50,) * 8), (300, (250, 50))
    ))
    assert [blocks.kept_bytes(each) for each in ([], [small], [long], [large, small])] == [0, 30, 100, 250]


@pytest.mark.parametrize("fill", [-1, None])
def test_stored_chunks_go_only_where_missing_ones_mean_the_same(tmp_path: Path, fill: int | None) -> None:
    array = zarr.open(str(tmp_path / "array.zarr"), mode="w", shape=(8,), chunks=(4,), dtype="i2", fill_value=fill)
    source, spec = as_source(array), read_zarr_spec(array)
    assert takes_over(source, spec)
    assert takes_over(source, replace(spec, fillvalue=b"")) == (fill is None)
    assert not takes_over(source, replace(spec, fillvalue=b"\1\0"))


@pytest.mark.parametrize("nbytes", [0, 5, 9])
def test_a_chunk_that_was_cut_off_is_no_chunk(tmp_path: Path, nbytes: int) -> None:
    array = zarr.open(str(tmp_path / "cut.zarr"), mode="w", shape=(8,), chunks=(4,), dtype="i2", compressor=None)
    array[:] = 7
    (tmp_path / "cut.zarr/1").write_bytes(b"7" * nbytes)
    nwbfile = NWBFile("a session", "id", datetime(2026, 1, 2, tzinfo=timezone.utc))
    nwbfile.add_acquisition(TimeSeries(name="x", data=H5DataIO(array, chunks=(4,)), unit="V", rate=1.0))
    settings = {"bulk_threshold": 0, "compression": None, "progress": False}
    with pytest.raises(SourceError, match=rf"8 bytes, this one has {nbytes}.*/x/data\[4:8\]"), NWBParallelIO(
        tmp_path / "out.nwb", "w", **settings
    ) as io:
        io.write(nwbfile)
    assert not (tmp_path / "out.nwb").exists()
