"""``in_file_dtype``: values converted as HDF5 converts them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def in_file_dtype(values: npt.NDArray[Any], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Return ``values`` so that assigning them to an array of ``dtype`` converts as HDF5 does.

    numpy's safe casts give what HDF5 gives. Where a value may not fit, HDF5 takes the nearest that does and
    numpy wraps around; and fields of compound types are matched by name in HDF5, in numpy by their order. There HDF5
    itself converts; a field that ``values`` lack is zero.
    """
    if values.dtype == dtype or (dtype.names is None and np.can_cast(values.dtype, dtype, "safe")):
        return values
    import h5py

    space = np.empty(values.size * max(values.itemsize, dtype.itemsize), dtype=np.uint8)
    lacking = np.zeros_like(space) if dtype.names else None
    space[: values.nbytes] = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    source, target = (h5py.h5t.py_create(kind, logical=True) for kind in (values.dtype, dtype))
    h5py.h5t.convert(source, target, values.size, space, lacking)
    return space[: values.size * dtype.itemsize].view(dtype).reshape(values.shape)
