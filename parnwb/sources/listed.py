"""Lists of numbers, which pynwb turns into an array when it writes them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from parnwb.hyperslab import Hyperslab
from parnwb.sources.access import Access
from parnwb.sources.array import ArraySource


@dataclass(frozen=True, eq=False)
class ListSource:
    """A list or tuple of numbers, of tuples, or of rows; only what is asked for becomes an array. Independent.

    Parameters
    ----------
    items
        The values; rows may be lists or arrays.
    shape
        Of the array that they make.
    dtype
        Type that pynwb gives to the dataset, to which numpy converts every item.
    """

    items: Sequence[Any]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def access(self) -> Access:
        """Always ``Access.RANDOM``."""
        return Access.RANDOM

    @property
    def nbytes(self) -> int:
        """Bytes of all values as an array."""
        return math.prod(self.shape) * self.dtype.itemsize

    def read(self, slab: Hyperslab) -> npt.NDArray[Any]:
        """Return the values of ``slab``, of shape ``slab.count``. Independent.

        Raises
        ------
        ValueError, TypeError, OverflowError
            An item is no number of this type, or rows differ in length.
        """
        rows = self.items[slab.start[0] : slab.stop[0]]
        if len(self.shape) == 1:
            return np.asarray(rows, dtype=self.dtype)
        values = np.empty(slab.count, dtype=self.dtype)
        for number, row in enumerate(rows):  # one at a time: only a part of each may be wanted
            whole = np.asarray(row, dtype=self.dtype)
            if whole.shape != self.shape[1:]:
                place = slab.start[0] + number
                raise ValueError(f"row {place} has shape {whole.shape}, the first one has {self.shape[1:]}")
            values[number] = whole[slab.slices[1:]]
        return values

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel as the array, which is the smaller.

        Raises
        ------
        SourceError
            It has more than ``MAX_PICKLED_BYTES``.
        """
        return ArraySource, (np.asarray(self.items, dtype=self.dtype),)
