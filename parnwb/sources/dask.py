"""Dask arrays, read by their own blocks."""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from parnwb.errors import SourceError
from parnwb.hyperslab import Hyperslab
from parnwb.sources.array import MAX_PICKLED_BYTES
from parnwb.sources.blocks import BlockedSource

if TYPE_CHECKING:
    import dask.array

HERE = "synchronous"  # dask's scheduler that starts neither threads, which ranks have no cores for, nor processes


class DaskSource(BlockedSource):
    """A dask array, computed by its own blocks in the thread that asks. All calls are independent.

    Each rank computes what it writes. It pickles to the graph, by cloudpickle, which dask brings along.

    Parameters
    ----------
    array
        The array.

    Raises
    ------
    SourceError
        The array does not know its shape.
    """

    def __init__(self, array: dask.array.Array) -> None:
        if any(np.isnan(size) for sizes in array.chunks for size in sizes):
            raise SourceError(
                f"a dask array must know the sizes of its blocks, got {array.chunks}",
                remedy="Call compute_chunk_sizes() on it first",
            )
        edges = [np.cumsum([0, *sizes], dtype=np.int64) for sizes in array.chunks]
        super().__init__(tuple(int(extent) for extent in array.shape), np.dtype(array.dtype), edges)
        self._array = array

    def _load(self, index: tuple[int, ...], elements: Hyperslab) -> npt.NDArray[Any]:
        return np.asarray(self._array.blocks[index].compute(scheduler=HERE))

    def __reduce__(self) -> tuple[Any, ...]:
        import cloudpickle

        raw = cloudpickle.dumps(self._array)
        if len(raw) > MAX_PICKLED_BYTES:
            raise SourceError(
                f"a dask array sent to other ranks takes at most {MAX_PICKLED_BYTES} bytes as a graph, "
                f"this one takes {len(raw)}",
                where=f"dask array of shape {self.shape}",
                remedy="Let the graph read files instead of holding values, or build the NWBFile on every rank",
            )
        return _unpickled, (raw,)


def _unpickled(raw: bytes) -> DaskSource:
    return DaskSource(pickle.loads(raw))
