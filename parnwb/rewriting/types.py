"""What is in the elements of an HDF5 type: references, and what lies in heaps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import h5py

Test = Callable[[Any], bool]


def holds(kind: h5py.h5t.TypeID, test: Test) -> bool:
    """Tell whether a type, or any part of it, passes a test. Independent."""
    if test(kind):
        return True
    if isinstance(kind, h5py.h5t.TypeCompoundID):
        return any(holds(kind.get_member_type(number), test) for number in range(kind.get_nmembers()))
    if isinstance(kind, h5py.h5t.TypeArrayID | h5py.h5t.TypeVlenID):
        return holds(kind.get_super(), test)
    return False


def is_reference(kind: Any) -> bool:
    """Tell whether a type is that of references to objects or regions. Independent."""
    return isinstance(kind, h5py.h5t.TypeReferenceID)


def is_in_heap(kind: Any) -> bool:
    """Tell whether values of a type, of variable length, lie in heaps. Independent."""
    is_text = isinstance(kind, h5py.h5t.TypeStringID) and kind.is_variable_str()
    return bool(is_text or isinstance(kind, h5py.h5t.TypeVlenID))
