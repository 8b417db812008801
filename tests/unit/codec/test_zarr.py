"""Codecs of Zarr: what numcodecs decodes, and what Zarr itself would have written."""

from __future__ import annotations

import numcodecs
import numpy as np
import pytest

from parnwb.codec import open_pipeline
from parnwb.codec.filters import DEFLATE, NUMCODECS, SHUFFLE
from parnwb.codec.zarr import codec_of, configuration_of, filters_of, in_deflate, in_words
from parnwb.errors import CodecError
from parnwb.layout import DatasetSpec, FilterSpec

CHUNK = (256, 16)
PIPELINES = {
    "blosc": [numcodecs.Blosc()],
    "blosc zstd": [numcodecs.Blosc(cname="zstd", clevel=3, shuffle=numcodecs.Blosc.BITSHUFFLE)],
    "zstd": [numcodecs.Zstd(level=2)],
    "gzip": [numcodecs.GZip(level=4)],
    "gzip, shuffled": [numcodecs.Shuffle(elementsize=2), numcodecs.GZip(level=1)],
    "zlib, shuffled": [numcodecs.Shuffle(elementsize=2), numcodecs.Zlib(level=1)],
    "other shuffle": [numcodecs.Shuffle(elementsize=4), numcodecs.Zlib(level=1)],
    "delta": [numcodecs.Delta(dtype="<i2"), numcodecs.LZ4()],
    "checksum": [numcodecs.Zlib(level=3), numcodecs.Fletcher32()],
    "delta alone": [numcodecs.Delta(dtype="<i2")],
}


def spec_of(codecs: list, coder: str = "") -> DatasetSpec:
    filters = filters_of([codec.get_config() for codec in codecs], 2)
    return DatasetSpec("/x", (1000, 16), (1000, 16), "<i2", CHUNK, filters, coder=coder)


@pytest.fixture
def chunk() -> np.ndarray:
    return (np.random.default_rng(0).normal(size=CHUNK) * 30).astype("<i2")


@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize("coder", ["", "isal-1", "libdeflate-4", "zlibng-2"])
def test_numcodecs_decodes_it(name: str, coder: str, chunk: np.ndarray) -> None:
    codecs = PIPELINES[name]
    mask, data = open_pipeline(spec_of(codecs, coder)).encode(chunk)
    data = bytes(data)
    for codec in reversed(codecs):
        data = codec.decode(data)
    assert mask == 0
    assert np.frombuffer(data, dtype="<i2").reshape(CHUNK).tolist() == chunk.tolist()


@pytest.mark.parametrize("name", PIPELINES)
def test_configurations_come_back(name: str) -> None:
    spec = spec_of(PIPELINES[name])
    assert [codec_of(item) for item in spec.filters] == PIPELINES[name]
    assert [configuration_of(item)["id"] for item in spec.filters] == [codec.codec_id for codec in PIPELINES[name]]


def test_what_both_formats_have_is_as_hdf5_has_it() -> None:
    assert [item.identifier for item in spec_of(PIPELINES["zlib, shuffled"]).filters] == [SHUFFLE, DEFLATE]
    assert [item.identifier for item in spec_of(PIPELINES["other shuffle"]).filters] == [NUMCODECS, DEFLATE]
    assert in_deflate(spec_of(PIPELINES["gzip, shuffled"])).filters[-1] == FilterSpec(DEFLATE, (1,), "deflate")
    own_level = (FilterSpec(DEFLATE, (6,), "deflate"),)
    assert spec_of([numcodecs.Zlib(level=-1)]).filters == own_level, "zlib's own, which HDF5 has as a number only"
    assert in_deflate(spec_of([numcodecs.GZip(level=-1)])).filters == own_level
    assert in_deflate(spec_of(PIPELINES["zstd"])) is None and in_deflate(spec_of([])) is None
    assert in_words(spec_of(PIPELINES["blosc"]).filters[0]) == "blosc-lz4-5"


def test_unknown_codecs_are_told() -> None:
    with pytest.raises(CodecError, match="'magic' is not installed"):
        codec_of(FilterSpec(NUMCODECS, (), '{"id": "magic"}'))
    with pytest.raises(CodecError, match="not one of Zarr's"):
        codec_of(FilterSpec(32000, (), "lzf"))
