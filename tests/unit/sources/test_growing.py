"""Blocks that streams take, and those that would lose something."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

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


def test_rows_of_uneven_length_are_refused() -> None:
    with pytest.raises(SourceError, match="a block must be an array"):
        Stream("f8", (2,)).checked([[1, 2], [3]], "/x")


@pytest.mark.parametrize("row_shape", [(2.5,), 3, (0,), ("2",)])
def test_row_shapes_that_are_none_are_refused(row_shape: Any) -> None:
    with pytest.raises(SourceError, match="row_shape must be a tuple of positive integers"):
        Stream("f8", row_shape)
