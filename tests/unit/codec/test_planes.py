"""Deflate by planes: plain zlib reads every stream, on all kinds of planes, and sizes are as promised."""

from __future__ import annotations

import threading
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parnwb.codec import planes
from parnwb.codec.filters import row_length, shuffle
from parnwb.codec.planes import PlaneDeflate
from parnwb.errors import CodecError

BLOCK = 1 << 17  # as in planes.c
pytestmark = pytest.mark.skipif(not planes.available(), reason="planes.c was not compiled: there was no C compiler")


def two_valued(random, size):
    return (random.random(size) < 0.5).astype(np.uint8) * 255


def skewed_with_strangers(random, size):
    """Mostly two values, one of them rare, and now and then another."""
    return ((random.random(size) < 0.1) * 7 + (random.random(size) < 0.005) * 3).astype(np.uint8)


def noise_where_it_is_not_counted(random, size):
    """Bytes by which planes.c guesses codes have few values; codes for all others would be longer than bytes."""
    counted = np.arange(size) % 127 < 32
    return np.where(counted, random.integers(0, 40, size), random.integers(0, 256, size)).astype(np.uint8)


PLANES = {
    "noise": lambda random, size: random.integers(0, 256, size, dtype=np.uint8),
    "noise where it is not counted": noise_where_it_is_not_counted,
    "narrow noise": lambda random, size: np.abs(random.normal(0, 3, size)).astype(np.uint8),
    "one symbol that is rare": lambda random, size: (random.random(size) < 1e-4).astype(np.uint8),
    "two values": two_valued,
    "skewed, with strangers": skewed_with_strangers,
    "zeros": lambda random, size: np.zeros(size, np.uint8),
    "runs": lambda random, size: np.repeat(random.integers(0, 9, size // 50 + 1, dtype=np.uint8), 50)[:size],
    "rows that repeat": lambda random, size: np.resize(random.integers(0, 200, 64, dtype=np.uint8), size),
    "frequencies like Fibonacci's, whose codes are long": lambda random, size: np.minimum(
        random.geometric(0.382, size), 40
    ).astype(np.uint8),
}


def decoded(elements: np.ndarray, row: int) -> tuple[bytes, bytes, int]:
    """Return what zlib reads, what it should, and the length of the stream."""
    data = elements.reshape(-1).view(np.uint8)
    stream = PlaneDeflate(elements.itemsize, row).compress(data)
    return zlib.decompress(stream), shuffle(data, elements.itemsize, np.empty_like(data)).tobytes(), len(stream)


@pytest.mark.parametrize("kind", PLANES)
@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 1000, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 12345])
def test_zlib_reads_every_kind_of_plane(kind, size):
    plane = PLANES[kind](np.random.default_rng(size), size)
    for row in (1, 3, 64, 32768, 50_000):
        read, expected, length = decoded(plane, row)
        assert read == expected
        assert length <= size + 64 + size // 1000


@given(st.data())
@settings(deadline=None, max_examples=150)
def test_zlib_reads_whatever_was_put_together(data):
    """Planes whose kind changes on the way, of elements of any size."""
    itemsize = data.draw(st.sampled_from([1, 2, 3, 4, 8, 12]))
    random = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    kinds = data.draw(st.lists(st.sampled_from(sorted(PLANES)), min_size=1, max_size=4))
    sizes = [data.draw(st.integers(0, 70_000)) for _ in kinds]
    octets = np.concatenate([PLANES[kind](random, size) for kind, size in zip(kinds, sizes, strict=True)])
    elements = np.ascontiguousarray(octets[: octets.size // itemsize * itemsize]).view(f"V{itemsize}")
    read, expected, _ = decoded(elements, data.draw(st.integers(1, 40_000)))
    assert read == expected


@given(st.binary(max_size=400), st.integers(1, 40))
@settings(deadline=None, max_examples=100)
def test_zlib_reads_any_bytes(raw, times):
    read, expected, _ = decoded(np.frombuffer(raw * times, np.uint8), max(len(raw), 1))
    assert read == expected == raw * times


def test_signs_cost_less_than_with_codes_alone():
    """Those take a bit and a half for each, because the end of a block needs a code as well."""
    plane = two_valued(np.random.default_rng(0), 2**20)
    assert decoded(plane, 64)[2] * 8 / plane.size < 1.31


def test_noise_is_stored_beside_planes_that_are_not():
    values = np.random.default_rng(0).integers(0, 2**16, 2**18).astype("<u4")  # two planes of noise and two of zeros
    assert decoded(values, 1)[2] < 1.005 * values.size * 2


def test_repetitions_of_a_row_before():
    values = np.tile(np.random.default_rng(0).integers(0, 2**16, (1, 384)), (500, 1)).astype("<u2")
    assert decoded(values, 384)[2] < 0.02 * values.nbytes


def test_low_count_electrophysiology_is_no_larger_than_by_zlib():
    """What pynwb writes at level 4, without shuffle, where it is smaller than with it."""
    random = np.random.default_rng(3)
    white = random.normal(0, 5, (40_002, 64))
    values = (white[:-2] + white[1:-1] + white[2:]).astype("<i2")
    plain = len(zlib.compress(values.tobytes(), 4))
    assert decoded(values, 64)[2] < 1.0 * plain


def test_streams_stay_and_memory_is_used_again():
    one, other = (np.random.default_rng(n).integers(0, 9, 5000 + n).astype(np.uint8) for n in range(2))
    deflater = PlaneDeflate(1, 1)
    first = deflater.compress(one)
    kept = bytes(first)
    deflater.compress(other)
    assert first == kept == deflater.compress(one)


def test_threads_do_not_disturb_each_other():
    values = [np.random.default_rng(n).normal(0, 9, 200_000).astype("<i2") for n in range(4)]
    found: dict[int, bool] = {}

    def work(n):
        read, expected, _ = decoded(values[n], 64)
        found[n] = read == expected

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == dict.fromkeys(range(4), True)


def test_rows_are_within_reach():
    assert row_length((5000, 64)) == 64
    assert row_length((10, 512, 512)) == 512
    assert row_length((7,)) == 1


def test_a_host_without_it_says_so(monkeypatch):
    monkeypatch.setattr(planes, "_library", lambda: None)
    with pytest.raises(CodecError, match="not compiled .* on this host"):
        PlaneDeflate(2, 64)
