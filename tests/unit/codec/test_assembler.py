"""Chunks put together from pieces: each value once, padded as HDF5 pads, converted as HDF5 converts."""

from __future__ import annotations

import threading
from itertools import product

import h5py
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from parnwb.codec import ChunkAssembler
from parnwb.hyperslab import Hyperslab
from parnwb.layout import DatasetSpec, FilterSpec

quickly = settings(deadline=None, max_examples=60)
DTYPES = ["|i1", "<i2", ">i2", "<u4", ">i8", "<f4", ">f8"]
DEFLATE = (FilterSpec(1, (1,), "deflate"),)


def stored(values: np.ndarray, spec: DatasetSpec) -> np.ndarray:
    """Return what a dataset of the same dtype holds after h5py has assigned ``values`` to it."""
    with h5py.File("oracle", "w", driver="core", backing_store=False) as file:
        dataset = file.create_dataset("x", values.shape, spec.numpy_dtype)
        dataset[...] = values
        return dataset[...]


@st.composite
def cases(draw: st.DrawFn) -> tuple[DatasetSpec, np.ndarray]:
    ndim = draw(st.integers(1, 4))
    shape = tuple(draw(st.integers(1, 6)) for _ in range(ndim))
    chunks = tuple(draw(st.integers(1, 8)) for _ in range(ndim))
    dtype = draw(st.sampled_from(DTYPES))
    fill = np.array(draw(st.integers(0, 100)), dtype).tobytes() if draw(st.booleans()) else b""
    filters = draw(st.sampled_from([(), DEFLATE]))
    spec = DatasetSpec("/x", shape, (None,) * ndim, dtype, chunks, filters, fillvalue=fill)
    source = draw(st.sampled_from([dtype, "<f8", "<i4"]))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    values = np.asarray(random.normal(0, 500, shape)).astype(source)
    return spec, np.asfortranarray(values) if draw(st.booleans()) else values


def in_pieces(values: np.ndarray, slab: Hyperslab, limit: int):
    """Hand out a box of ``values`` piece by piece, each in the same memory, as sources do."""
    scratch = np.empty(slab.size, values.dtype)
    for part in slab.split(limit):
        piece = scratch[: part.size].reshape(part.count)
        piece[...] = values[part.slices]
        yield part, piece


@given(cases(), st.integers(1, 400))
@quickly
def test_chunks_are_whole_padded_and_in_the_files_dtype(case, limit):
    spec, values = case
    grid, whole = spec.grid, Hyperslab.whole(spec.shape)
    padded = np.full(tuple(e * c for e, c in zip(grid.extent, grid.chunk, strict=True)), spec.fill)
    padded[whole.slices] = stored(values, spec)
    found = dict(ChunkAssembler(spec).assemble(whole, in_pieces(values, whole, limit)))
    assert list(found) == list(product(*map(range, grid.extent)))
    for index, chunk in found.items():
        assert chunk.shape == grid.chunk and chunk.dtype == spec.numpy_dtype and chunk.flags.c_contiguous
        part = tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, grid.chunk, strict=True))
        np.testing.assert_array_equal(chunk, padded[part])


@given(cases(), st.data(), st.integers(1, 400))
@quickly
def test_buffers_may_be_any_box_of_chunks(case, data, limit):
    spec, values = case
    grid, whole = spec.grid, Hyperslab.whole(spec.shape)
    first = tuple(data.draw(st.integers(0, n - 1)) for n in grid.extent)
    count = tuple(data.draw(st.integers(1, n - i)) for i, n in zip(first, grid.extent, strict=True))
    slab = grid.elements(Hyperslab(first, count))
    of_all = {i: c.copy() for i, c in ChunkAssembler(spec).assemble(whole, [(whole, values)])}
    found = {i: c.copy() for i, c in ChunkAssembler(spec).assemble(slab, in_pieces(values, slab, limit))}
    assert list(found) == list(Hyperslab(first, count).points())
    for index, chunk in found.items():
        np.testing.assert_array_equal(chunk, of_all[index])


@given(cases(), st.integers(1, 400))
@quickly
def test_contiguous_datasets_are_not_padded(case, limit):
    spec, values = case
    spec = DatasetSpec(spec.path, spec.shape, spec.shape, spec.dtype, None)
    whole = Hyperslab.whole(spec.shape)
    chunks = [chunk for _, chunk in ChunkAssembler(spec).assemble(whole, in_pieces(values, whole, limit))]
    assert b"".join(chunk.tobytes() for chunk in chunks) == stored(values, spec).tobytes()


def test_memory_is_used_again_and_padded_afresh():
    spec = DatasetSpec("/x", (5, 3), (5, 3), "<i2", (2, 3), DEFLATE, fillvalue=np.int16(-9).tobytes())
    first, second, third = three_buffers(spec, lends=False)
    assert np.shares_memory(first, second)
    assert third.tolist() == [[12, 13, 14], [-9, -9, -9]]


def test_lent_memory_outlives_the_next_buffer_and_comes_back():
    """Chunks without filters are written as they are, while the next are made."""
    spec = DatasetSpec("/x", (5, 3), (5, 3), "<i2", (2, 3), (), fillvalue=np.int16(-9).tobytes())
    first, second, third = three_buffers(spec, lends=True)
    assert second.tolist() == [[6, 7, 8], [9, 10, 11]] and third.tolist() == [[12, 13, 14], [-9, -9, -9]]
    assert not np.shares_memory(first, second)
    assert np.shares_memory(first, third)


def test_no_more_than_two_buffers_are_had():
    spec = DatasetSpec("/x", (6, 3), (6, 3), "<i2", (2, 3), (), fillvalue=b"\0\0")
    values, assembler = np.arange(18, dtype="<i2").reshape(6, 3), ChunkAssembler(spec)
    seen, releases = [], []
    for row in (0, 2, 4):
        slab = Hyperslab((row, 0), (2, 3))
        waiting = threading.Thread(target=assembler.take_back, daemon=True)
        waiting.start()
        waiting.join(0.05)
        assert waiting.is_alive() == (row == 4)  # two are being written
        if row == 4:
            releases[1]()
            waiting.join(10)
            assert not waiting.is_alive()
        seen += [chunk for _, chunk in assembler.assemble(slab, [(slab, values[slab.slices])])]
        releases.append(assembler.lend())
    assert seen[0].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert np.shares_memory(seen[1], seen[2])


def three_buffers(spec: DatasetSpec, *, lends: bool) -> list[np.ndarray]:
    """Return a chunk of each of three buffers that were made one after another; the first's memory comes back."""
    values, assembler = np.arange(15, dtype="<i2").reshape(5, 3), ChunkAssembler(spec)
    chunks = []
    for row, count in ((0, 2), (2, 2), (4, 1)):  # the third chunk sticks out of the dataset
        slab = Hyperslab((row, 0), (count, 3))
        chunks += [chunk for _, chunk in assembler.assemble(slab, [(slab, values[slab.slices])])]
        if lends:
            release = assembler.lend()
            if row == 0:
                assert chunks[0].tolist() == [[0, 1, 2], [3, 4, 5]]
                give_back = release
            elif row == 2:
                assert chunks[0].tolist() == [[0, 1, 2], [3, 4, 5]]
                give_back()
    return chunks
