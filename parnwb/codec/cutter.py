"""``ChunkCutter``: whole chunks in the file's dtype, cut out of the buffers that sources return."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from parnwb.hyperslab import Hyperslab
from parnwb.layout import DatasetSpec


class ChunkCutter:
    """Cuts the chunks of one dataset; one thread at a time, each chunk is valid until the next is cut.

    HDF5 stores every chunk whole: those that stick out of the dataset are padded with the fill value.
    """

    def __init__(self, spec: DatasetSpec) -> None:
        self._spec = spec
        self._chunk = np.empty(spec.grid.chunk, dtype=spec.numpy_dtype)

    def cut(self, values: npt.NDArray[Any], origin: tuple[int, ...], elements: Hyperslab) -> npt.NDArray[Any]:
        """Return one whole chunk.

        Parameters
        ----------
        values
            A buffer.
        origin
            Place of the buffer's first element in the dataset.
        elements
            The part of the dataset that the chunk covers.
        """
        part = values[elements.relative_to(origin).slices]
        whole = elements.count == self._spec.grid.chunk
        if whole and part.flags.c_contiguous and part.dtype == self._spec.numpy_dtype:
            return part
        if not whole:
            self._chunk[...] = self._spec.fill
        target = self._chunk[tuple(slice(0, n) for n in elements.count)]
        target[...] = in_file_dtype(part, self._spec.numpy_dtype)
        return self._chunk


    def cut_exactly(self, values: npt.NDArray[Any], origin: tuple[int, ...], elements: Hyperslab) -> bytes:
        """Return the bytes of just these elements, in C order, for a contiguous dataset."""
        part = values[elements.relative_to(origin).slices]
        return np.ascontiguousarray(in_file_dtype(part, self._spec.numpy_dtype), self._spec.numpy_dtype).tobytes()


def in_file_dtype(values: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return ``values`` so that assigning them to an array of ``dtype`` converts as HDF5 does.

    numpy's safe casts give what HDF5 gives; where a value may not fit, HDF5 takes the nearest that does and
    numpy wraps around, so there HDF5 itself converts.
    """
    if values.dtype == dtype or np.can_cast(values.dtype, dtype, "safe"):
        return values
    import h5py

    space = np.empty(values.size * max(values.itemsize, dtype.itemsize), dtype=np.uint8)
    space[: values.nbytes] = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    source, target = (h5py.h5t.py_create(kind, logical=True) for kind in (values.dtype, dtype))
    h5py.h5t.convert(source, target, values.size, space)
    return space[: values.size * dtype.itemsize].view(dtype).reshape(values.shape)
