"""Values that a type has not, with Python's own numbers as oracle."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from parnwb.errors import SourceError
from parnwb.exactness import changed_by, check_exact

KINDS = ["?", *(f"{sign}{size}" for sign in "iu" for size in (1, 2, 4, 8)), "f2", "f4", "f8", ">i8", ">f4"]
EDGES = [2**53 + 1, 2**63 - 1, -(2**63), 2**64 - 1, 2**24 + 1, 2049, 65520, 255, -1, 0.5, 1e300, 2.0**63, 2.0**64, 1e5]
SPECIAL = [math.nan, math.inf, -math.inf, -0.0]


def exact(value: Any) -> Any:
    """Return a number of numpy as one that Python compares exactly."""
    number = value.item()
    return Fraction(number) if isinstance(number, float) and math.isfinite(number) else number


def is_held(value: Any, dtype: np.dtype[Any]) -> bool:
    """Tell whether a type has a number, by the definition of its kind."""
    number = exact(value)
    if isinstance(number, float):  # NaN or infinity
        return dtype.kind == "f"
    if dtype.kind == "b":
        return number in (0, 1)
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return number == int(number) and int(info.min) <= number <= int(info.max)
    with np.errstate(all="ignore"):
        near = dtype.type(float(number)) if not isinstance(value, np.integer) else dtype.type(int(number))
    return math.isfinite(near) and Fraction(float(near)) == number


@given(st.data(), st.sampled_from(KINDS).map(np.dtype), st.sampled_from(KINDS).map(np.dtype))
@settings(deadline=None, max_examples=400)
def test_what_is_said_of_each_value_is_true(data: Any, kind: np.dtype[Any], dtype: np.dtype[Any]) -> None:
    edges = [edge for edge in [*EDGES, *(SPECIAL if kind.kind == "f" else [])] if fits(edge, kind)]
    elements = st.one_of(stn.from_dtype(kind), *([st.sampled_from(edges)] if edges else []))
    values = data.draw(stn.arrays(kind, (3, 2), elements=elements, fill=st.nothing()))
    changed = changed_by(values, dtype)
    expected = [[not is_held(value, dtype) for value in row] for row in values]
    assert (np.zeros((3, 2), bool) if changed is None else changed).tolist() == expected


def fits(edge: Any, kind: np.dtype[Any]) -> bool:
    with np.errstate(all="ignore"):
        try:
            return bool(math.isnan(edge) or kind.type(edge) == edge)
        except (OverflowError, ValueError):
            return False


@given(stn.arrays(np.int64, 5, elements=st.integers(-(2**53), 2**53), fill=st.nothing()))
@example(np.array([2**53, -(2**53), 0, 1, 2], np.int64))
@settings(deadline=None, max_examples=30)
def test_whole_numbers_of_few_digits_may_become_floats(values: Any) -> None:
    check_exact(values, np.dtype("f8"), "/x")


def test_one_that_may_not_is_named_with_its_place() -> None:
    values = np.array([[1, 2], [3, 2**53 + 1]])
    said = r"kept as they are: 9007199254740993 \(int64\) at \(11, 1\) is none of float64 \[at /x\]. Convert"
    with pytest.raises(SourceError, match=said):
        check_exact(values, np.dtype("f8"), "/x", (10, 0))


def test_of_text_and_structures_nothing_is_said() -> None:
    for values in (np.array(["text"]), np.zeros(2, "i4,f8"), np.array([None])):
        check_exact(values, np.dtype("f8"), "/x")
