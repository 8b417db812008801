"""Chunks cut out of buffers: padded as HDF5 pads, converted as HDF5 converts."""

from __future__ import annotations

from itertools import product

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parnwb.codec import ChunkCutter
from parnwb.codec.cutter import in_file_dtype
from parnwb.hyperslab import Hyperslab
from parnwb.layout import DatasetSpec

quickly = settings(deadline=None, max_examples=60)
SIZES = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8")
DTYPES = ["|b1", *sorted({np.dtype(order + kind).str for kind in SIZES for order in "<>"})]


def assigned(values: np.ndarray, dtype: str) -> np.ndarray:
    """Return what a dataset of ``dtype`` holds after h5py has assigned ``values`` to it."""
    with h5py.File("oracle", "w", driver="core", backing_store=False) as file:
        dataset = file.create_dataset("x", values.shape, dtype)
        dataset[...] = values
        return dataset[...]


def converted(values: np.ndarray, dtype: str) -> np.ndarray:
    out = np.empty(values.shape, dtype)
    with np.errstate(all="ignore"):
        out[...] = in_file_dtype(values, np.dtype(dtype))
    return out


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)  # nan equals nan
    if expected.dtype.kind == "f":
        np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))


def telling_values(dtype: str) -> np.ndarray:
    """Values at which conversions differ: extremes, roundings, what does not fit, what is no number."""
    kind = np.dtype(dtype)
    random = np.random.default_rng(0)
    if kind.kind == "b":
        return random.integers(0, 2, 50).astype(bool)
    if kind.kind in "iu":
        info = np.iinfo(kind)
        corners = [info.min, info.max, info.max - 1, 0, 1]
        corners += [v for bits in (8, 11, 16, 24, 32, 53) for v in range(2**bits - 3, 2**bits + 4)]
        corners = [v for v in corners if info.min <= v <= info.max]
        return np.concatenate(
            [np.frombuffer(random.bytes(100 * kind.itemsize), kind), np.array(corners, kind)]
        )
    corners = [np.nan, np.inf, -np.inf, 0.0, -0.0, 0.5, 1.5, 2.5, -1.5, -0.5, 127.5, 128, 255, 255.5, 256]
    corners += [-129, -1, 32767.5, 65504, 65520, 1e5, 2.0**31, -(2.0**31), 2.0**53, 2.0**63, 2.0**64, 1e300]
    corners += [1e-8, 1e-40, 1e-310, 3.4e38, 3.5e38]
    with np.errstate(all="ignore"):
        return np.concatenate([random.normal(0, 1000, 50), np.array(corners)]).astype(kind)


@pytest.mark.parametrize("source", DTYPES)
def test_conversion_is_h5pys_between_all_dtypes(source):
    values, missing = telling_values(source), []
    for target in DTYPES:
        try:
            expected = assigned(values, target)
        except OSError:  # numbers are not made into booleans
            missing.append(target)
            continue
        assert_same(converted(values, target), expected)
    assert missing in ([], ["|b1"]) and (source != "|b1" or not missing)


@given(st.data(), st.sampled_from(["<i8", ">i8", "<u8", "<f8", ">f4"]), st.sampled_from(DTYPES[1:]))
@quickly
def test_conversion_is_h5pys_for_any_values(data, source, target):
    kind = np.dtype(source)
    if kind.kind == "f":
        elements = st.floats(width=kind.itemsize * 8)
    else:
        info = np.iinfo(kind)
        elements = st.integers(int(info.min), int(info.max))
    values = np.array(data.draw(st.lists(elements, min_size=1, max_size=20)), dtype=kind)
    assert_same(converted(values, target), assigned(values, target))


def test_what_does_not_fit_becomes_the_nearest_that_does():
    values = np.array([-70_000.0, 70_000.0, np.inf, -np.inf, 1.9, -1.9])
    assert converted(values, "<i2").tolist() == [-32768, 32767, 32767, -32768, 1, -1]
    assert converted(np.array([-1, 300]), "|u1").tolist() == [0, 255]


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_is_copied_where_the_dtype_is_right(dtype):
    values = np.zeros(10, dtype)[::2]
    assert in_file_dtype(values, np.dtype(dtype)) is values


