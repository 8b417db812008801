"""Dataset specs, their chunk grids, and their way through JSON."""

from __future__ import annotations

import json
import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parnwb.errors import LayoutError
from parnwb.hyperslab import Hyperslab, ravel
from parnwb.layout import (
    CONTIGUOUS_PIECE_BYTES,
    ChunkGrid,
    DatasetSpec,
    FileLayout,
    FilterSpec,
    contiguous_piece,
)

quickly = settings(deadline=None, max_examples=80)
SPEC = DatasetSpec(
    path="/acquisition/es/data",
    shape=(10, 6),
    maxshape=(None, 6),
    dtype="<i2",
    chunks=(4, 3),
    filters=(FilterSpec(2, (2,), "shuffle"), FilterSpec(1, (4,), "deflate")),
    fillvalue=b"\x07\x00",
    access="random",
    coder="isal-1",
    read_beside=7,
)


PIXELS = replace(SPEC, dtype='[["x", "<u4"], ["mean", "|b1", [2]]]', fillvalue=b"\x01\0\0\0\0\x01")


def test_compound_types_go_through_json():
    layout = FileLayout((PIXELS,))
    again = FileLayout.from_json(json.loads(json.dumps(layout.to_json())))
    assert again == layout
    assert again.datasets[0].numpy_dtype == np.dtype([("x", "<u4"), ("mean", "?", (2,))])
    assert again.datasets[0].itemsize == 6
    assert again.datasets[0].fill["x"] == 1 and again.datasets[0].fill["mean"].tolist() == [False, True]


def test_layouts_of_journals_that_do_not_tell_what_is_read_beside():
    (item,) = FileLayout((SPEC,)).to_json()
    del item["read_beside"], item["whole_rows"]
    assert FileLayout.from_json([item]).datasets == (replace(SPEC, read_beside=0),)


@st.composite
def grids(draw: st.DrawFn) -> ChunkGrid:
    ndim = draw(st.integers(1, 5))
    shape = tuple(draw(st.integers(0, 7)) for _ in range(ndim))
    return ChunkGrid(shape, tuple(draw(st.integers(1, 9)) for _ in range(ndim)))


# -- grids ---------------------------------------------------------------------------------------------------


@given(grids())
@quickly
def test_cells_cover_every_element_once(grid):
    seen = np.zeros(grid.shape, dtype=int)
    indices = list(Hyperslab.whole(grid.extent).points())
    for index in indices:
        cell = grid.cell(index)
        assert cell.size and all(c <= n for c, n in zip(cell.count, grid.chunk, strict=True))
        seen[cell.slices] += 1
    assert (seen == 1).all()
    assert len(indices) == grid.size


@given(grids(), st.data())
@quickly
def test_elements_and_cells_are_inverse(grid, data):
    corners = [sorted(data.draw(st.tuples(*[st.integers(0, n)] * 2))) for n in grid.extent]
    cells = Hyperslab(tuple(a for a, _ in corners), tuple(b - a for a, b in corners))
    elements = grid.elements(cells)
    if cells.size:
        assert grid.cells(elements) == cells
    assert (elements.size == 0) == (cells.size == 0)
    assert sum(grid.cell(index).size for index in cells.points()) == elements.size
    assert Hyperslab.whole(grid.shape).contains(elements)


@pytest.mark.parametrize(("shape", "chunk"), [((4,), (0,)), ((4,), (-1,)), ((4, 4), (2,)), ((4,), (2, 2))])
def test_bad_grid_is_refused(shape, chunk):
    with pytest.raises(LayoutError, match="chunk extents must be positive") as caught:
        ChunkGrid(shape, chunk)
    assert str(chunk) in str(caught.value)


# -- contiguous ----------------------------------------------------------------------------------------------


@given(
    st.lists(st.integers(0, 5000), min_size=1, max_size=5).map(tuple),
    st.sampled_from([1, 2, 4, 8, 16, CONTIGUOUS_PIECE_BYTES, 2 * CONTIGUOUS_PIECE_BYTES]),
)
@quickly
def test_contiguous_pieces_lie_in_one_run_each(shape, itemsize):
    piece = contiguous_piece(shape, itemsize)
    assert math.prod(piece) * itemsize <= max(CONTIGUOUS_PIECE_BYTES, itemsize)
    assert all(1 <= p <= max(1, n) for p, n in zip(piece, shape, strict=True))
    cut = [axis for axis, (p, n) in enumerate(zip(piece, shape, strict=True)) if p < n]
    assert all(piece[axis] == 1 for axis in range(cut[-1] if cut else 0))


