"""Whether what is in one file is what is in another: NWB's object ids tell, or values where there are none."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

from parnwb.rewriting.names import parted, raw
from parnwb.rewriting.references import values_of
from parnwb.rewriting.types import holds, is_reference

Lineage = tuple[str | None, str]
"""The id of the nearest object that has one, and the path from there; no id where none of them has one."""


def lineage(file: h5py.File, at: str) -> Lineage:
    """Return by what an object is known: by its own id, or by its place in the nearest group that has one.

    Independent.
    """
    above = at
    while True:
        known = object_id(h5py.h5o.open(file.id, raw(above)))
        if known is not None or above == "/":
            return known, at[len(above) :].strip("/")
        above, _ = parted(above)


def object_id(thing: Any) -> str | None:
    """Return the id of an open object, None if it has none. Independent."""
    values = values_of(h5py.h5a.open(thing, b"object_id")) if h5py.h5a.exists(thing, b"object_id") else None
    if values is None:
        return None
    first = values.reshape(-1)[0]
    return first.decode("utf-8", "replace") if isinstance(first, bytes) else str(first)


def have_same_values(one: h5py.h5d.DatasetID, other: h5py.h5d.DatasetID) -> bool:
    """Tell whether two open datasets have the same type, shape and values; references are never the same.

    Independent.
    """
    kinds = one.get_type(), other.get_type()
    if not kinds[0].equal(kinds[1]) or one.shape != other.shape or holds(kinds[0], is_reference):
        return False
    values = values_of(one), values_of(other)
    if values[0] is None or values[1] is None:
        return values[0] is values[1]
    if not values[0].dtype.hasobject:
        return values[0].tobytes() == values[1].tobytes()
    pairs = zip(values[0].reshape(-1), values[1].reshape(-1), strict=True)
    return all(np.array_equal(*pair) for pair in pairs)
