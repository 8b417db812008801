"""``RawChunks``: the chunks of an HDF5 dataset as they are stored, to be taken over without decoding them."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from parnwb.element import type_text
from parnwb.errors import SourceError
from parnwb.layout import DatasetSpec, FilterSpec
from parnwb.sources.source import Room, Stored

if TYPE_CHECKING:
    import h5py


class RawChunks:
    """Filtered bytes and filter masks, one chunk at a time. All calls are independent.

    Parameters
    ----------
    dataset
        A chunked dataset of a file that is open.
    """

    def __init__(self, dataset: h5py.Dataset) -> None:
        self._dataset = dataset

    @property
    def stored_bytes(self) -> int:
        """What all chunks take in the file."""
        return int(self._dataset.id.get_storage_size())

    def fit(self, spec: DatasetSpec) -> bool:
        """Tell whether these bytes mean the same as chunks of a dataset of ``spec``."""
        found = read_spec(self._dataset)
        return found.chunks is not None and found.means_as_stored(spec)

    def read(self, start: tuple[int, ...], out: Room | None = None) -> tuple[int, Stored] | None:
        """Return ``(filter mask, bytes)`` of the chunk that begins at ``start``; None if it was never written.

        Parameters
        ----------
        out
            Memory that the bytes are to be in, if it is large enough; h5py has new memory for every chunk otherwise.

        Raises
        ------
        SourceError
            HDF5 cannot read it.
        """
        try:
            mask, stored = self._read(start, out)
        except Exception as error:
            if self._is_missing(start):
                return None
            raise SourceError(
                f"a chunk cannot be read as it is stored: {type(error).__name__}: {error}",
                where=f"{self._dataset.file.filename}:{self._dataset.name}, chunk at {start}",
                remedy="Check the file, with parnwb verify or h5check",
            ) from error
        return mask, stored

    @cached_property
    def _descriptor(self) -> int | None:
        """HDF5's own descriptor of the file, where its bytes are at the addresses that HDF5 tells."""
        return plain_descriptor(self._dataset.file)

    def _read(self, start: tuple[int, ...], out: Room | None) -> tuple[int, Stored]:
        if out is not None:
            if (found := self._read_past_hdf5(start, out)) is not None:
                return found
            try:
                return self._dataset.id.read_direct_chunk(start, out=out)
            except (ValueError, TypeError):  # too small: filters made this chunk larger
                pass
        mask, stored = self._dataset.id.read_direct_chunk(start)
        return mask, bytes(stored)

    def _read_past_hdf5(self, start: tuple[int, ...], out: Room) -> tuple[int, Stored] | None:
        """Read from the file itself; None if HDF5 has to.

        HDF5 lets in one thread at a time, and others wait for it; and where a file was cut it gives zeros.
        """
        if self._descriptor is None:
            return None
        info = self._dataset.id.get_chunk_info_by_coord(start)
        if info.byte_offset is None or info.size > len(out):
            return None
        view, done = out.data[: info.size], 0
        while done < info.size:
            count = os.preadv(self._descriptor, [view[done:]], info.byte_offset + done)
            if count == 0:
                raise OSError(f"the file ends after {done} of its {info.size} bytes")
            done += count
        return int(info.filter_mask), view

    def _is_missing(self, start: tuple[int, ...]) -> bool:
        try:
            return self._dataset.id.get_chunk_info_by_coord(start).byte_offset is None
        except Exception:  # noqa: BLE001 - what is wrong is told by the error that has been caught already
            return False


def plain_descriptor(file: h5py.File) -> int | None:
    """Return HDF5's own descriptor of a file, None where its bytes are not at the addresses that HDF5 tells."""
    is_plain = file.driver == "sec2" and file.mode == "r" and file.userblock_size == 0
    return int(file.id.get_vfd_handle()) if is_plain else None


def read_spec(dataset: h5py.Dataset) -> DatasetSpec:
    """Return the layout of a dataset as its file records it. Independent."""
    import h5py

    creation = dataset.id.get_create_plist()
    filters = (creation.get_filter(number) for number in range(creation.get_nfilters()))
    fillvalue = b""
    if creation.fill_value_defined() == h5py.h5d.FILL_VALUE_USER_DEFINED:
        value = np.zeros((), dtype=dataset.dtype)
        creation.get_fill_value(value)
        fillvalue = value.tobytes()
    return DatasetSpec(
        path=dataset.name,
        shape=tuple(dataset.shape),
        maxshape=tuple(dataset.maxshape),
        dtype=type_text(dataset.dtype),
        chunks=dataset.chunks,
        filters=tuple(FilterSpec(number, tuple(values), name.decode()) for number, _, values, name in filters),
        fillvalue=fillvalue,
    )


def creation_of_same(dataset: h5py.Dataset) -> h5py.h5p.PropDCID:
    """Return the properties with which HDF5 creates a dataset that is stored as this one. Independent."""
    import h5py

    creation, filters = dataset.id.get_create_plist(), read_spec(dataset).filters
    if any(item.options != item.given_options for item in filters):
        for item in filters:  # HDF5 would record other options, with which no chunk can be decoded
            creation.remove_filter(item.identifier)
        for item in filters:
            creation.set_filter(item.identifier, h5py.h5z.FLAG_OPTIONAL, item.given_options)
    return creation


def creation_of_spec(spec: DatasetSpec) -> h5py.h5p.PropDCID:
    """Return the properties with which HDF5 creates a dataset of a layout, anew. Independent."""
    import h5py

    creation = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    if spec.fillvalue:
        creation.set_fill_value(spec.fill)
    if spec.chunks is not None:
        creation.set_chunk(spec.chunks)
    for item in spec.filters:
        creation.set_filter(item.identifier, h5py.h5z.FLAG_OPTIONAL, item.given_options)
    return creation


def is_outside(dataset: h5py.Dataset) -> bool:
    """Tell whether values are not in the dataset's own file: a virtual dataset, or external storage. Independent."""
    import h5py

    creation = dataset.id.get_create_plist()
    return bool(creation.get_layout() == h5py.h5d.VIRTUAL or creation.get_external_count() > 0)


def is_plain(dataset: h5py.Dataset) -> bool:
    """Tell whether a dataset is stored as the dtype that h5py shows, and where ranks can reach it. Independent."""
    import h5py

    creation = dataset.id.get_create_plist()
    layouts = (h5py.h5d.CHUNKED, h5py.h5d.CONTIGUOUS)
    # Of numbers with fewer bits than their bytes have, as N-bit packs them, only HDF5 knows where the bits go.
    own = h5py.h5t.py_create(dataset.dtype, logical=True)
    return (
        creation.get_layout() in layouts and not is_outside(dataset) and bool(dataset.id.get_type().equal(own))
    )
