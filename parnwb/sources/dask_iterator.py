"""``DaskArrayIterator``: a dask array as one of hdmf's iterators, because pynwb takes no dask arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from hdmf.data_utils import GenericDataChunkIterator

from parnwb.sources.dask import HERE

if TYPE_CHECKING:
    import dask.array


class DaskArrayIterator(GenericDataChunkIterator):
    """A dask array as pynwb and parnwb take it: ``TimeSeries(data=DaskArrayIterator(array), ...)``. Independent.

    Parameters
    ----------
    array
        The array.
    settings
        Of hdmf's ``GenericDataChunkIterator``: ``chunk_shape``, ``buffer_gb`` and so on.
    """

    def __init__(self, array: dask.array.Array, **settings: Any) -> None:
        self.array = array
        super().__init__(**settings)

    def _get_data(self, selection: tuple[slice, ...]) -> npt.NDArray[Any]:
        return np.asarray(self.array[selection].compute(scheduler=HERE))

    def _get_maxshape(self) -> tuple[int, ...]:
        return tuple(int(extent) for extent in self.array.shape)

    def _get_dtype(self) -> np.dtype[Any]:
        return np.dtype(self.array.dtype)
