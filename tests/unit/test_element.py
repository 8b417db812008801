"""Which elements are their bytes, and dtypes as text."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parnwb.element import comparable, is_self_contained, type_of, type_text

SCALARS = ("?", "<i1", "<u2", ">i4", "<f2", ">f8", np.dtype("g").str, "<c16", "|S5")
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
        np.dtype(np.clongdouble),
    ],
    ids=str,
)
def test_what_points_elsewhere_or_has_bytes_to_spare_is_not_self_contained(dtype):
    assert not is_self_contained(dtype)


@given(st.lists(st.sampled_from(SCALARS), min_size=1, max_size=5), st.integers(0, 2**32))
@settings(deadline=None, max_examples=80)
def test_equal_values_have_equal_bytes_whatever_lies_between_them(kinds, seed):
    inner = np.dtype([(f"n{number}", kind) for number, kind in enumerate(kinds)], align=True)
    dtype = np.dtype([("flag", "?"), ("inner", inner, (2,))], align=True)
    dice = np.random.default_rng(seed)
    one, other = (np.frombuffer(dice.bytes(6 * dtype.itemsize), dtype).reshape(2, 3).copy() for _ in range(2))
    for array in (one, other):
        array["flag"] = True
        for number, name in enumerate(inner.names):
            array["inner"][name] = number % 2
    found = comparable(one)
    assert found.dtype == dtype and found.tobytes() == comparable(other).tobytes()
    assert all((found["inner"][name] == one["inner"][name]).all() for name in inner.names)


@pytest.mark.parametrize("value", [np.longdouble(1) / 3, np.nan, -np.inf])
@pytest.mark.parametrize("kind", ["g", ">g", "G"])
def test_long_doubles_keep_their_values(kind, value):
    values = np.full((2, 2), value, np.longdouble).astype(kind)
    np.testing.assert_array_equal(comparable(values), values)
    assert comparable(values).dtype == values.dtype


def test_values_without_such_bytes_are_not_copied():
    assert comparable(values := np.zeros(3, PIXEL)) is values


def test_the_text_of_plain_types_is_numpys():
    assert type_text(np.dtype(">i2")) == ">i2"
    assert type_text(PIXEL) == '[["x", "<u4"], ["y", "<u4"], ["weight", "<f4"]]'


@pytest.mark.parametrize("text", ["nothing", "[", '[["x"]]', '[["x", "nothing"]]', "[1]"])
def test_text_that_describes_no_type(text):
    with pytest.raises((TypeError, ValueError)):
        type_of(text)
