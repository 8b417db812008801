"""The arithmetic of boxes, against sets of points that are counted one by one."""

from __future__ import annotations

import math
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parnwb.errors import PlanError
from parnwb.hyperslab import Hyperslab, even_share, ravel, run_boxes, unravel

# One to five dimensions, few enough elements to be counted.
shapes = st.integers(1, 5).flatmap(lambda n: st.tuples(*[st.integers(1, 5 if n > 3 else 9)] * n))
shapes_with_zeros = st.integers(1, 5).flatmap(lambda n: st.tuples(*[st.integers(0, 5)] * n))
quickly = settings(deadline=None, max_examples=80)


def box_in(shape: tuple[int, ...]) -> st.SearchStrategy[Hyperslab]:
    """Boxes within ``shape``, empty ones among them."""
    corners = st.tuples(*[st.tuples(st.integers(0, n), st.integers(0, n)).map(sorted) for n in shape])
    return corners.map(lambda c: Hyperslab(tuple(a for a, _ in c), tuple(b - a for a, b in c)))


boxes = shapes_with_zeros.flatmap(box_in)
pairs = shapes_with_zeros.flatmap(lambda shape: st.tuples(box_in(shape), box_in(shape)))


def marked(box: Hyperslab, shape: tuple[int, ...]) -> np.ndarray:
    """A mask of ``shape`` in which numpy itself has marked the box."""
    mask = np.zeros(shape, dtype=bool)
    mask[box.slices] = True
    return mask


# -- construction --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "count", "words"),
    [
        ((0,), (1, 2), "one count per start"),
        ((0, 0), (), "one count per start"),
        ((-1,), (2,), "no negative"),
        ((1, 0), (2, -2), "no negative"),
    ],
)
def test_bad_box_fails_where_it_is_made(start, count, words):
    with pytest.raises(PlanError, match=words) as caught:
        Hyperslab(start, count)
    assert str(start) in str(caught.value) and str(count) in str(caught.value)


def test_is_a_frozen_value():
    box = Hyperslab((1,), (2,))
    with pytest.raises(AttributeError):
        box.start = (0,)
    assert {box, Hyperslab((1,), (2,))} == {box}
    assert sorted([Hyperslab((2,), (1,)), box])[0] is box


@given(shapes_with_zeros)
@quickly
def test_whole(shape):
    box = Hyperslab.whole(shape)
    assert marked(box, shape).all()
    assert (box.size, box.stop) == (math.prod(shape), shape)


@given(boxes)
@quickly
def test_size_slices_and_points_agree(box):
    points = list(box.points())
    assert len(points) == box.size == marked(box, box.stop).sum()
    assert points == sorted(points)
    assert set(points) == set(product(*[range(part.start, part.stop) for part in box.slices]))


# -- relations -----------------------------------------------------------------------------------------------


@given(pairs)
@quickly
def test_intersection_is_that_of_points(pair):
    a, b = pair
    common = a.intersect(b)
    assert set(common.points()) == set(a.points()) & set(b.points())
    assert set(b.intersect(a).points()) == set(common.points())


@given(pairs)
@quickly
def test_contains_is_subset_of_points(pair):
    a, b = pair
    assert a.contains(b) == (set(b.points()) <= set(a.points()))
    assert a.contains(a) and a.contains(a.intersect(b))


@given(pairs)
@quickly
def test_relative_box_picks_the_same_elements_out_of_a_buffer(pair):
    outer, other = pair
    inner = outer.intersect(other)
    if inner.size == 0:
        return
    values = np.arange(math.prod(outer.stop)).reshape(outer.stop)
    buffer = values[outer.slices]
    assert np.array_equal(buffer[inner.relative_to(outer.start).slices], values[inner.slices])


def test_dimensions_must_agree():
    with pytest.raises(ValueError, match="zip"):
        Hyperslab((0,), (1,)).intersect(Hyperslab((0, 0), (1, 1)))


# -- grids ---------------------------------------------------------------------------------------------------


