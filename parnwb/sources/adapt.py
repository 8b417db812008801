"""From whatever a user puts into an NWBFile to a source: one dispatch."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from parnwb.errors import SourceError
from parnwb.sources.access import Access
from parnwb.sources.array import ArraySource
from parnwb.sources.binary import BinarySource
from parnwb.sources.dask import DaskSource
from parnwb.sources.hdf5 import HDF5DatasetSource
from parnwb.sources.iterator import IteratorSource, probed, sequential
from parnwb.sources.recording import recording_source
from parnwb.sources.source import Source
from parnwb.sources.zarr import ZarrSource, is_zarr_array


def as_source(data: Any) -> Source:
    """Return the source that reads ``data``. Independent; an unknown iterator is asked for a few of its rows.

    Parameters
    ----------
    data
        An array, a memory-mapped array, an ``h5py.Dataset``, a Zarr or dask array, a ``GenericDataChunkIterator`` of
        hdmf or neuroconv, any other iterator of hdmf, a ``Stream``, or an object that already is a ``Source``; not
        wrapped in a ``DataIO``.

    Raises
    ------
    SourceError
        No adapter knows this type, or the data behind it is damaged.
    """
    if isinstance(data, np.ndarray):
        return BinarySource.from_memmap(data) or ArraySource(data)
    if _is_a(data, "h5py", "Dataset"):
        return HDF5DatasetSource(data)
    if is_zarr_array(data):
        return ZarrSource(data)
    if _is_a(data, "dask.array", "Array"):
        return DaskSource(data)
    if _is_a(data, "hdmf.data_utils", "GenericDataChunkIterator"):
        return _iterator_source(data)
    if isinstance(data, Source):
        return data
    if _is_a(data, "hdmf.data_utils", "AbstractDataChunkIterator"):
        from parnwb.sources.growing import GrowingSource

        return GrowingSource(data)
    raise SourceError(
        f"no source reads objects of type {type(data).__module__}.{type(data).__qualname__}",
        remedy="Pass an array, an np.memmap, an h5py.Dataset, a Zarr array or a GenericDataChunkIterator",
    )


def is_source_like(data: Any) -> bool:
    """Tell whether ``as_source`` takes ``data``, without reading any of it. Independent."""
    return (
        isinstance(data, np.ndarray | Source)
        or is_zarr_array(data)
        or _is_a(data, "h5py", "Dataset")
        or _is_a(data, "dask.array", "Array")
        or _is_a(data, "hdmf.data_utils", "GenericDataChunkIterator")
    )


def _iterator_source(iterator: Any) -> Source:
    # Only the classes themselves are known; a subclass may answer otherwise and is probed.
    if type(iterator) is _loaded("parnwb.sources.dask_iterator", "DaskArrayIterator"):
        return DaskSource(iterator.array)
    if type(iterator) is _loaded("neuroconv.tools.hdmf", "SliceableDataChunkIterator"):
        inner = iterator.data
        return as_source(inner) if is_source_like(inner) else IteratorSource(iterator, Access.RANDOM)
    if type(iterator) is _loaded(
        "neuroconv.tools.spikeinterface.spikeinterfacerecordingdatachunkiterator",
        "SpikeInterfaceRecordingDataChunkIterator",
    ):
        return recording_source(iterator.recording, iterator.segment_index, iterator.return_in_uV)
    if type(iterator) is _loaded("neuroconv.datainterfaces.behavior.video.video_utils", "VideoDataChunkIterator"):
        return sequential(iterator)
    if type(iterator) is _loaded("parnwb.movies.frames", "MovieFrames"):
        return IteratorSource(iterator)  # any frames, at any time; but whole ones are decoded
    return probed(iterator)


def _is_a(data: Any, module: str, name: str) -> bool:
    kind = _loaded(module, name)
    return kind is not None and isinstance(data, kind)


def _loaded(module: str, name: str) -> Any:
    """Return a class of a library that is already imported: no object can be of a class that is not."""
    return getattr(sys.modules.get(module), name, None)
