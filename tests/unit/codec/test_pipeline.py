"""What a pipeline encodes, HDF5's own filters decode; and where the bytes are defined, they are HDF5's."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parnwb.codec import ChunkAssembler, open_pipeline
from parnwb.codec.native import NativeFilters
from parnwb.codec.pipeline import OwnFilters, Unfiltered
from parnwb.errors import CodecError
from parnwb.hyperslab import Hyperslab
from parnwb.layout import DatasetSpec, FilterSpec
from parnwb.sources.raw_chunks import read_spec

numbers = count()
quickly = settings(deadline=None, max_examples=60)
DTYPES = ["|b1", "|i1", "|u1"]
DTYPES += [order + kind for kind in ("i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8") for order in "<>"]


@pytest.fixture(scope="module")
def file() -> Iterator[h5py.File]:
    with h5py.File("oracle", "w", driver="core", backing_store=False) as opened:
        yield opened


def create(
    file: h5py.File,
    values: np.ndarray,
    chunks: tuple[int, ...],
    filters: Callable[[Any], None],
    *,
    fill: np.ndarray | None = None,
) -> h5py.Dataset:
    """Create a dataset with ``filters`` set in the order of their calls."""
    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation.set_chunk(chunks)
    if fill is not None:
        creation.set_fill_value(fill)
    filters(creation)
    kind = h5py.h5t.py_create(values.dtype, logical=True)
    space = h5py.h5s.create_simple(values.shape)
    return h5py.Dataset(h5py.h5d.create(file.id, f"x{next(numbers)}".encode(), kind, space, creation))


def encode_into(
    target: h5py.Dataset, values: np.ndarray, coder: str = ""
) -> dict[tuple[int, ...], tuple[int, bytes]]:
    """Let parnwb encode ``values`` and put every chunk into ``target``; return what was put."""
    spec = replace(read_spec(target), coder=coder)
    whole, pipeline = Hyperslab.whole(spec.shape), open_pipeline(spec)
    put = {}
    for index, chunk in ChunkAssembler(spec).assemble(whole, [(whole, values)]):
        put[spec.grid.cell(index).start] = pipeline.encode(chunk)
    for start, (mask, data) in put.items():  # after all: the bytes of one must outlive the next
        target.id.write_direct_chunk(start, bytes(data), filter_mask=mask)
        put[start] = (mask, bytes(data))
    target.flush()
    return put


def values_of(dtype: str, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Bytes at random, half of them small numbers, so that filters have something to do."""
    random = np.random.default_rng(seed)
    total = int(np.prod(shape))
    if dtype == "|b1":
        return random.integers(0, 2, shape).astype(bool)
    small = random.integers(0, 9, total).astype(dtype)
    wild = np.frombuffer(random.bytes(total * small.itemsize), dtype)
    return np.where(np.arange(total) % 50 < 25, small, wild).astype(dtype).reshape(shape)


def assert_same_elements(found: np.ndarray, expected: np.ndarray) -> None:
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    assert found.tobytes() == expected.tobytes()  # to the bit: not-a-numbers too


# -- parnwb's own filters ------------------------------------------------------------------------------------


def own(shuffle: bool, level: int | None, checksum: bool) -> Callable[[Any], None]:
    def set_filters(creation: Any) -> None:
        if shuffle:
            creation.set_shuffle()
        if level is not None:
            creation.set_deflate(level)
        if checksum:
            creation.set_fletcher32()

    return set_filters


@st.composite
def cases(draw: st.DrawFn) -> dict[str, Any]:
    ndim = draw(st.integers(1, 4))
    shape = tuple(draw(st.integers(1, 30 if ndim < 3 else 6)) for _ in range(ndim))
    dtype = draw(st.sampled_from(DTYPES))
    return {
        "values": values_of(dtype, shape, draw(st.integers(0, 999))),
        "chunks": tuple(draw(st.integers(1, n)) for n in shape),
        "fill": np.array(draw(st.integers(0, 1)), dtype) if draw(st.booleans()) else None,
    }


@given(
    cases(),
    st.booleans(),
    st.one_of(st.none(), st.integers(0, 9)),
    st.booleans(),
    st.sampled_from(["", "isal-1", "libdeflate-4", "zlib-4"]),
)
@quickly
def test_hdf5_reads_what_parnwb_encodes(file, case, shuffle, level, checksum, coder):
    filters = own(shuffle, level, checksum)
    target = create(file, case["values"], case["chunks"], filters, fill=case["fill"])
    encode_into(target, case["values"], coder if level is not None else "")
    assert_same_elements(target[...], case["values"])


