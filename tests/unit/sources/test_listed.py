"""Lists are read as the array that numpy makes of them."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from parnwb.errors import SourceError
from parnwb.hyperslab import Hyperslab
from parnwb.sources import Source, read_checked
from parnwb.sources.listed import ListSource

PIXEL = np.dtype([("x", "u4"), ("weight", "f4")])
LISTS: dict[str, tuple[Any, str]] = {
    "numbers": ([1, 2.5, np.float32(3)] * 5, "f8"),
    "truncated": ([1, 2.5] * 5, "i8"),
    "flags": ([True, False, np.True_], "?"),
    "tuple": (tuple(range(9)), "u1"),
    "rows": ([[1, 2, 3]] * 7, "i4"),
    "arrays": ([np.full((4, 3), n, "f4") for n in range(6)], "f8"),
    "array_of_lists": ([[np.arange(3), [1, 2, 3]]] * 4, "i2"),
}


@pytest.mark.parametrize("name", LISTS)
def test_every_part_is_that_of_the_array(name):
    items, dtype = LISTS[name]
    whole = np.asarray(items, dtype=dtype)
    source = ListSource(items, whole.shape, whole.dtype)
    assert isinstance(source, Source) and source.nbytes == whole.nbytes
    for start in range(len(items)):
        count = (1 + start % 2 if start + 1 < len(items) else 1, *(max(1, n - 1) for n in whole.shape[1:]))
        slab = Hyperslab((start, *(n - c for n, c in zip(whole.shape[1:], count[1:], strict=True))), count)
        np.testing.assert_array_equal(read_checked(source, slab, "/x"), whole[slab.slices], strict=True)


def test_tuples_are_compound_values():
    source = ListSource([(1, 0.5), (2, 1.5), (3, 2.5)], (3,), PIXEL)
    expected = np.array([(2, 1.5), (3, 2.5)], PIXEL)
    np.testing.assert_array_equal(source.read(Hyperslab((1,), (2,))), expected)


@pytest.mark.parametrize("items, what", [([[1, 2], [3]], "row 1 has shape"), ([[1, 2], ["a", "b"]], "invalid literal")])
def test_what_makes_no_array_is_refused_with_its_place(items, what):
    with pytest.raises(SourceError, match=what) as caught:
        read_checked(ListSource(items, (2, 2), np.dtype("i4")), Hyperslab((0, 0), (2, 2)), "/x")
    assert "/x" in str(caught.value)


def test_a_list_travels_as_its_array():
    source = ListSource([1.5, 2.5], (2,), np.dtype("f4"))
    received = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(received.read(Hyperslab((0,), (2,))), np.array([1.5, 2.5], "f4"), strict=True)
