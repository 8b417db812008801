"""Chunked datasets of HDF5 files that are written once more with other chunks or filters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from parnwb.codec import open_pipeline
from parnwb.codec.decode import can_decode, decode
from parnwb.codec.native import find_filters
from parnwb.errors import CodecError
from parnwb.hyperslab import Hyperslab
from parnwb.layout import DatasetSpec
from parnwb.sources.blocks import BlockedSource
from parnwb.sources.hdf5 import HDF5DatasetSource
from parnwb.sources.raw_chunks import read_spec
from parnwb.sources.source import Room, Stored

if TYPE_CHECKING:
    import h5py


class ChunkedSource(BlockedSource):
    """A chunked dataset, whose decoded chunks are kept for the next buffer. All calls are independent.

    HDF5 would decode a chunk for each buffer that has a part of it; this does where a row of chunks is larger than the
    cache. What parnwb's own decoder does not know HDF5 reads.

    Parameters
    ----------
    whole
        The dataset.
    spec
        Its layout.
    """

    def __init__(self, whole: HDF5DatasetSource, spec: DatasetSpec) -> None:
        assert spec.chunks is not None
        edges = [
            np.append(np.arange(0, extent, chunk, dtype=np.int64), extent)
            for extent, chunk in zip(spec.shape, spec.chunks, strict=True)
        ]
        super().__init__(whole.shape, whole.dtype, edges)
        self._whole, self._spec, self._decodes = whole, spec, can_decode(spec)
        if not self._decodes:
            find_filters(spec)

    @classmethod
    def of(cls, dataset: h5py.Dataset) -> ChunkedSource:
        """Return the source of an open dataset."""
        return cls(HDF5DatasetSource(dataset), read_spec(dataset))

    def fits(self, spec: DatasetSpec) -> bool:
        """Tell whether the dataset's chunks can be taken over into one of ``spec`` as they are. Independent."""
        return self._whole.fits(spec)

    def read_chunk(self, start: tuple[int, ...], out: Room | None = None) -> tuple[int, Stored] | None:
        """Return ``(filter mask, bytes)`` of the chunk that begins at ``start``; None if it was never written.

        Independent; raises as ``HDF5DatasetSource.read_chunk``.
        """
        return self._whole.read_chunk(start, out)

    def _load(self, index: tuple[int, ...], elements: Hyperslab) -> npt.NDArray[Any]:
        if not self._decodes:
            return self._whole.read(elements)
        stored = self._whole.read_chunk(elements.start)
        if stored is None:
            return np.broadcast_to(self._spec.fill, elements.count)
        try:
            values = decode(self._spec, *stored)
        except CodecError:  # HDF5 says it in its own words, or knows better
            return self._whole.read(elements)
        return values[elements.relative_to(elements.start).slices]

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._whole, self._spec)


class UnmaskedSource(ChunkedSource):
    """A chunked dataset of which every chunk has gone through all filters, as Zarr takes it for granted."""

    def read_chunk(self, start: tuple[int, ...], out: Room | None = None) -> tuple[int, Stored] | None:
        """Return ``(0, bytes)`` of the chunk that begins at ``start``; None if it was never written.

        Where a filter was skipped the chunk is encoded anew. Independent; raises as ``HDF5DatasetSource.read_chunk``.
        """
        stored = super().read_chunk(start, out)
        if stored is None or stored[0] == 0:
            return stored
        grid = self._spec.grid
        index = tuple(n // extent for n, extent in zip(start, grid.chunk, strict=True))
        elements = grid.cell(index)
        chunk = np.full(grid.chunk, self._spec.fill)
        chunk[Hyperslab.whole(elements.count).slices] = self._load(index, elements)
        return open_pipeline(self._spec).encode(chunk)
