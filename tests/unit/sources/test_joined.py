"""Rows of two sources as one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parnwb.hyperslab import Hyperslab
from parnwb.sources import read_pieces
from parnwb.sources.array import ArraySource, CastSource
from parnwb.sources.joined import JoinedSource


@given(st.integers(0, 6), st.integers(1, 6), st.data())
def test_every_box_is_that_of_both_together(before: int, after: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, before))
    old, new = np.arange(before * 3).reshape(-1, 3), -np.arange(after * 3).reshape(-1, 3)
    inner = ArraySource(new)
    # One that reads in pieces, and one that does not.
    inner = CastSource(inner, new.dtype) if data.draw(st.booleans()) else inner
    source = JoinedSource(ArraySource(old), first, inner)
    whole = np.concatenate([old[first:], new])
    assert source.shape == whole.shape and source.access is inner.access
    start = tuple(data.draw(st.integers(0, n - 1)) for n in whole.shape)
    slab = Hyperslab(start, tuple(data.draw(st.integers(1, n - a)) for n, a in zip(whole.shape, start, strict=True)))
    assert np.array_equal(source.read(slab), whole[slab.slices])
    pieces = list(read_pieces(source, slab, "/x"))
    assert sum(part.size for part, _ in pieces) == slab.size
    assert all(np.array_equal(values, whole[part.slices]) for part, values in pieces)


@pytest.mark.parametrize(("new", "dtype"), [([300, -3], "i8"), ([1.9, -0.5], "f4"), ([7, 8], ">u1")])
def test_new_rows_become_what_hdf5_makes_of_them(new: list[float], dtype: str) -> None:
    source = JoinedSource(ArraySource(np.array([5], dtype="u1")), 0, ArraySource(np.array(new, dtype=dtype)))
    found = source.read(Hyperslab((0,), (3,)))
    assert found.dtype == source.dtype == np.dtype("u1")
    assert found.tolist() == [5, *(max(0, min(255, int(value))) for value in new)]
