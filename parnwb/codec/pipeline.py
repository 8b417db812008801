"""Pipelines: the filters of one dataset, applied to one chunk after another."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from parnwb.codec.deflate import open_deflater
from parnwb.codec.filters import DEFLATE, FLETCHER32, NUMCODECS, SHUFFLE, fletcher32, row_length, shuffle
from parnwb.codec.native import NativeFilters
from parnwb.codec.protocol import Pipeline
from parnwb.codec.zarr import Codecs, GzipFrames, in_deflate
from parnwb.layout import DatasetSpec

OWN_ORDER = (SHUFFLE, DEFLATE, FLETCHER32)


def open_pipeline(spec: DatasetSpec) -> Pipeline:
    """Return the pipeline of a dataset; without a coder in ``spec``, zlib at the filter's own level.

    Raises
    ------
    CodecError
        A filter that this build of HDF5 cannot apply, or a codec that is not installed.
    """
    identifiers = tuple(f.identifier for f in spec.filters)
    if not identifiers:
        return Unfiltered()
    if identifiers == tuple(f for f in OWN_ORDER if f in identifiers):
        return OwnFilters(spec)
    if NUMCODECS not in identifiers:
        return NativeFilters(spec)
    if (deflated := in_deflate(spec)) is None:
        return Codecs(spec)
    return GzipFrames(OwnFilters(deflated), spec.itemsize if SHUFFLE in identifiers else 1)


class Unfiltered:
    """No filter: the chunk's own bytes."""

    def encode(self, chunk: npt.NDArray[Any]) -> tuple[int, Any]:
        """Return the chunk's own bytes."""
        return 0, np.ascontiguousarray(chunk).reshape(-1).view(np.uint8).data


class OwnFilters:
    """Shuffle, deflate and fletcher32, in this order, each where the dataset has it."""

    def __init__(self, spec: DatasetSpec) -> None:
        options = {f.identifier: f.options for f in spec.filters}
        self._itemsize = spec.itemsize if SHUFFLE in options else 1
        self._deflater = None
        if DEFLATE in options:
            name = spec.coder or f"zlib-{options[DEFLATE][0]}"
            row = row_length(spec.grid.chunk) * spec.itemsize // self._itemsize
            self._deflater = open_deflater(name, shuffled_itemsize=self._itemsize, row=row)
        self._checksum = FLETCHER32 in options

    def encode(self, chunk: npt.NDArray[Any]) -> tuple[int, Any]:
        """Return the filtered bytes; no filter is ever skipped."""
        data: Any = chunk.reshape(-1).view(np.uint8)
        if self._deflater is not None:
            data = self._deflater.compress(data)
        elif self._itemsize > 1:
            data = shuffle(data, self._itemsize, np.empty_like(data))
        else:
            data = data.tobytes()
        if self._checksum:
            data = bytes(data) + fletcher32(data)
        return 0, data
