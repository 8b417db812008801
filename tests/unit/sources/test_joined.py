"""Rows of two sources as one."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parnwb.errors import SourceError
from parnwb.hyperslab import Hyperslab
from parnwb.sources import file_ranges, read_beside, read_pieces, reads_whole_rows
from parnwb.sources.array import ArraySource, CastSource
from parnwb.sources.binary import BinarySource
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


@pytest.mark.parametrize(
    ("new", "dtype", "first"), [([300, -3], "i8", "300"), ([0.0, 1.9], "f4", "1.8"), ([7, -1], ">i2", "-1")]
)
def test_new_rows_that_the_dataset_has_not_are_refused(new: list[float], dtype: str, first: str) -> None:
    """HDF5 would clamp them, and cut off fractions."""
    source = JoinedSource(ArraySource(np.array([5], dtype="u1")), 0, ArraySource(np.array(new, dtype=dtype)))
    place = int(new[0] in (0.0, 7))
    with pytest.raises(SourceError, match=rf"{first}.* at \({place},\) is none of uint8"):
        source.read(Hyperslab((0,), (3,)))


@pytest.mark.parametrize("dtype", ["i8", "f4", ">u2"])
def test_other_new_rows_are_of_the_datasets_type(dtype: str) -> None:
    source = JoinedSource(ArraySource(np.array([5], dtype="u1")), 0, ArraySource(np.array([7, 255], dtype=dtype)))
    found = source.read(Hyperslab((0,), (3,)))
    assert found.dtype == source.dtype == np.dtype("u1")
    assert found.tolist() == [5, 7, 255]


@pytest.mark.parametrize(("start", "count", "expected"), [(0, 3, ["old"]), (2, 5, ["old", "new"]), (4, 2, ["new"])])
def test_both_sources_tell_where_their_values_are(tmp_path: Path, start: int, count: int, expected: list[str]) -> None:
    """Rows that come before the joint, behind it, and on both sides of it."""
    whole = np.arange(8, dtype="<i2").reshape(8, 1)
    both = {}
    for name, rows in {"old": np.concatenate([[[-1]], whole[:4]]).astype("<i2"), "new": whole[4:]}.items():
        rows.tofile(tmp_path / name)
        both[name] = BinarySource(tmp_path / name, rows.dtype, rows.shape)
    found = file_ranges(JoinedSource(both["old"], 1, both["new"]), Hyperslab((start, 0), (count, 1)))
    assert [item.descriptor for item in found] == [both[name]._descriptor for name in expected]
    there = b"".join(os.pread(item.descriptor, item.nbytes, item.offset) for item in found)
    assert there == whole[start : start + count].tobytes()
    nowhere = JoinedSource(ArraySource(whole), 0, ArraySource(whole))
    assert file_ranges(nowhere, Hyperslab((0, 0), (16, 1))) == []


def test_what_new_rows_are_read_with_is_known(tmp_path: Path) -> None:
    np.zeros((4, 6), "<i2").tofile(tmp_path / "new")
    flat = BinarySource(tmp_path / "new", np.dtype("<i2"), (4, 6))
    joined = JoinedSource(ArraySource(np.zeros((2, 6), "<i2")), 0, flat)
    assert reads_whole_rows(joined) and read_beside(joined) == read_beside(flat)
    assert not reads_whole_rows(JoinedSource(flat, 0, ArraySource(np.zeros((2, 6), "<i2"))))