@given(st.data(), shapes_with_zeros)
@quickly
def test_scaled_covers_what_its_cells_cover(data, shape):
    unit = tuple(data.draw(st.integers(1, 4)) for _ in shape)
    extent = tuple(-(-n // u) for n, u in zip(shape, unit, strict=True))
    cells = data.draw(box_in(extent))
    covered = np.zeros(shape, dtype=bool)
    for cell in cells.points():
        covered[tuple(slice(i * u, (i + 1) * u) for i, u in zip(cell, unit, strict=True))] = True
    found = cells.scaled(unit, shape)
    assert np.array_equal(marked(found, shape), covered)
    assert found.size == covered.sum()  # cut where the array ends


# -- split ---------------------------------------------------------------------------------------------------


@given(boxes, st.integers(-1, 40))
@quickly
def test_split_covers_exactly_in_order_within_the_limit(box, limit):
    pieces = list(box.split(limit))
    points = [point for piece in pieces for point in piece.points()]
    assert points == list(box.points())  # each once, and in C order across pieces
    assert all(1 <= piece.size <= max(1, limit) for piece in pieces)


@given(boxes, st.integers(1, 40))
@quickly
def test_split_keeps_trailing_axes_whole(box, limit):
    """Every piece is one run of the box: after the first axis that is cut, nothing else is."""
    for piece in box.split(limit):
        cut = [n for n, (a, b) in enumerate(zip(piece.count, box.count, strict=True)) if a != b]
        assert all(piece.count[axis] == 1 for axis in range(cut[-1] if cut else 0))


@given(boxes)
@quickly
def test_split_into_one_piece_where_it_fits(box):
    assert list(box.split(max(1, box.size))) == ([box] if box.size else [])


@given(shapes, st.integers(1, 40))
@quickly
def test_split_uses_its_room(shape, limit):
    """The largest piece could not be twice as thick along the axis that is cut."""
    box = Hyperslab.whole(shape)
    largest = max(box.split(limit), key=lambda piece: piece.size)
    assert largest.size == box.size or 2 * largest.size > limit or largest.size * 2 > box.size


# -- runs ----------------------------------------------------------------------------------------------------


@given(st.data(), shapes)
@quickly
def test_run_boxes_cover_exactly_the_run_in_order(data, shape):
    size = math.prod(shape)
    low, high = sorted(data.draw(st.tuples(st.integers(0, size), st.integers(0, size))))
    found = run_boxes(low, high, shape)
    positions = [ravel(point, shape) for box in found for point in box.points()]
    assert positions == list(range(low, high))
    assert len(found) <= 2 * len(shape) - 1
    assert all(box.size for box in found)


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4), (2, 2, 3, 2), (2, 2, 1, 2, 2)])
def test_run_boxes_of_every_run(shape):
    size, most = math.prod(shape), 0
    for low in range(size + 1):
        for high in range(low, size + 1):
            found = run_boxes(low, high, shape)
            most = max(most, len(found))
            assert [ravel(p, shape) for box in found for p in box.points()] == list(range(low, high))
    assert most <= 2 * len(shape) - 1


def test_run_boxes_of_an_empty_grid():
    assert run_boxes(0, 0, (0, 3)) == run_boxes(0, 0, (3, 0)) == run_boxes(0, 0, (0,)) == []


def test_run_boxes_of_a_huge_grid_are_quick():
    shape = (10**6, 10**4, 10**3)
    found = run_boxes(123_456_789, math.prod(shape) - 7, shape)
    assert len(found) == 5
    assert sum(box.size for box in found) == math.prod(shape) - 7 - 123_456_789


# -- positions and shares ------------------------------------------------------------------------------------


@given(st.data(), shapes)
@quickly
def test_ravel_and_unravel_are_numpys_and_inverse(data, shape):
    position = data.draw(st.integers(0, math.prod(shape) - 1))
    index = unravel(position, shape)
    assert index == tuple(int(i) for i in np.unravel_index(position, shape))
    assert ravel(index, shape) == position == np.ravel_multi_index(index, shape)


@given(st.integers(0, 10**15), st.integers(1, 100_000), st.data())
@quickly
def test_even_shares_of_huge_totals(total, parts, data):
    part = data.draw(st.integers(0, parts - 1))
    low, high = even_share(total, parts, part)
    assert high - low in (total // parts, -(-total // parts))
    assert low == (even_share(total, parts, part - 1)[1] if part else 0)


@given(st.integers(0, 300), st.integers(1, 60))
@quickly
def test_even_shares_meet_and_differ_by_one(total, parts):
    shares = [even_share(total, parts, part) for part in range(parts)]
    assert shares[0][0] == 0 and shares[-1][1] == total
    assert all(a[1] == b[0] for a, b in pairwise(shares))
    sizes = {high - low for low, high in shares}
    assert max(sizes) - min(sizes) <= 1