@pytest.mark.parametrize("shape", [(3, 5, 2, 700_000), (9_000_000,), (3, 4_000_001), (1, 1, 5)])
def test_each_contiguous_piece_is_a_run_of_the_file(shape):
    spec = replace(SPEC, shape=shape, maxshape=shape, chunks=None, filters=(), dtype="<i2")
    grid = spec.grid
    expected = 0
    for index in Hyperslab.whole(grid.extent).points():
        cell = grid.cell(index)
        last = tuple(stop - 1 for stop in cell.stop)
        assert ravel(cell.start, shape) == expected
        expected = ravel(last, shape) + 1
        assert expected - ravel(cell.start, shape) == cell.size
    assert expected == math.prod(shape)


# -- specs ---------------------------------------------------------------------------------------------------


def test_sizes_of_a_spec():
    assert (SPEC.itemsize, SPEC.nbytes, SPEC.chunk_bytes, SPEC.grid.extent) == (2, 120, 24, (3, 2))
    assert SPEC.fill.shape == () and SPEC.fill == 7
    assert replace(SPEC, fillvalue=b"").fill == 0


@pytest.mark.parametrize("dtype", ["|b1", "<i2", ">i2", "<f2", "<f8", ">f4", "|u1"])
def test_fill_keeps_the_files_type(dtype):
    raw = np.ones((), dtype=dtype).tobytes()
    fill = replace(SPEC, dtype=dtype, fillvalue=raw).fill
    assert fill.dtype == np.dtype(dtype) and fill.tobytes() == raw


def test_layout_is_sorted_and_unique():
    a, b = replace(SPEC, path="/a"), replace(SPEC, path="/b")
    layout = FileLayout((a, b))
    assert list(layout) == [a, b] and len(layout) == 2 and layout.nbytes == 240
    for wrong in [(b, a), (a, a)]:
        with pytest.raises(LayoutError, match="sorted by path and unique"):
            FileLayout(wrong)


def test_empty_layout():
    assert (FileLayout(()).nbytes, len(FileLayout(()))) == (0, 0)
    assert FileLayout(()).to_json() != FileLayout((SPEC,)).to_json()


# -- what is agreed on ---------------------------------------------------------------------------------------

CHANGES = {
    "path": "/acquisition/es/datb",
    "shape": (10, 7),
    "maxshape": (10, 6),
    "dtype": ">i2",
    "chunks": (4, 2),
    "filters": SPEC.filters[::-1],
    "fillvalue": b"\x08\x00",
    "access": "gridded",
    "coder": "zlib-4",
    "first_row": 4,
    "major": 1,
    "read_beside": 8,
    "whole_rows": True,
}


def test_every_field_has_a_change_here():
    assert set(CHANGES) == set(DatasetSpec.__dataclass_fields__)


@pytest.mark.parametrize("field", sorted(CHANGES))
def test_json_sees_every_field(field):
    other = replace(SPEC, **{field: CHANGES[field]})
    assert FileLayout((other,)).to_json() != FileLayout((SPEC,)).to_json()


@pytest.mark.parametrize("change", [FilterSpec(2, (4,), "shuffle"), FilterSpec(3, (2,), "shuffle")])
def test_json_sees_within_filters(change):
    other = replace(SPEC, filters=(change, SPEC.filters[1]))
    assert FileLayout((other,)).to_json() != FileLayout((SPEC,)).to_json()


def test_json_survives_pickle_and_json():
    layout = FileLayout((SPEC,))
    arrived = pickle.loads(pickle.dumps(layout))
    assert arrived == layout and arrived.to_json() == layout.to_json()
    assert json.loads(json.dumps(layout.to_json())) == layout.to_json()


def test_json_of_an_unlimited_contiguous_dataset():
    (entry,) = FileLayout((replace(SPEC, chunks=None, filters=()),)).to_json()
    assert entry["maxshape"] == [None, 6]
    assert entry["chunks"] is None
    assert entry["filters"] == []
