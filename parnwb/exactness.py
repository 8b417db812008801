"""Whether a type holds values exactly: numpy and HDF5 round, clamp and wrap around without a word."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from parnwb.errors import SourceError


def check_exact(
    values: npt.NDArray[Any], dtype: np.dtype[Any], where: str, first: tuple[int, ...] | None = None
) -> None:
    """Refuse numbers that would be others in a type. Independent.

    Parameters
    ----------
    values
        Numbers or booleans; of other elements nothing is said.
    dtype
        The type that they are to have.
    where
        The dataset.
    first
        Where the first of them is in what the user gave; None for its beginning.

    Raises
    ------
    SourceError
        Names the first value that the type does not hold, and its place.
    """
    changed = changed_by(values, dtype)
    if changed is None or not changed.any():
        return
    index = np.unravel_index(int(changed.argmax()), changed.shape)
    place = tuple(int(a) + b for a, b in zip(index, first or (0,) * len(index), strict=True))
    raise SourceError(
        f"values must be kept as they are: {values[index].item()!r} ({values.dtype}) at {place} is none of {dtype}",
        where=where,
        remedy=f"Convert what you give, with .astype({dtype.name!r}), if such values may be rounded or cut off; or "
        "write a dataset of a type that holds them",
    )


def rounded(values: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return floats of a list in another precision, because lists have none of their own. Independent.

    As they are where one would become infinite, or they or the type are no floats.
    """
    if not values.dtype.kind == dtype.kind == "f":
        return values
    with np.errstate(over="ignore"):
        found = values.astype(dtype)
    return found if np.array_equal(np.isinf(found), np.isinf(values)) else values


def are_equal(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> bool:
    """Tell whether two arrays have the same values, NaN being itself. Independent."""
    return bool(((one == other) | ((one != one) & (other != other))).all())


def changed_by(values: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[np.bool_] | None:
    """Return which numbers are others in a type, NaN being itself; None if all are what they were. Independent.

    Where numpy's cast is safe they are, but for whole numbers of many digits that become floating-point numbers, which
    numpy counts as safe.
    """
    kinds = values.dtype.kind + dtype.kind
    if not set(kinds) <= set("biuf") or (kinds not in ("if", "uf") and np.can_cast(values.dtype, dtype, "safe")):
        return None
    if kinds in ("if", "uf") and np.iinfo(values.dtype).bits <= np.finfo(dtype).nmant + 1:
        return None
    with np.errstate(all="ignore"):
        if dtype.kind == "b":
            return (values != 0) & (values != 1)
        if values.dtype.kind in "iu":
            return _rounded(values, dtype) if dtype.kind == "f" else _outside(values, dtype)
        if dtype.kind in "iu":
            return _fractional(values, dtype)
        return (values.astype(dtype) != values) & ~np.isnan(values)


def _outside(values: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[np.bool_]:
    """Return which whole numbers are beyond the range of another type of such."""
    own, other = np.iinfo(values.dtype), np.iinfo(dtype)
    low, high = max(own.min, other.min), min(own.max, other.max)
    return (values < low) | (values > high)


def _rounded(values: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[np.bool_]:
    """Return which whole numbers a floating-point type has not."""
    found = values.astype(dtype)
    return _fractional(found, values.dtype) | (found.astype(values.dtype) != values)


def _fractional(values: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[np.bool_]:
    """Return which floating-point numbers are not whole numbers within a type's range."""
    wide = values.astype(np.promote_types(values.dtype, np.float64), copy=False)
    info = np.iinfo(dtype)
    # Both ends are powers of two, or zero, which all of these types have.
    is_within = (wide >= float(info.min)) & (wide < float(info.max + 1))
    return ~(is_within & (np.trunc(wide) == wide))
