"""Blocks that streams take, and those that would lose something."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from parnwb import Stream
from parnwb.errors import SourceError


@pytest.mark.parametrize(
    ("dtype", "block"),
    [
        ("i2", [1, -2]),
        ("u1", [255, 0]),
        ("u8", [2**64 - 1]),
        ("i2", [np.int64(7)]),
        ("i2", [2.0, 3.0]),
        ("f4", [1, 2.5]),
        ("f8", [np.nan]),
        ("?", [True, False]),
        ("i2", []),
    ],
)
def test_lists_whose_values_fit(dtype: str, block: list[Any]) -> None:
    found = Stream(dtype).checked(block, "/x")
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, np.array(block, dtype=dtype))


@pytest.mark.parametrize(
    ("dtype", "block"),
    [
        ("i2", [1.7, 2.2]),
        ("i2", [np.nan]),
        ("i1", [300]),
        ("i1", [np.int64(300)]),
        ("i1", [np.array(300)]),
        ("u1", [-1]),
        ("?", [2, 0]),
        ("f8", ["1"]),
        ("f8", [None]),
    ],
)
def test_lists_whose_values_would_change_are_refused(dtype: str, block: list[Any]) -> None:
    with pytest.raises(SourceError, match="a block must have the stream's dtype"):
        Stream(dtype).checked(block, "/x")


WIDE = [2**53 + 1, 2**63 - 1, 2**64 - 1, -(2**53) - 1]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("value", WIDE)
def test_whole_numbers_that_a_float_has_not_are_refused(dtype: str, value: int) -> None:
    """Numpy calls the cast safe, and rounds."""
    for block in ([value], np.array([value])):
        with pytest.raises(SourceError, match=f"{value} .*is none of float|a block must have the stream's dtype"):
            Stream(dtype).checked(block, "/x")


@given(
    st.sampled_from(["i2", "u8", "f4", "f8", "?"]),
    st.one_of(stn.arrays(stn.integer_dtypes(), 4), stn.arrays(stn.floating_dtypes(), 4), st.lists(st.integers())),
)
@settings(deadline=None, max_examples=150)
def test_what_is_taken_keeps_its_values(dtype: str, block: Any) -> None:
    try:
        found = Stream(dtype).checked(block, "/x")
    except SourceError:
        return
    held = found.astype(dtype)
    for given_value, value in zip(block, held, strict=True):
        assert value == given_value and type(given_value)(value) == given_value or np.isnan(given_value)


def test_a_float_of_a_list_that_becomes_infinite_is_refused() -> None:
    assert Stream("f4").checked([0.1, np.inf], "/x").tolist() == [np.float32(0.1), np.inf]
    with pytest.raises(SourceError, match="dtype float32, got float64"):
        Stream("f4").checked([1e300], "/x")


def test_rows_of_uneven_length_are_refused() -> None:
    with pytest.raises(SourceError, match="a block must be an array"):
        Stream("f8", (2,)).checked([[1, 2], [3]], "/x")


@pytest.mark.parametrize("row_shape", [(2.5,), 3, (0,), ("2",)])
def test_row_shapes_that_are_none_are_refused(row_shape: Any) -> None:
    with pytest.raises(SourceError, match="row_shape must be a tuple of positive integers"):
        Stream("f8", row_shape)


@pytest.mark.parametrize("chunks", ["abc", (-1,), 3, (0,), (2.5,), True, (3, 3), ()])
def test_chunks_that_are_none_are_refused(chunks: Any) -> None:
    with pytest.raises(SourceError, match="chunks must"):
        Stream("f8", chunks=chunks)


@pytest.mark.parametrize("dtype", [None, "nothing", object, "S5", "c16", "i4,f8", {}, [1]])
def test_dtypes_that_are_none_are_refused(dtype: Any) -> None:
    with pytest.raises(SourceError, match="a stream holds numbers or booleans, got dtype"):
        Stream(dtype)
