"""Elements that are the same bytes in the file as in memory, and their types as text."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import numpy as np

NUMERIC_KINDS = "biuf"
# Numbers, booleans (h5py's enumeration), complex numbers (HDF5's compound of two) and text of a fixed length; not
# long doubles, which have bytes that are left to chance.
SCALARS = "?bhilqBHILQefdFDS"


def is_self_contained(dtype: np.dtype[Any]) -> bool:
    """Tell whether an element is all there is to write: any rank can put its bytes where they belong. Independent.

    Text of variable length lies in heaps that only HDF5 keeps, and references name objects by where HDF5 has put them.
    Compound types count if all their fields do and no byte between them is left to chance.
    """
    if dtype.names is None:
        return dtype.char in SCALARS and dtype.itemsize > 0
    fields = [dtype[name] for name in dtype.names]
    packed = sum(field.itemsize for field in fields) == dtype.itemsize
    return packed and all(is_self_contained(field.base) for field in fields)


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
