"""The deflate programs: every stream is read by plain zlib, and wrong names are refused."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parnwb.codec.deflate import coder
from parnwb.errors import CodecError

NAMES = [
    *(f"zlib-{n}" for n in range(10)),
    *(f"isal-{n}" for n in range(4)),
    *(f"libdeflate-{n}" for n in range(1, 10)),
    *(f"zlibng-{n}" for n in range(2, 10)),
    "huffman-1",
]


@pytest.mark.parametrize("name", NAMES)
@given(st.binary(min_size=1, max_size=3000), st.integers(1, 30))
@settings(deadline=None, max_examples=15)
def test_plain_zlib_reads_every_stream(name, raw, times):
    data = np.frombuffer(raw * times, np.uint8)
    assert zlib.decompress(coder(name).compress(data)) == raw * times


@pytest.mark.parametrize("name", NAMES)
def test_kinds_of_megabytes(name):
    random = np.random.default_rng(1)
    for data in (np.zeros(2**20, np.uint8), random.integers(0, 256, 2**20).astype(np.uint8)):
        stream = coder(name).compress(data)
        assert zlib.decompress(stream) == data.tobytes()
        # isal-0 codes bytes that cannot be compressed all the same; parnwb never chooses it.
        assert len(stream) <= data.size * (1.25 if name == "isal-0" else 1.01) + 100


@pytest.mark.parametrize("name", NAMES)
def test_streams_are_deterministic_and_stay(name):
    """The bytes of one chunk are still there when the next has been encoded."""
    random = np.random.default_rng(2)
    one, other = (random.integers(0, 9, 5000).astype(np.uint8) for _ in range(2))
    first = coder(name).compress(one)
    kept = bytes(first)
    coder(name).compress(other)
    assert bytes(first) == kept == bytes(coder(name).compress(one))


@pytest.mark.parametrize("name", NAMES)
def test_level_is_the_names(name):
    assert coder(name).name == name
    assert coder(name).level == int(name[-1])
    assert coder(name) is coder(name)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "zlib",
        "zlib-",
        "zlib-10",
        "zlib--1",
        "zlib-x",
        "isal-4",
        "libdeflate-0",
        "libdeflate-12",
        "zlibng-1",
        "huffman-2",
        "zstd-1",
        "-4",
    ],
)
def test_wrong_names_are_refused(name):
    with pytest.raises(CodecError, match="deflate coder") as caught:
        coder(name)
    assert repr(name) in str(caught.value)