def test_conversion_of_a_strided_view_and_of_nothing():
    values = np.arange(-600, 600, dtype="<i4").reshape(30, 40)
    assert_same(converted(values[::3, 5:35:2], "|i1"), np.clip(values[::3, 5:35:2], -128, 127).astype("i1"))
    assert_same(converted(values.T, "|i1"), np.clip(values.T, -128, 127).astype("i1"))
    assert converted(np.empty((0, 3), "<i4"), "|i1").shape == (0, 3)


def test_source_is_left_alone():
    values = np.array([1e9, -1e9, np.nan])
    before = values.copy()
    in_file_dtype(values, np.dtype("<i2"))
    np.testing.assert_array_equal(values, before)


# -- cutting -------------------------------------------------------------------------------------------------


@st.composite
def cuts(draw: st.DrawFn) -> tuple[DatasetSpec, np.ndarray]:
    ndim = draw(st.integers(1, 4))
    shape = tuple(draw(st.integers(1, 6)) for _ in range(ndim))
    chunks = tuple(draw(st.integers(1, 8)) for _ in range(ndim))
    dtype = draw(st.sampled_from(DTYPES[1:]))
    fill = np.array(draw(st.integers(0, 100)), dtype).tobytes() if draw(st.booleans()) else b""
    spec = DatasetSpec("/x", shape, (None,) * ndim, dtype, chunks, fillvalue=fill)
    source = draw(st.sampled_from([dtype, "<f8", "<i4"]))
    random = np.random.default_rng(draw(st.integers(0, 99)))
    values = np.asarray(random.normal(0, 500, shape)).astype(source)
    return spec, np.asfortranarray(values) if draw(st.booleans()) else values


@given(cuts())
@quickly
def test_chunks_are_whole_padded_and_in_the_files_dtype(case):
    spec, values = case
    cutter, grid = ChunkCutter(spec), spec.grid
    padded = np.full(tuple(e * c for e, c in zip(grid.extent, grid.chunk, strict=True)), spec.fill)
    padded[Hyperslab.whole(spec.shape).slices] = assigned(values, spec.dtype)
    for index in product(*map(range, grid.extent)):
        chunk = cutter.cut(values, (0,) * values.ndim, grid.cell(index))
        assert chunk.shape == grid.chunk and chunk.dtype == spec.numpy_dtype and chunk.flags.c_contiguous
        part = tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, grid.chunk, strict=True))
        np.testing.assert_array_equal(chunk, padded[part])


@given(cuts(), st.data())
@quickly
def test_buffers_may_begin_anywhere(case, data):
    """A cut out of a buffer is the cut out of the whole."""
    spec, values = case
    grid = spec.grid
    index = tuple(data.draw(st.integers(0, n - 1)) for n in grid.extent)
    cell = grid.cell(index)
    origin = tuple(data.draw(st.integers(0, s)) for s in cell.start)
    buffer = values[tuple(slice(o, None) for o in origin)]
    whole = ChunkCutter(spec).cut(values, (0,) * values.ndim, cell).copy()
    np.testing.assert_array_equal(ChunkCutter(spec).cut(buffer, origin, cell), whole)


@given(cuts())
@quickly
def test_exact_cuts_make_up_a_contiguous_dataset(case):
    spec, values = case
    spec = DatasetSpec(spec.path, spec.shape, spec.shape, spec.dtype, None)
    raw = ChunkCutter(spec).cut_exactly(values, (0,) * values.ndim, Hyperslab.whole(spec.shape))
    assert raw == assigned(values, spec.dtype).tobytes()


def test_whole_chunk_in_the_right_form_is_not_copied():
    spec = DatasetSpec("/x", (4, 3), (4, 3), "<i2", (2, 3))
    values = np.arange(12, dtype="<i2").reshape(4, 3)
    assert np.shares_memory(ChunkCutter(spec).cut(values, (0, 0), Hyperslab((2, 0), (2, 3))), values)


def test_padding_is_fresh_in_every_chunk():
    """What a chunk before has left in the cutter's memory does not come through."""
    spec = DatasetSpec("/x", (5, 3), (5, 3), "<i2", (2, 2), fillvalue=np.int16(-9).tobytes())
    values, cutter = np.arange(15, dtype="<i2").reshape(5, 3), ChunkCutter(spec)
    cutter.cut(values, (0, 0), Hyperslab((0, 0), (2, 2)))
    assert cutter.cut(values, (0, 0), Hyperslab((4, 2), (1, 1))).tolist() == [[14, -9], [-9, -9]]
