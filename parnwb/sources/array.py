"""Values that are already in memory, and the dtype conversion that hdmf does to some of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from parnwb.errors import SourceError
from parnwb.hyperslab import Hyperslab
from parnwb.machine.foresight import FileRange
from parnwb.sources.access import Access
from parnwb.sources.source import PiecewiseSource, Source, file_ranges, read_beside, reads_whole_rows

MAX_PICKLED_BYTES = 64 * 2**20
"""Arrays above this size, in bytes, are not sent to ranks that do not build the NWBFile themselves."""


@dataclass(frozen=True, eq=False)
class ArraySource:
    """An array in memory. All calls are independent.

    Parameters
    ----------
    array
        The values, of any shape and dtype; a subclass such as ``np.memmap`` is seen as the plain array it is.
    """

    array: npt.NDArray[Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "array", np.asarray(self.array))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array, in elements."""
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the array, byte order included."""
        return self.array.dtype

    @property
    def access(self) -> Access:
        """Always ``Access.RANDOM``."""
        return Access.RANDOM

    def read(self, slab: Hyperslab) -> npt.NDArray[Any]:
        """Return a view of ``slab``, of shape ``slab.count``; nothing is copied. Independent."""
        box: Any = (*slab.slices, ...)  # the ellipsis keeps the one element of a scalar an array
        return self.array[box]

    def __getstate__(self) -> dict[str, Any]:
        """Return the array to pickle.

        Raises
        ------
        SourceError
            The array is larger than ``MAX_PICKLED_BYTES``.
        """
        if self.array.nbytes > MAX_PICKLED_BYTES:
            raise SourceError(
                f"an array sent to other ranks has at most {MAX_PICKLED_BYTES} bytes, "
                f"this one has {self.array.nbytes}",
                where=f"array of shape {self.shape} and dtype {self.dtype}",
                remedy="Keep the values in a file and pass an np.memmap, or build the NWBFile on every rank",
            )
        return {"array": np.ascontiguousarray(self.array).reshape(self.shape)}


def cast_to(source: Source, dtype: np.dtype[Any]) -> Source:
    """Return a source whose values are of a dtype, converted by numpy where they are of another. Independent."""
    return source if source.dtype == dtype else CastSource(source, dtype)


@dataclass(frozen=True)
class CastSource:
    """Another source, its values converted as hdmf converts bare arrays. All calls are independent.

    Parameters
    ----------
    source
        Where the values come from.
    dtype
        The type that ``read`` returns; the conversion is numpy's ``astype``.
    """

    source: Source
    dtype: np.dtype[Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", np.dtype(self.dtype))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the inner source, in elements."""
        return self.source.shape

    @property
    def access(self) -> Access:
        """What the inner source promises."""
        return self.source.access

    @property
    def whole_rows(self) -> bool:
        """Whether the inner source reads all of a row for any part of it."""
        return reads_whole_rows(self.source)

    @property
    def read_beside(self) -> int:
        """What is read beside the values of the inner source, in bytes of its type."""
        return read_beside(self.source)

    def read(self, slab: Hyperslab) -> npt.NDArray[Any]:
        """Return the converted values of ``slab``, of shape ``slab.count``. Independent.

        Raises
        ------
        SourceError
            The inner source could not be read.
        """
        return self.source.read(slab).astype(self.dtype, copy=False)

    def pieces(self, slab: Hyperslab) -> Iterator[tuple[Hyperslab, npt.NDArray[Any]]]:
        """Iterate over the inner source's pieces, converted. Independent."""
        inner = self.source.pieces(slab) if isinstance(self.source, PiecewiseSource) else [(slab, self.read(slab))]
        for part, values in inner:
            yield part, values.astype(self.dtype, copy=False)

    def file_ranges(self, slab: Hyperslab) -> list[FileRange]:
        """Return where the inner source has its values. Independent."""
        return file_ranges(self.source, slab)
