"""Settings of datasets that come from or go to a Zarr store: chunks stay, and so does compression that is in both."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import h5py
import numpy as np
from hdmf.backends.hdf5.h5_utils import H5DataIO
from hdmf.build import GroupBuilder

from parnwb.authoring.chunking import auto_chunks
from parnwb.builders import datasets_of, location, unwrapped
from parnwb.codec import choose_coding
from parnwb.codec.filters import DEFLATE, FLETCHER32, NUMCODECS, SHUFFLE
from parnwb.codec.zarr import codec_of, in_deflate
from parnwb.compression import filter_settings, needs_plugin
from parnwb.element import NUMERIC_KINDS
from parnwb.errors import SourceError
from parnwb.layout import ChunkGrid
from parnwb.rewriting.coding import Coding, Recoding
from parnwb.sources.raw_chunks import is_outside, read_spec
from parnwb.sources.sample import sample
from parnwb.sources.zarr import ZarrSource, is_zarr_array, read_zarr_spec
from parnwb.stores.compressor import compressor_settings

SHARED = (SHUFFLE, DEFLATE, FLETCHER32)
"""Filters of HDF5 that are codecs of Zarr, with the same bytes."""


def prepare(recoding: Recoding, threshold: int, *, to_store: bool) -> Callable[[GroupBuilder], None]:
    """Return what gives the datasets of a file their chunks and compression in the new one. Independent.

    Parameters
    ----------
    recoding
        What is asked for.
    threshold
        Of datasets of at least so many bytes; smaller ones stay as they are.
    to_store
        Whether the new file is a Zarr store.

    Raises
    ------
    SourceError
        By what is returned: values of an HDF5 dataset are in other files than its own.
    """

    def change(root: GroupBuilder) -> None:
        for builder in datasets_of(root):
            _check_contained(unwrapped(builder.data), location(builder))
        found = {location(builder): builder for builder in datasets_of(root) if _is_array(unwrapped(builder.data))}
        data = {path: unwrapped(builder.data) for path, builder in found.items()}
        large = [path for path, array in data.items() if array.size * array.dtype.itemsize >= threshold]
        recoding.check_used(large)
        for path, builder in found.items():
            translate = _translation(data[path], to_store=to_store, is_large=path in large)
            if translate is not None:
                builder["data"] = translate(data[path], recoding.of(path) if path in large else Coding())

    return change


def _translation(data: Any, *, to_store: bool, is_large: bool) -> Callable[[Any, Coding], Any] | None:
    """Return what gives a dataset its settings; None where hdmf-zarr copies it, within stores. Independent."""
    if not to_store:
        return for_hdf5
    if isinstance(data, h5py.Dataset):
        return for_store
    return within_stores if is_large else None


def _check_contained(data: Any, path: str) -> None:
    """Refuse a dataset of which hdmf-zarr would hold all values at once, and fill values where a file is missing."""
    dataset = getattr(data, "dataset", data)  # hdmf has those with references in an object of its own
    if isinstance(dataset, h5py.Dataset) and is_outside(dataset):
        what = "a virtual dataset, with values in other files" if dataset.is_virtual else "in external storage"
        raise SourceError(
            f"what is written to another format must be in the file that is read, this dataset is {what}",
            where=f"{dataset.file.filename}:{dataset.name}" if dataset.name else path,
            remedy="Let parnwb merge make one file of it first, and repack that",
        )


def _is_array(data: Any) -> bool:
    known = isinstance(data, h5py.Dataset) or is_zarr_array(data)
    return known and len(data.shape) > 0 and math.prod(data.shape) > 0 and data.dtype.kind in NUMERIC_KINDS


def for_store(dataset: h5py.Dataset, coding: Coding) -> Any:
    """Return an HDF5 dataset with the settings that it has in a store. Independent."""
    from hdmf_zarr import ZarrDataIO

    now = read_spec(dataset)
    given: dict[str, Any] = {"fillvalue": dataset.fillvalue, "chunks": _chunks(now.chunks, dataset, coding)}
    if coding.compression is not None:
        compressor = compressor_settings(coding.compression).get("compressor", True)
        given["compressor"] = False if compressor is None else compressor
    elif all(item.identifier in SHARED for item in now.filters):
        codecs = [codec_of(item) for item in now.filters]
        is_last = bool(now.filters) and now.filters[-1].identifier == DEFLATE
        given["compressor"] = codecs.pop() if is_last else False
        given |= {"filters": codecs} if codecs else {}
    return ZarrDataIO(data=dataset, **given)  # else with the compressor that Zarr takes by default


def within_stores(array: Any, coding: Coding) -> Any:
    """Return a Zarr array with the settings that it has in another store. Independent."""
    from parnwb.stores.anew import AnewIO

    given: dict[str, Any] = {"chunks": _chunks(tuple(array.chunks), array, coding)}
    if array.fill_value is not None:
        given["fillvalue"] = array.fill_value
    if coding.compression is None:
        given["compressor"] = False if array.compressor is None else array.compressor
        given |= {"filters": list(array.filters)} if array.filters else {}
    else:
        compressor = compressor_settings(coding.compression).get("compressor", True)
        given["compressor"] = False if compressor is None else compressor
    return AnewIO(data=array, **given)


def for_hdf5(array: Any, coding: Coding) -> H5DataIO:
    """Return a Zarr array with the settings that it has in an HDF5 file. Independent."""
    now = read_zarr_spec(array)
    chunks = _chunks(now.chunks, array, coding)
    chunks = tuple(min(extent, size) for extent, size in zip(chunks, array.shape, strict=True))
    given: dict[str, Any] = {"chunks": chunks}
    if now.fillvalue.strip(b"\0"):
        given["fillvalue"] = now.fill[()]
    plain = in_deflate(now) or now
    has_own = all(item.identifier != NUMCODECS for item in plain.filters)
    if coding.compression is None and has_own:
        options = {item.identifier: item.options for item in plain.filters}
        given |= {"shuffle": SHUFFLE in options, "fletcher32": FLETCHER32 in options}
        if DEFLATE in options:
            given |= {"compression": "gzip", "compression_opts": options[DEFLATE][0]}
    elif coding.compression in (None, "auto"):
        pieces = sample(ZarrSource(array), ChunkGrid(now.shape, chunks), now.path)
        choice = choose_coding(list(pieces))
        given |= {"compression": "gzip", "compression_opts": choice.level, "shuffle": choice.shuffle}
    elif coding.compression != "none":
        given |= filter_settings(coding.compression)
        given |= {"allow_plugin_filters": True} if needs_plugin(coding.compression) else {}
    return H5DataIO(data=array, **given)


def _chunks(now: tuple[int, ...] | None, data: Any, coding: Coding) -> tuple[int, ...]:
    """Return the chunks of a dataset in the other format; all arrays have some in Zarr."""
    if isinstance(coding.chunks, tuple):
        return coding.chunks
    if coding.chunks is None and now is not None:
        return now
    return auto_chunks(tuple(data.shape), np.dtype(data.dtype).itemsize)
