"""Shuffle and fletcher32 against what HDF5 itself stores."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parnwb.codec.filters import DEFLATE, FLETCHER32, SHUFFLE, fletcher32, shuffle

quickly = settings(deadline=None, max_examples=60)


def stored(values: np.ndarray, **filters: object) -> bytes:
    """Return the bytes that HDF5 stores for one chunk."""
    with h5py.File("oracle", "w", driver="core", backing_store=False) as file:
        dataset = file.create_dataset("x", data=values, chunks=values.shape, **filters)
        dataset.flush()
        return dataset.id.read_direct_chunk((0,) * values.ndim)[1]


def test_numbers_are_hdf5s():
    assert (DEFLATE, SHUFFLE, FLETCHER32) == (
        h5py.h5z.FILTER_DEFLATE,
        h5py.h5z.FILTER_SHUFFLE,
        h5py.h5z.FILTER_FLETCHER32,
    )


@given(st.integers(1, 50), st.sampled_from([1, 2, 3, 4, 7, 8, 16]), st.data())
@quickly
def test_shuffle_is_first_bytes_first(count, itemsize, data):
    raw = data.draw(st.binary(min_size=count * itemsize, max_size=count * itemsize))
    out = np.empty(len(raw), dtype=np.uint8)
    assert shuffle(np.frombuffer(raw, np.uint8), itemsize, out) is out
    assert out.tobytes() == b"".join(raw[byte::itemsize] for byte in range(itemsize))


@pytest.mark.parametrize("dtype", ["|u1", "<i2", ">i4", "<f8"])
@given(st.binary(min_size=8, max_size=400))
@quickly
def test_shuffle_is_hdf5s(dtype, raw):
    values = np.frombuffer(raw[: len(raw) // 8 * 8], dtype=dtype)
    data = values.view(np.uint8)
    assert shuffle(data, values.itemsize, np.empty_like(data)).tobytes() == stored(values, shuffle=True)


@given(st.binary(min_size=1, max_size=1500))
@quickly
def test_fletcher32_is_hdf5s_for_even_and_odd_lengths(raw):
    values = np.frombuffer(raw, np.uint8)
    assert raw + fletcher32(values) == stored(values, fletcher32=True)
    assert fletcher32(raw) == fletcher32(bytearray(raw)) == fletcher32(values)


@pytest.mark.parametrize("byte", [0, 1, 254, 255])
@pytest.mark.parametrize("length", [1, 2, 359, 360, 719, 720, 721, 722, 65_535, 1_000_001])
def test_fletcher32_of_extreme_bytes(byte, length):
    """Sums that carry, and lengths around the 360 words after which HDF5 reduces them."""
    values = np.full(length, byte, dtype=np.uint8)
    assert fletcher32(values) == stored(values, fletcher32=True)[-4:]
