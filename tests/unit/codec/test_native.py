"""All other filters, by HDF5 itself: the same bytes and masks that it stores in the real file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
import pytest
from h5py import h5d, h5p, h5s, h5t, h5z

from parnwb.codec import ChunkAssembler, open_pipeline
from parnwb.codec.native import NativeFilters, check_encodable
from parnwb.errors import CodecError
from parnwb.hyperslab import Hyperslab
from parnwb.layout import DatasetSpec, FilterSpec
from parnwb.sources.raw_chunks import read_spec

SHAPE, CHUNKS = (330, 5), (96, 4)


def can_encode(number: int) -> bool:
    return h5z.filter_avail(number) and bool(h5z.get_filter_info(number) & h5z.FILTER_CONFIG_ENCODE_ENABLED)


def lzf(creation: Any) -> None:
    creation.set_filter(h5z.FILTER_LZF, h5z.FLAG_OPTIONAL, ())


def nbit(creation: Any) -> None:
    creation.set_filter(h5z.FILTER_NBIT, h5z.FLAG_OPTIONAL, ())


def deflate_again(creation: Any) -> None:
    creation.set_filter(h5z.FILTER_DEFLATE, h5z.FLAG_OPTIONAL, (1,))


# Name: dtype, and the filters in the order of their calls.
PIPELINES: dict[str, tuple[str, list[Any]]] = {
    "lzf": ("<i2", [lzf]),
    "shuffle, lzf": ("<f4", [lambda c: c.set_shuffle(), lzf]),
    "shuffle, lzf, fletcher32": (">i4", [lambda c: c.set_shuffle(), lzf, lambda c: c.set_fletcher32()]),
    "gzip before shuffle": ("<i2", [lambda c: c.set_deflate(4), lambda c: c.set_shuffle()]),
    "fletcher32 before gzip": ("<i2", [lambda c: c.set_fletcher32(), lambda c: c.set_deflate(4)]),
    "fletcher32 first and last": ("<i2", [lambda c: c.set_fletcher32()] * 2),
    "gzip twice": ("<i2", [lambda c: c.set_deflate(9), deflate_again]),
    "scale-offset of integers": ("<i2", [lambda c: c.set_scaleoffset(h5z.SO_INT, 0)]),
    "scale-offset of big-endian integers": (">u4", [lambda c: c.set_scaleoffset(h5z.SO_INT, 0)]),
    "scale-offset, gzip": ("<i4", [lambda c: c.set_scaleoffset(h5z.SO_INT, 0), lambda c: c.set_deflate(4)]),
    "scale-offset to three decimals": ("<f4", [lambda c: c.set_scaleoffset(h5z.SO_FLOAT_DSCALE, 3)]),
    "n-bit": ("<i2", [nbit]),
    "n-bit of big-endian doubles": (">f8", [nbit]),
    "szip": ("<i2", [lambda c: c.set_szip(h5z.SZIP_NN_OPTION_MASK, 8)]),
    "szip of floats": ("<f4", [lambda c: c.set_szip(h5z.SZIP_EC_OPTION_MASK, 16)]),
}


@pytest.fixture
def file() -> Iterator[h5py.File]:
    with h5py.File("oracle", "w", driver="core", backing_store=False) as opened:
        yield opened


def values_of(dtype: str) -> np.ndarray:
    """Quiet rows, wild rows and constant ones: some chunks shrink and some do not."""
    random = np.random.default_rng(0)
    values = random.integers(0, 30, SHAPE).astype("<f8")
    values[96:192] = random.integers(0, 30_000, (96, SHAPE[1]))
    values[288:] = 7
    return (values / 8 if np.dtype(dtype).kind == "f" else values).astype(dtype)


def create(
    file: h5py.File, name: str, kind: Any, filters: list[Any], fill: np.ndarray | None
) -> h5py.Dataset:
    creation = h5p.create(h5p.DATASET_CREATE)
    creation.set_chunk(CHUNKS)
    if fill is not None:
        creation.set_fill_value(fill)
    for set_filter in filters:
        set_filter(creation)
    return h5py.Dataset(h5d.create(file.id, name.encode(), kind, h5s.create_simple(SHAPE), creation))


@pytest.mark.parametrize("fill", [None, 5])
@pytest.mark.parametrize("name", PIPELINES)
def test_bytes_and_masks_are_hdf5s(file, name, fill):
    if "szip" in name and not can_encode(h5z.FILTER_SZIP):
        pytest.skip("this HDF5 cannot encode szip")
    dtype, filters = PIPELINES[name]
    values = values_of(dtype)
    fill = None if fill is None else np.array(fill, dtype)
    kind = h5t.py_create(np.dtype(dtype), logical=True)
    oracle, target = (create(file, n, kind, filters, fill) for n in ("oracle", "target"))
    oracle[...] = values
    oracle.flush()
    spec = read_spec(target)
    whole, pipeline = Hyperslab.whole(spec.shape), open_pipeline(spec)
    assert isinstance(pipeline, NativeFilters)
    for index, chunk in ChunkAssembler(spec).assemble(whole, [(whole, values)]):
        cell = spec.grid.cell(index)
        mask, data = pipeline.encode(chunk)
        assert (mask, bytes(data)) == oracle.id.read_direct_chunk(cell.start)
        target.id.write_direct_chunk(cell.start, bytes(data), filter_mask=mask)
    np.testing.assert_array_equal(target[...], oracle[...])


def test_lzf_skips_what_does_not_shrink():
    spec = DatasetSpec("/x", (1000,), (1000,), "|u1", (1000,), (FilterSpec(h5z.FILTER_LZF, (), "lzf"),))
    pipeline = open_pipeline(spec)
    assert pipeline.encode(np.zeros(1000, np.uint8))[0] == 0
    wild = np.random.default_rng(0).integers(0, 256, 1000).astype(np.uint8)
    assert pipeline.encode(wild) == (1, wild.tobytes())


def test_bytes_outlive_the_next_chunk():
    spec = DatasetSpec("/x", (100,), (100,), "<i2", (100,), (FilterSpec(h5z.FILTER_LZF, (), "lzf"),))
    pipeline = open_pipeline(spec)
    _, first = pipeline.encode(np.zeros(100, "<i2"))
    kept = bytes(first)
    pipeline.encode(np.arange(100, dtype="<i2"))
    assert bytes(first) == kept


def test_several_pipelines_live_side_by_side():
    """Each has a private file; two of one process must not share it."""
    specs = [
        DatasetSpec("/x", (9,), (9,), dtype, (9,), (FilterSpec(h5z.FILTER_LZF, (), "lzf"),))
        for dtype in ("<i2", "<f8")
    ]
    pipelines = [open_pipeline(spec) for spec in specs]
    sizes = [len(p.encode(np.ones(9, s.dtype))[1]) for p, s in zip(pipelines, specs, strict=True)]
    assert sizes[0] < sizes[1] or sizes == sorted(sizes)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_usual_filters_are_encodable(number):
    check_encodable(number, "", "/x")


def test_filter_that_only_decodes_is_refused(monkeypatch):
    """Some builds have szip for reading alone."""
    monkeypatch.setattr(h5z, "get_filter_info", lambda number: h5z.FILTER_CONFIG_DECODE_ENABLED)
    with pytest.raises(
        CodecError, match=r"filter 4 \(szip\) cannot be applied by this build of HDF5 \d"
    ) as caught:
        check_encodable(4, "szip", "/units/waveforms")
    assert caught.value.where == "/units/waveforms"
