"""What a program gives, as arrays: where numpy makes none of it, one error that says what was to be given."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import numpy as np
import numpy.typing as npt

from parnwb.errors import SourceError


def as_array(
    values: Any, what: str, where: str | None = None, remedy: str | None = None, dtype: npt.DTypeLike | None = None
) -> npt.NDArray[Any]:
    """Return values as an array, of any shape. Independent.

    Parameters
    ----------
    values
        An array, or whatever numpy makes one of.
    what
        They are, for the message.
    where, remedy
        For the error.
    dtype
        The array's; None for what numpy takes.

    Raises
    ------
    SourceError
        numpy cannot: rows of a list differ in length, for one.
    """
    try:
        return np.asarray(values, dtype)
    except SourceError:  # of data that are spread over ranks, who know better why
        raise
    except Exception as error:
        raise SourceError(
            f"{what} must be an array: {type(error).__name__}: {error}", where=where, remedy=remedy
        ) from error


def is_list_like(values: Any) -> bool:
    """Tell whether something has items in an order, and how many: no text, mapping, set or generator. Independent."""
    if isinstance(values, str | bytes | Mapping | Set) or not hasattr(values, "__iter__"):
        return False
    return hasattr(values, "__len__") and getattr(values, "ndim", 1) > 0


def whole_numbers(values: Any) -> tuple[int, ...] | None:
    """Return numbers such as those of a shape; None if they are none, be it for a fraction. Independent."""
    if not is_list_like(values):
        return None
    try:
        array = np.asarray([] if len(values) == 0 else values)
    except Exception:  # noqa: BLE001 - whatever numpy says, they are not
        return None
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        return None
    return tuple(int(n) for n in array)
