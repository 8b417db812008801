"""Zarr arrays, of Zarr 2 and 3."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from parnwb.codec.zarr import filters_of
from parnwb.element import type_text
from parnwb.errors import SourceError
from parnwb.hyperslab import Hyperslab
from parnwb.layout import DatasetSpec
from parnwb.sources.array import MAX_PICKLED_BYTES
from parnwb.sources.blocks import BlockedSource
from parnwb.sources.source import Room, Stored

STORES_IN_MEMORY = ("MemoryStore", "KVStore", "GpuMemoryStore")


def is_zarr_array(data: Any) -> bool:
    """Tell whether ``data`` is a Zarr array. Independent; Zarr is not imported for it."""
    kind = getattr(sys.modules.get("zarr"), "Array", None)
    return kind is not None and isinstance(data, kind)


def read_zarr_spec(array: Any, path: str = "") -> DatasetSpec:
    """Return how an array of Zarr 2 is stored. Independent.

    Parameters
    ----------
    array
        A ``zarr.Array``.
    path
        Of the dataset; the array's own if there is none.
    """
    codecs = [*(array.filters or ()), *([array.compressor] if array.compressor is not None else ())]
    dtype, shape = np.dtype(array.dtype), tuple(int(extent) for extent in array.shape)
    fill = np.array(0 if array.fill_value is None else array.fill_value, dtype=dtype)
    return DatasetSpec(
        path=path or array.name,
        shape=shape,
        maxshape=shape,
        dtype=type_text(dtype),
        chunks=tuple(int(extent) for extent in array.chunks),
        filters=filters_of([codec.get_config() for codec in codecs], dtype.itemsize),
        fillvalue=fill.tobytes(),
    )


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

    def fits(self, spec: DatasetSpec) -> bool:
        """Tell whether the array's chunks can be taken over into a dataset of ``spec`` as they are. Independent."""
        if not hasattr(self._array, "chunk_store") or self._array.order != "C" or self._array.dtype.hasobject:
            return False  # it is of Zarr 3, or its chunks have another order
        return read_zarr_spec(self._array).means_as_stored(spec)

    def read_chunk(self, start: tuple[int, ...], out: Room | None = None) -> tuple[int, Stored] | None:
        """Return ``(0, bytes)`` of the chunk that begins at ``start``; None if it has no file. Independent.

        Parameters
        ----------
        out
            Not looked at: Zarr has memory of its own.
        """
        index = tuple(n // extent for n, extent in zip(start, self._array.chunks, strict=True))
        try:
            return 0, memoryview(self._array.chunk_store[self._array._chunk_key(index)]).cast("B")
        except KeyError:
            return None

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
