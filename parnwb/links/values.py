"""Values of attributes: whether two mean the same, and how a message shows them."""

from __future__ import annotations

from typing import Any

import numpy as np

# Numbers that went through another precision are the same.
TOLERANCE = 1e-6


def equal(one: Any, other: Any) -> bool:
    """Tell whether two values of an attribute mean the same. Independent."""
    one, other = _bare(one), _bare(other)
    if isinstance(one, float | int) and isinstance(other, float | int):
        return one == other or (one != one and other != other) or abs(one - other) <= TOLERANCE * abs(one)
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return bool(np.array_equal(np.asarray(one), np.asarray(other)))
    return bool(one == other)


def _bare(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, np.ndarray | list | tuple):
        array = np.asarray(value)
        return array if array.ndim else array.item()
    return value.item() if isinstance(value, np.generic) else value


def shown(value: Any) -> str:
    """Return a value for a message. Independent."""
    return repr(_bare(value))
