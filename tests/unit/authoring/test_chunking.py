"""Chunks that are chosen: of a recommended size, few channels or whole frames, and never too many."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parnwb.authoring.chunking import LEAST_BYTES, MOST_BYTES, MOST_CHUNKS, auto_chunks


@pytest.mark.parametrize(
    ("shape", "itemsize", "expected"),
    [
        ((10_000_000, 384), 2, (31_250, 64)),
        ((10_000_000, 385), 2, (36_363, 55)),
        ((10_000_000, 32), 2, (62_500, 32)),
        ((1_000, 8), 2, (1_000, 8)),
        ((10_000, 512, 512), 2, (7, 512, 512)),
        ((100, 4096, 4096), 2, (1, 1366, 4096)),
        ((100, 2, 7_000_000), 2, (1, 1, 7_000_000)),
        ((50_000_000,), 8, (500_000,)),
        ((1,), 8, (1,)),
        ((0, 4), 2, (1024, 4)),
    ],
)
def test_known_shapes(shape: tuple[int, ...], itemsize: int, expected: tuple[int, ...]) -> None:
    assert auto_chunks(shape, itemsize) == expected


def count(shape: tuple[int, ...], chunks: tuple[int, ...]) -> int:
    return math.prod(-(-n // c) for n, c in zip(shape, chunks, strict=True))


def test_ten_terabytes_are_few_large_chunks() -> None:
    shape = (10**13 // 768, 384)
    chunks = auto_chunks(shape, 2)
    assert 0.9 * MOST_BYTES < math.prod(chunks) * 2 <= MOST_BYTES
    assert count(shape, chunks) < 700_000
    smaller = (10**12 // 768, 384)
    assert count(smaller, auto_chunks(smaller, 2)) <= MOST_CHUNKS * 1.01


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=4), st.sampled_from([1, 2, 4, 8]))
def test_all_fit_the_shape_and_the_recommendation(shape: list[int], itemsize: int) -> None:
    chunks = auto_chunks(tuple(shape), itemsize)
    assert len(chunks) == len(shape) and all(1 <= c <= n for c, n in zip(chunks, shape, strict=True))
    nbytes = math.prod(chunks) * itemsize
    assert nbytes <= MOST_BYTES
    if chunks[0] < shape[0] and len(shape) == 2:
        assert nbytes > LEAST_BYTES / 2
