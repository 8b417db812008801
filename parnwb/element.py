"""Elements that are the same bytes in the file as in memory, and their types as text."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

NUMERIC_KINDS = "biuf"
# Numbers, booleans (h5py's enumeration), complex numbers (HDF5's compound of two) and text of a fixed length; not
# complex numbers of long doubles, which pynwb refuses and h5py has since 3.11 only.
SCALARS = "?bhilqBHILQefdgFDS"
# Long doubles of x86 have ten bytes that mean something, whatever room they take.
EXTENDED_BITS, EXTENDED_BYTES = 63, 10


def is_self_contained(dtype: np.dtype[Any]) -> bool:
    """Tell whether an element is all there is to write: any rank can put its bytes where they belong. Independent.

    Text of variable length lies in heaps that only HDF5 keeps, and references name objects by where HDF5 has put them.
    Compound types count if all their fields do and there is no byte between them.
    """
    if dtype.names is None:
        return dtype.char in SCALARS and dtype.itemsize > 0
    fields = [dtype[name] for name in dtype.names]
    packed = sum(field.itemsize for field in fields) == dtype.itemsize
    return packed and all(is_self_contained(field.base) for field in fields)


def comparable(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return values whose bytes are the same where they are: those that are left to chance are zero. Independent.

    Long doubles have such bytes, and compound types with gaps between their fields. Others are returned as they are.
    """
    meant = _meant(values.dtype)
    if meant.all():
        return values
    raw = np.ascontiguousarray(values).reshape(-1).view(np.uint8).reshape(-1, values.itemsize)
    cleaned: npt.NDArray[Any] = (raw * meant).reshape(-1).view(values.dtype).reshape(values.shape)
    return cleaned


@lru_cache(maxsize=256)
def _meant(dtype: np.dtype[Any]) -> npt.NDArray[np.bool_]:
    """Return which bytes of an element mean something."""
    if dtype.subdtype is not None:
        return np.tile(_meant(dtype.base), dtype.itemsize // dtype.base.itemsize)
    meant = np.ones(dtype.itemsize, dtype=bool)
    if dtype.names is not None:
        meant[:] = False
        for kind, start, *_ in (dtype.fields or {}).values():
            meant[start : start + kind.itemsize] = _meant(kind)
    elif dtype.char in "gG" and np.finfo(np.longdouble).nmant == EXTENDED_BITS:
        numbers = meant.reshape(1 if dtype.char == "g" else 2, -1)
        numbers[:, EXTENDED_BYTES:] = False
        if not dtype.isnative:
            numbers[:] = numbers[:, ::-1]
    return meant


def type_text(dtype: np.dtype[Any]) -> str:
    """Return a dtype as text: numpy's type string, or the fields of a compound type as JSON. Independent."""
    return dtype.str if dtype.names is None else json.dumps(_fields(dtype))


@lru_cache(maxsize=256)
def type_of(text: str) -> np.dtype[Any]:
    """Return the dtype that ``type_text`` described. Independent.

    Raises
    ------
    ValueError, TypeError
        The text describes none.
    """
    return np.dtype(_described(json.loads(text)) if text.startswith("[") else text)


def _fields(dtype: np.dtype[Any]) -> list[list[Any]]:
    """Return the name, the type and, of arrays, the shape of each field."""
    fields = []
    for name in dtype.names or ():
        kind = dtype[name]
        base = kind.base.str if kind.base.names is None else _fields(kind.base)
        fields.append([name, base, list(kind.shape)] if kind.shape else [name, base])
    return fields


def _described(fields: list[list[Any]]) -> list[tuple[Any, ...]]:
    """Return fields as numpy takes them."""
    return [
        (name, kind if isinstance(kind, str) else _described(kind), *map(tuple, shape)) for name, kind, *shape in fields
    ]
