"""Zarr arrays, of Zarr 2 and 3."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from parnwb.errors import SourceError
from parnwb.hyperslab import Hyperslab
from parnwb.sources.array import MAX_PICKLED_BYTES
from parnwb.sources.blocks import BlockedSource

STORES_IN_MEMORY = ("MemoryStore", "KVStore", "GpuMemoryStore")


def is_zarr_array(data: Any) -> bool:
    """Tell whether ``data`` is a Zarr array. Independent; Zarr is not imported for it."""
    kind = getattr(sys.modules.get("zarr"), "Array", None)
    return kind is not None and isinstance(data, kind)


class ZarrSource(BlockedSource):
    """An array in a Zarr store, read by its own chunks. All calls are independent.

    It pickles as Zarr pickles the array: to the store's description, where the store is a folder or a URL.

    Parameters
    ----------
    array
        A ``zarr.Array`` open for reading.
    """

    def __init__(self, array: Any) -> None:
        shape = tuple(int(extent) for extent in array.shape)
        edges = [
            np.append(np.arange(0, extent, chunk, dtype=np.int64), extent)
            for extent, chunk in zip(shape, array.chunks, strict=True)
        ]
        super().__init__(shape, np.dtype(array.dtype), edges)
        self._array = array

    def _load(self, index: tuple[int, ...], elements: Hyperslab) -> npt.NDArray[Any]:
        box: Any = (*elements.slices, ...)  # the ellipsis keeps the one element of a scalar an array
        return np.asarray(self._array[box])

    def __reduce__(self) -> tuple[Any, ...]:
        store = type(self._array.store).__name__
        if store in STORES_IN_MEMORY and self._array.nbytes > MAX_PICKLED_BYTES:
            raise SourceError(
                f"a Zarr array sent to other ranks has at most {MAX_PICKLED_BYTES} bytes if its store is in memory, "
                f"this one has {self._array.nbytes}",
                where=f"{store} of shape {self.shape}",
                remedy="Keep it in a folder, or build the NWBFile on every rank",
            )
        return type(self), (self._array,)
