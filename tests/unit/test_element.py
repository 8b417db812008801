"""Which elements are their bytes, and dtypes as text."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parnwb.element import is_self_contained, type_of, type_text

SCALARS = ("?", "<i1", "<u2", ">i4", "<f2", ">f8", "<c16", "|S5")
PIXEL = np.dtype([("x", "<u4"), ("y", "<u4"), ("weight", "<f4")])


def compounds(inner: st.SearchStrategy[np.dtype]) -> st.SearchStrategy[np.dtype]:
    shapes = st.one_of(st.just(()), st.tuples(st.integers(1, 3)), st.tuples(st.integers(1, 2), st.integers(1, 2)))
    fields = st.lists(st.tuples(inner, shapes), min_size=1, max_size=4)
    return fields.map(lambda kinds: np.dtype([(f"ü {n}", kind, shape) for n, (kind, shape) in enumerate(kinds)]))


DTYPES = st.recursive(st.sampled_from(SCALARS).map(np.dtype), compounds, max_leaves=6)


@given(DTYPES)
@settings(deadline=None, max_examples=80)
def test_types_come_back_from_their_text(dtype):
    assert type_of(type_text(dtype)) == dtype
    assert is_self_contained(dtype)


@given(DTYPES)
@settings(deadline=None, max_examples=30)
def test_hdf5_keeps_these_types_as_they_are(dtype):
    with h5py.File("oracle", "w", driver="core", backing_store=False) as file:
        found = file.create_dataset("x", (2,), dtype).dtype
    assert type_of(type_text(found)) == dtype


@pytest.mark.parametrize(
    "dtype",
    [
        np.dtype(object),
        h5py.string_dtype(),
        h5py.ref_dtype,
        np.dtype([("start", "i4"), ("series", h5py.ref_dtype)]),
        np.dtype([("inner", [("text", h5py.string_dtype())])]),
        np.dtype("U4"),
        np.dtype("M8[s]"),
        np.dtype("V3"),
        np.dtype("S0"),
        np.dtype(("i4", (3,))),
        np.dtype([("a", "u1"), ("b", "f8")], align=True),
        np.dtype([("a", "i4"), ("b", np.longdouble)]),
        np.dtype(np.longdouble),
        np.dtype(np.clongdouble),
    ],
    ids=str,
)
def test_what_points_elsewhere_or_has_bytes_to_spare_is_not_self_contained(dtype):
    assert not is_self_contained(dtype)


def test_the_text_of_plain_types_is_numpys():
    assert type_text(np.dtype(">i2")) == ">i2"
    assert type_text(PIXEL) == '[["x", "<u4"], ["y", "<u4"], ["weight", "<f4"]]'


@pytest.mark.parametrize("text", ["nothing", "[", '[["x"]]', '[["x", "nothing"]]', "[1]"])
def test_text_that_describes_no_type(text):
    with pytest.raises((TypeError, ValueError)):
        type_of(text)
