"""Values become what HDF5 makes of them."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parnwb.codec.cast import in_file_dtype

quickly = settings(deadline=None, max_examples=60)
SIZES = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8")
DTYPES = ["|b1", *sorted({np.dtype(order + kind).str for kind in SIZES for order in "<>"})]


def assigned(values: np.ndarray, dtype: str) -> np.ndarray:
    """Return what a dataset of ``dtype`` holds after h5py has assigned ``values`` to it."""
    with h5py.File("oracle", "w", driver="core", backing_store=False) as file:
        dataset = file.create_dataset("x", values.shape, dtype)
        dataset[...] = values
        return dataset[...]


def converted(values: np.ndarray, dtype: str) -> np.ndarray:
    out = np.empty(values.shape, dtype)
    with np.errstate(all="ignore"):
        out[...] = in_file_dtype(values, np.dtype(dtype))
    return out


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == expected.dtype
    np.testing.assert_array_equal(found, expected)  # nan equals nan
    if expected.dtype.kind == "f":
        np.testing.assert_array_equal(np.signbit(found), np.signbit(expected))


def telling_values(dtype: str) -> np.ndarray:
    """Values at which conversions differ: extremes, roundings, what does not fit, what is no number."""
    kind = np.dtype(dtype)
    random = np.random.default_rng(0)
    if kind.kind == "b":
        return random.integers(0, 2, 50).astype(bool)
    if kind.kind in "iu":
        info = np.iinfo(kind)
        corners = [info.min, info.max, info.max - 1, 0, 1]
        corners += [v for bits in (8, 11, 16, 24, 32, 53) for v in range(2**bits - 3, 2**bits + 4)]
        corners = [v for v in corners if info.min <= v <= info.max]
        return np.concatenate(
            [np.frombuffer(random.bytes(100 * kind.itemsize), kind), np.array(corners, kind)]
        )
    corners = [np.nan, np.inf, -np.inf, 0.0, -0.0, 0.5, 1.5, 2.5, -1.5, -0.5, 127.5, 128, 255, 255.5, 256]
    corners += [-129, -1, 32767.5, 65504, 65520, 1e5, 2.0**31, -(2.0**31), 2.0**53, 2.0**63, 2.0**64, 1e300]
    corners += [1e-8, 1e-40, 1e-310, 3.4e38, 3.5e38]
    with np.errstate(all="ignore"):
        return np.concatenate([random.normal(0, 1000, 50), np.array(corners)]).astype(kind)


@pytest.mark.parametrize("source", DTYPES)
def test_conversion_is_h5pys_between_all_dtypes(source):
    values, missing = telling_values(source), []
    for target in DTYPES:
        try:
            expected = assigned(values, target)
        except OSError:  # numbers are not made into booleans
            missing.append(target)
            continue
        assert_same(converted(values, target), expected)
    assert missing in ([], ["|b1"]) and (source != "|b1" or not missing)


@given(st.data(), st.sampled_from(["<i8", ">i8", "<u8", "<f8", ">f4"]), st.sampled_from(DTYPES[1:]))
@quickly
def test_conversion_is_h5pys_for_any_values(data, source, target):
    kind = np.dtype(source)
    if kind.kind == "f":
        elements = st.floats(width=kind.itemsize * 8)
    else:
        info = np.iinfo(kind)
        elements = st.integers(int(info.min), int(info.max))
    values = np.array(data.draw(st.lists(elements, min_size=1, max_size=20)), dtype=kind)
    assert_same(converted(values, target), assigned(values, target))


def test_what_does_not_fit_becomes_the_nearest_that_does():
    values = np.array([-70_000.0, 70_000.0, np.inf, -np.inf, 1.9, -1.9])
    assert converted(values, "<i2").tolist() == [-32768, 32767, 32767, -32768, 1, -1]
    assert converted(np.array([-1, 300]), "|u1").tolist() == [0, 255]


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_is_copied_where_the_dtype_is_right(dtype):
    values = np.zeros(10, dtype)[::2]
    assert in_file_dtype(values, np.dtype(dtype)) is values


def test_conversion_of_a_strided_view_and_of_nothing():
    values = np.arange(-600, 600, dtype="<i4").reshape(30, 40)
    assert_same(converted(values[::3, 5:35:2], "|i1"), np.clip(values[::3, 5:35:2], -128, 127).astype("i1"))
    assert_same(converted(values.T, "|i1"), np.clip(values.T, -128, 127).astype("i1"))
    assert converted(np.empty((0, 3), "<i4"), "|i1").shape == (0, 3)


def test_source_is_left_alone():
    values = np.array([1e9, -1e9, np.nan])
    before = values.copy()
    in_file_dtype(values, np.dtype("<i2"))
    np.testing.assert_array_equal(values, before)


COMPOUND = [("x", "<u4"), ("y", "<u4"), ("weight", "<f4")]


@pytest.mark.parametrize(
    "dtype",
    [
        COMPOUND,
        [("x", ">u4"), ("y", "<u4"), ("weight", "<f4")],
        [("weight", "<f8"), ("y", "<i8"), ("x", "<i2")],  # by name, not by order
        [("x", "<u4"), ("weight", "<f4")],  # a field is lacking
        [("x", "<u4"), ("z", "<i8"), ("y", "<u4"), ("weight", "<f4")],  # one is not wanted
        {"names": ["x", "y", "weight"], "formats": ["<u4", "<u4", "<f4"], "offsets": [8, 0, 16], "itemsize": 24},
    ],
)
def test_fields_of_compound_values_are_matched_by_name(dtype):
    values = np.zeros((3, 4), dtype)
    for name, first in (("x", -2), ("y", 7), ("weight", 0.25)):
        if name in values.dtype.names:
            with np.errstate(all="ignore"):
                values[name] = (first + np.arange(12).reshape(3, 4)).astype(values.dtype[name])
    found = in_file_dtype(values, np.dtype(COMPOUND))
    np.testing.assert_array_equal(found, assigned(values, COMPOUND))
    assert found.dtype == np.dtype(COMPOUND)
