"""References to objects and regions: where they lead, and the same in another file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from parnwb.rewriting.names import attribute_names
from parnwb.rewriting.types import holds, is_reference

Key = tuple[int, int]  # file and address: the identity of an object
Translate = Callable[[Any], Any]


def key_of(thing: Any) -> Key:
    """Return what tells an open object from all others. Independent."""
    info = h5py.h5o.get_info(thing)
    return info.fileno, info.addr


def target_of(reference: Any, file: h5py.File) -> Any:
    """Return the object that a reference leads to, None where there is none. Independent."""
    if not reference:
        return None
    try:
        return h5py.h5r.dereference(reference, file.id)
    except Exception:  # noqa: BLE001 - HDF5 has several words for an object that is gone
        return None


def reference_attributes(thing: Any) -> Iterator[bytes]:
    """Iterate over the names of those attributes of an object that hold references. Independent."""
    for name in attribute_names(thing):
        if holds(h5py.h5a.open(thing, name).get_type(), is_reference):
            yield name


def values_of(owner: Any) -> npt.NDArray[Any] | None:
    """Return all values of an open attribute or dataset, as h5py maps them; None where there are none. Independent."""
    if owner.get_space().get_simple_extent_type() == h5py.h5s.NULL:
        return None
    values = np.empty(owner.shape, dtype=owner.dtype)
    if not values.size:
        return None
    if isinstance(owner, h5py.h5d.DatasetID):
        owner.read(h5py.h5s.ALL, h5py.h5s.ALL, values)
    else:
        owner.read(values)
    return values


def put_values(owner: Any, values: npt.NDArray[Any]) -> None:
    """Write all values of an open attribute or dataset. Independent."""
    if isinstance(owner, h5py.h5d.DatasetID):
        owner.write(h5py.h5s.ALL, h5py.h5s.ALL, values)
    else:
        owner.write(values)


def translated(values: npt.NDArray[Any], translate: Translate) -> npt.NDArray[Any]:
    """Return values with another reference for each. Independent.

    Parameters
    ----------
    values
        References, compound values or sequences of variable length that have some, as h5py maps them.
    translate
        Is given each reference, null ones too.
    """
    kind = values.dtype
    if kind.names is not None:
        changed = values.copy()
        for name in kind.names:
            if kind[name].hasobject:
                changed[name] = translated(values[name], translate)
        return changed
    inner = h5py.check_vlen_dtype(kind)
    if h5py.check_ref_dtype(kind) is None and not isinstance(inner, np.dtype):
        return values  # text, numbers
    changed = np.empty(values.shape, dtype=kind)
    each = changed.reshape(-1)  # of one dimension: an array can be an element of that, and not of none
    for number, value in enumerate(values.reshape(-1)):
        each[number] = translate(value) if inner is None else translated(_typed(value, inner), translate)
    return changed


def _typed(values: npt.NDArray[Any], kind: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return a sequence with the dtype that says what its objects are, which h5py leaves out of inner ones."""
    typed = np.empty(len(values), dtype=kind)
    for number, value in enumerate(values):
        typed[number] = value
    return typed


def references_in(values: npt.NDArray[Any] | None) -> list[Any]:
    """Return all references among values. Independent."""
    found: list[Any] = []

    def note(reference: Any) -> Any:
        found.append(reference)
        return reference

    if values is not None:
        translated(values, note)
    return found
