"""``spec_of``: a Zarr array as a layout has it."""

from __future__ import annotations

import numpy as np
import zarr

from parnwb.codec.zarr import filters_of
from parnwb.element import type_text
from parnwb.layout import DatasetSpec


def spec_of(array: zarr.Array, path: str) -> DatasetSpec:
    """Return an array as a layout has it. Independent."""
    codecs = [*(array.filters or ()), *([array.compressor] if array.compressor is not None else ())]
    dtype, shape = np.dtype(array.dtype), tuple(int(extent) for extent in array.shape)
    fill = np.array(0 if array.fill_value is None else array.fill_value, dtype=dtype)
    return DatasetSpec(
        path=path,
        shape=shape,
        maxshape=shape,
        dtype=type_text(dtype),
        chunks=tuple(int(extent) for extent in array.chunks),
        filters=filters_of([codec.get_config() for codec in codecs], dtype.itemsize),
        fillvalue=fill.tobytes(),
    )
