"""Rows that come in any pieces, with or without gaps, are cut into layers of which nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parnwb.errors import SourceError
from parnwb.layout import DatasetSpec, FileLayout
from parnwb.streaming.layers import JOINED_BYTES, OBJECT_BYTES, Rows, joined, settled, split, windowed, windows


def spec_of(shape: tuple[int, ...], chunk: tuple[int, ...], major: int = 0, limit: int | None = None) -> DatasetSpec:
    maxshape = tuple(limit if axis == major else n for axis, n in enumerate(shape))
    fill = np.array(7, "<i4").tobytes()
    return DatasetSpec("/data", shape, maxshape, "<i4", chunk, fillvalue=fill, access="growing", major=major)


@st.composite
def arrivals(draw: st.DrawFn, width: int, axis: int) -> list[Rows]:
    found, row = [], 0
    for count, gap in draw(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 12)), max_size=12)):
        row += gap
        values = np.arange(row * width, (row + count) * width, dtype="<i4").reshape(count, width)
        found.append((row, np.moveaxis(values, 0, axis)))
        row += count
    return found


@given(
    data=st.data(),
    axis=st.sampled_from([0, 1]),
    thickness=st.integers(1, 7),
    nbytes=st.integers(1, 400),
    known=st.integers(0, 40),
    every_layer=st.booleans(),
)
def test_windows_hold_every_row_once_and_the_fill_value_elsewhere(data, axis, thickness, nbytes, known, every_layer):
    width = 3
    pieces = data.draw(arrivals(width, axis))
    end = max([known, *(low + values.shape[axis] for low, values in pieces)])
    shape, chunk = ((known, width), (thickness, 2)) if axis == 0 else ((width, known), (2, thickness))
    spec = spec_of(shape, chunk, axis)
    touched = {row // thickness for low, values in pieces for row in range(low, low + values.shape[axis])}
    expected = np.full((end, width), 7, "<i4")
    for low, values in pieces:
        expected[low : low + values.shape[axis]] = np.moveaxis(values, axis, 0)

    found, layers = np.full((end, width), -1, "<i4"), []
    for window in windows(iter(pieces), spec, nbytes, every_layer=every_layer):
        first = window.first * thickness
        assert window.rows % thickness == 0 or first + window.rows == end
        layers += range(window.first, -(-(first + window.rows) // thickness))
        for slab, values in window.slabs(spec):
            rows = np.moveaxis(np.asarray(values), axis, 0)
            low = first + slab.start[axis]
            assert (found[low : low + len(rows)] == -1).all()
            found[low : low + len(rows)] = rows
    assert layers == (list(range(-(-end // thickness))) if every_layer else sorted(touched))
    written = np.isin(np.arange(end) // thickness, layers)
    assert np.array_equal(found[written], expected[written])
    assert (found[~written] == -1).all()


@given(data=st.data(), row=st.integers(0, 60), axis=st.sampled_from([0, 1]))
def test_split_parts_at_the_row(data, row, axis):
    pieces = data.draw(arrivals(2, axis))
    before, after = split(pieces, row, axis)
    assert all(low + values.shape[axis] <= row for low, values in before)
    assert all(low >= row for low, _ in after)
    whole = {low + n: np.moveaxis(v, axis, 0)[n].tolist() for low, v in pieces for n in range(v.shape[axis])}
    parts = {low + n: np.moveaxis(v, axis, 0)[n].tolist() for low, v in before + after for n in range(v.shape[axis])}
    assert parts == whole


def test_more_rows_than_may_be_are_refused():
    with pytest.raises(SourceError, match="gave 12 rows or more, its maxshape allows 10"):
        list(windows([(4, np.zeros((8, 3), "<i4"))], spec_of((10, 3), (4, 3), limit=10), 100))


def test_layouts_of_a_window_have_only_its_rows():
    growing, other = spec_of((5, 3), (4, 3)), DatasetSpec("/other", (9,), (9,), "<f8", None)
    layout = FileLayout((growing, other))
    assert [spec.shape for spec in windowed(layout, {0: 8})] == [(8, 3), (0,)]
    assert [spec.shape for spec in settled(layout)] == [(0, 0), (9,)]


@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    chunk=st.tuples(*[st.integers(1, 4)] * 3),
    major=st.integers(0, 2),
    more=st.integers(0, 9),
)
def test_positions_stay_when_a_dataset_grows(shape, chunk, major, more):
    spec = spec_of(shape, chunk, major)
    grid, grown = spec.grid, spec.with_rows(shape[major] + more).grid
    for position in range(grid.size):
        index = grid.index(position)
        assert grid.position(index) == position == grown.position(index)
        assert grown.index(position) == index
    assert sorted(map(grid.position, np.ndindex(*grid.extent))) == list(range(grid.size))


def test_rows_that_come_one_by_one_are_put_together_up_to_a_gap():
    count, gap = 20_000, 12_345
    arriving = [(row + (row >= gap), np.full((1, 2), row, "<i4")) for row in range(count)]
    found = list(joined(iter(arriving)))
    assert len(found) <= 2 + count * (8 + OBJECT_BYTES) / JOINED_BYTES
    assert gap + 1 in [low for low, _ in found]
    rows = np.concatenate([np.arange(low, low + len(values)) for low, values in found])
    assert rows.tolist() == [row for row, _ in arriving]
    assert np.concatenate([values[:, 0] for _, values in found]).tolist() == list(range(count))


def test_large_pieces_are_not_copied():
    large = [(0, np.zeros(JOINED_BYTES, "u1")), (JOINED_BYTES, np.zeros(JOINED_BYTES, "u1"))]
    assert all(values is kept for (_, values), (_, kept) in zip(large, joined(iter(large)), strict=True))
