"""Chunks that are chosen: of a recommended size, few channels or whole frames, and never too many."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parnwb.authoring.chunking import LEAST_OF_WIDE_BYTES, MOST_BYTES, MOST_CHUNKS, MOST_OF_LAYERS, auto_chunks
from parnwb.planning.plan import DEFAULT_BUFFER_MB, MiB


@pytest.mark.parametrize(
    ("shape", "itemsize", "expected"),
    [
        ((10_000_000, 384), 2, (31_250, 64)),
        ((10_000_000, 385), 2, (36_363, 55)),
        ((10_000_000, 32), 2, (62_500, 32)),
        ((10_000_000, 1536), 2, (21_845, 64)),
        ((10_000_000, 4096), 2, (15_625, 64)),
        ((1_000, 8), 2, (1_000, 8)),
        ((10_000, 512, 512), 2, (7, 512, 512)),
        ((100, 4096, 4096), 2, (1, 1366, 4096)),
        ((100, 2, 7_000_000), 2, (1, 1, 7_000_000)),
        ((50_000_000,), 8, (500_000,)),
        ((1,), 8, (1,)),
        ((0, 4), 2, (1024, 4)),
        ((384, 10_000_000), 2, (384, 5206)),
        ((100, 100_000), 8, (100, 5000)),
        ((2000, 30_000), 4, (2000, 500)),
    ],
)
def test_known_shapes(shape: tuple[int, ...], itemsize: int, expected: tuple[int, ...]) -> None:
    assert auto_chunks(shape, itemsize) == expected


def count(shape: tuple[int, ...], chunks: tuple[int, ...]) -> int:
    return math.prod(-(-n // c) for n, c in zip(shape, chunks, strict=True))


def layers(shape: tuple[int, ...], itemsize: int = 2) -> tuple[int, int]:
    """Return the bytes of a chunk, and those of a layer of them, which is all channels."""
    chunks = auto_chunks(shape, itemsize)
    nbytes = math.prod(chunks) * itemsize
    return nbytes, nbytes * -(-shape[1] // chunks[1])


def test_ten_terabytes_are_few_large_chunks() -> None:
    shape = (10**13 // 768, 384)
    chunk, layer = layers(shape)
    assert 11e6 < chunk and layer <= DEFAULT_BUFFER_MB * MiB
    assert count(shape, auto_chunks(shape, 2)) < MOST_OF_LAYERS
    smaller = (10**12 // 768, 384)
    assert count(smaller, auto_chunks(smaller, 2)) <= MOST_CHUNKS * 1.01


def test_a_root_can_place_those_of_wide_data_although_no_buffer_has_a_layer() -> None:
    shape = (10**13 // 3072, 1536)
    assert 0.99 * MOST_OF_LAYERS < count(shape, auto_chunks(shape, 2)) <= 1.01 * MOST_OF_LAYERS
    narrow = (10**14 // 128, 64)
    assert 0.9 * MOST_BYTES < layers(narrow)[0] <= MOST_BYTES


@given(st.integers(1, 10**8), st.integers(1, 2000), st.sampled_from([1, 2, 4, 8]))
def test_a_buffer_has_a_layer(rows: int, channels: int, itemsize: int) -> None:
    chunk, layer = layers((rows, channels), itemsize)
    assert layer <= DEFAULT_BUFFER_MB * MiB or chunk * MOST_OF_LAYERS <= 1.01 * rows * channels * itemsize


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=4), st.sampled_from([1, 2, 4, 8]))
def test_all_fit_the_shape_and_the_recommendation(shape: list[int], itemsize: int) -> None:
    chunks = auto_chunks(tuple(shape), itemsize)
    assert len(chunks) == len(shape) and all(1 <= c <= n for c, n in zip(chunks, shape, strict=True))
    nbytes = math.prod(chunks) * itemsize
    assert nbytes <= MOST_BYTES
    if chunks[0] < shape[0] and len(shape) == 2:
        assert nbytes > LEAST_OF_WIDE_BYTES * 0.99
