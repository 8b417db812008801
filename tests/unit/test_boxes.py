"""Cells of a grid become few boxes, of which none is lost and none is there twice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parnwb.boxes import boxes_of
from parnwb.hyperslab import Hyperslab, run_boxes


def cells_of(boxes: list[Hyperslab]) -> list[tuple[int, ...]]:
    return [point for box in boxes for point in box.points()]


@given(data=st.data(), shape=st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple))
def test_each_cell_is_in_one_box(data, shape):
    everything = list(np.ndindex(*shape))
    wanted = data.draw(st.lists(st.sampled_from(everything), unique=True, max_size=40))
    boxes = boxes_of(np.array(wanted, dtype=np.int64).reshape(-1, len(shape)))
    assert sorted(cells_of(boxes)) == sorted(wanted)
    assert len(boxes) <= len(wanted)


@given(data=st.data(), shape=st.lists(st.integers(1, 6), min_size=1, max_size=4).map(tuple))
def test_a_run_becomes_as_few_boxes_as_can_be(data, shape):
    size = int(np.prod(shape))
    low = data.draw(st.integers(0, size))
    high = data.draw(st.integers(low, size))
    cells = np.stack(np.unravel_index(np.arange(low, high), shape), axis=1).astype(np.int64)
    boxes = boxes_of(np.random.default_rng(low).permutation(cells))
    assert len(boxes) <= max(0, 2 * len(shape) - 1)
    assert len(boxes) <= len(run_boxes(low, high, shape))


@pytest.mark.parametrize("box", [Hyperslab((2, 0, 5), (3, 4, 2)), Hyperslab((7,), (1,)), Hyperslab((0, 3), (2, 1))])
def test_a_box_stays_one(box: Hyperslab) -> None:
    cells = np.array(list(box.points()), dtype=np.int64)
    assert boxes_of(cells[::-1]) == [box]


def test_many_cells_take_little_time() -> None:
    cells = np.stack(np.unravel_index(np.arange(17, 400_000), (1000, 40, 10)), axis=1)
    assert len(boxes_of(cells)) == 3