@given(cases(), st.booleans(), st.booleans())
@quickly
def test_stored_bytes_are_hdf5s_without_deflate(file, case, shuffle, checksum):
    """Padding included: the part of a chunk beyond the dataset holds the fill value, as HDF5 stores it."""
    values, filters = case["values"], own(shuffle, None, checksum)
    oracle = create(file, values, case["chunks"], filters, fill=case["fill"])
    oracle[...] = values
    oracle.flush()
    target = create(file, values, case["chunks"], filters, fill=case["fill"])
    for start, found in encode_into(target, values).items():
        assert found == oracle.id.read_direct_chunk(start)


@given(cases(), st.booleans())
@quickly
def test_streams_hold_what_hdf5s_hold(file, case, shuffle):
    values, filters = case["values"], own(shuffle, 4, False)
    oracle = create(file, values, case["chunks"], filters, fill=case["fill"])
    oracle[...] = values
    oracle.flush()
    target = create(file, values, case["chunks"], filters, fill=case["fill"])
    for start, (mask, data) in encode_into(target, values, "libdeflate-1").items():
        expected_mask, stream = oracle.id.read_direct_chunk(start)
        # HDF5 keeps a chunk that does not shrink as it is and says so in the mask; parnwb never skips.
        expected = stream if expected_mask else zlib.decompress(stream)
        assert mask == 0
        assert zlib.decompress(data) == expected or expected_mask


@pytest.mark.parametrize("level", range(10))
@pytest.mark.parametrize("shuffle", [False, True])
def test_gzip_at_every_level(file, level, shuffle):
    values = values_of("<i2", (333, 7))
    target = create(file, values, (100, 4), own(shuffle, level, True))
    encode_into(target, values)
    assert_same_elements(target[...], values)
    assert read_spec(target).filters[int(shuffle)].options == (level,)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [1, 3, 255, 257])
def test_checksum_is_checked_by_hdf5(file, dtype, length):
    """A wrong byte is found on reading, so the right ones have been compared."""
    values = values_of(dtype, (length,))
    target = create(file, values, (length,), own(True, 1, True))
    ((mask, data),) = encode_into(target, values).values()
    assert_same_elements(target[...], values)
    broken = bytes([*data[:-5], data[-5] ^ 1, *data[-4:]])
    target.id.write_direct_chunk((0,), broken, filter_mask=mask)
    with pytest.raises(OSError):
        target[...]


# -- which pipeline ------------------------------------------------------------------------------------------


def spec_with(*filters: FilterSpec) -> DatasetSpec:
    return DatasetSpec("/acquisition/x", (8,), (8,), "<i2", (4,), filters)


SHUFFLE, DEFLATE, FLETCHER = (
    FilterSpec(2, (2,), "shuffle"),
    FilterSpec(1, (4,), "deflate"),
    FilterSpec(3, (), "f"),
)


@pytest.mark.parametrize(
    ("filters", "kind"),
    [
        ((), Unfiltered),
        ((SHUFFLE,), OwnFilters),
        ((DEFLATE,), OwnFilters),
        ((FLETCHER,), OwnFilters),
        ((SHUFFLE, DEFLATE, FLETCHER), OwnFilters),
        ((SHUFFLE, FLETCHER), OwnFilters),
        ((DEFLATE, SHUFFLE), NativeFilters),
        ((FLETCHER, DEFLATE), NativeFilters),
        ((DEFLATE, DEFLATE), NativeFilters),
        ((SHUFFLE, SHUFFLE, DEFLATE), NativeFilters),
        ((FilterSpec(32000, (), "lzf"),), NativeFilters),
    ],
)
def test_own_filters_in_their_usual_order_only(filters, kind):
    assert type(open_pipeline(spec_with(*filters))) is kind


@pytest.mark.parametrize("before", [(), (SHUFFLE,), (SHUFFLE, DEFLATE)])
def test_unknown_filter_is_refused_by_name(before):
    with pytest.raises(CodecError, match=r"filter 40404 \(nosuch\) cannot be applied") as caught:
        open_pipeline(spec_with(*before, FilterSpec(40404, (1,), "nosuch")))
    assert caught.value.where == "/acquisition/x"
    assert "plugin" in str(caught.value)


def test_unknown_filter_without_a_name():
    with pytest.raises(CodecError, match=r"filter 40404 \(no name\)"):
        open_pipeline(spec_with(FilterSpec(40404, (), "")))


def test_unknown_coder_is_refused():
    with pytest.raises(CodecError, match="'zstd-1'"):
        open_pipeline(replace(spec_with(DEFLATE), coder="zstd-1"))


@pytest.mark.parametrize("dtype", DTYPES)
def test_unfiltered_bytes_are_the_chunks_own(dtype):
    chunk = np.arange(12).reshape(3, 4).astype(dtype)
    mask, data = open_pipeline(spec_with()).encode(chunk)
    assert (mask, bytes(data), len(data)) == (0, chunk.tobytes(), chunk.nbytes)
    assert np.shares_memory(np.frombuffer(data, np.uint8), chunk)
    assert bytes(open_pipeline(spec_with()).encode(chunk[:, :2])[1]) == chunk[:, :2].tobytes()
