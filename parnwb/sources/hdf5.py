"""Datasets of other HDF5 files."""

from __future__ import annotations

import os
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from parnwb.errors import SourceError
from parnwb.hyperslab import Hyperslab
from parnwb.layout import DatasetSpec
from parnwb.machine.foresight import FileRange
from parnwb.machine.open_files import most_open, room_for
from parnwb.sources.access import Access
from parnwb.sources.binary import MOST_RANGES, byte_runs
from parnwb.sources.raw_chunks import RawChunks, is_outside, plain_descriptor
from parnwb.sources.source import Room, Stored

if TYPE_CHECKING:
    import h5py

SIEVE_BYTES = 64 * 2**10
"""Of a contiguous dataset HDF5 reads so much at once for selections with gaps, by default."""


class HDF5DatasetSource:
    """A dataset of an HDF5 file that is open for reading. All calls are independent.

    It pickles to the file's absolute path and the dataset's path; another process opens the file read-only
    when it first reads.

    Parameters
    ----------
    dataset
        The open dataset.
    """

    def __init__(self, dataset: h5py.Dataset) -> None:
        self._dataset: h5py.Dataset | None = dataset
        self._chunks: RawChunks | None = None
        self._shape = tuple(int(extent) for extent in dataset.shape)
        self._dtype = np.dtype(dataset.dtype)
        self._file = os.path.abspath(os.fsdecode(dataset.file.filename))
        self._path = dataset.name
        self._has_room = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the dataset, in elements."""
        return self._shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dataset's dtype, byte order included."""
        return self._dtype

    @property
    def access(self) -> Access:
        """Always ``Access.RANDOM``."""
        return Access.RANDOM

    @property
    def dataset(self) -> h5py.Dataset:
        """The open dataset."""
        return self._opened()

    def read(self, slab: Hyperslab) -> npt.NDArray[Any]:
        """Return the values of ``slab``, of shape ``slab.count``. Independent.

        Raises
        ------
        SourceError
            The file cannot be opened again, or no longer holds this dataset.
        """
        dataset = self._opened()
        if not self._has_room:
            self._make_room(dataset)
        box: Any = (*slab.slices, ...)  # the ellipsis keeps the one element of a scalar an array
        return np.asarray(dataset[box])

    def file_ranges(self, slab: Hyperslab) -> list[FileRange]:
        """Return the bytes of a contiguous dataset that reading ``slab`` will read; of others none. Independent.

        Raises
        ------
        SourceError
            The file cannot be opened again.
        """
        dataset = self._opened()
        descriptor = plain_descriptor(dataset.file)
        if descriptor is None or dataset.chunks is not None or is_outside(dataset):
            return []
        offset = dataset.id.get_offset()
        if offset is None:  # nothing was written, or all of it is in the header
            return []
        runs = byte_runs(slab, self._shape, self._dtype.itemsize, int(offset), SIEVE_BYTES)
        return [FileRange(descriptor, begin, nbytes) for begin, nbytes in islice(runs, MOST_RANGES)]

    def fits(self, spec: DatasetSpec) -> bool:
        """Tell whether the dataset's chunks can be taken over into one of ``spec`` as they are. Independent."""
        return RawChunks(self._opened()).fit(spec)

    def read_chunk(self, start: tuple[int, ...], out: Room | None = None) -> tuple[int, Stored] | None:
        """Return ``(filter mask, bytes)`` of the chunk that begins at ``start``; None if it was never written.

        Independent.

        Raises
        ------
        SourceError
            The file cannot be opened again, or the chunk not be read.
        """
        if self._chunks is None:
            self._chunks = RawChunks(self._opened())
        return self._chunks.read(start, out)

    def __getstate__(self) -> dict[str, Any]:
        """Return the description to pickle.

        Raises
        ------
        SourceError
            The dataset has no path, or its file is not on disk, or is open for writing.
        """
        if self._path is None or not os.path.isfile(self._file):
            raise SourceError(
                "an HDF5 dataset is sent to other ranks by its path in a file on disk, this one has none",
                where=f"{self._file}:{self._path}",
                remedy="Save it to a file first, or build the NWBFile on every rank",
            )
        if self._dataset is not None and self._dataset.file.mode != "r":
            raise SourceError(
                "an HDF5 dataset is sent to other ranks by its path, and this program has its file open for writing: "
                "they would read what is on disk so far",
                where=f"{self._file}:{self._path}",
                remedy="Close that file and open it in mode 'r'",
            )
        return {**self.__dict__, "_dataset": None, "_chunks": None, "_has_room": False}

    def __repr__(self) -> str:
        return f"HDF5DatasetSource({self._file}:{self._path}, {self._shape}, {self._dtype})"

    def _opened(self) -> h5py.Dataset:
        if self._dataset is None:
            self._dataset = self._reopened()
        return self._dataset

    def _make_room(self, dataset: h5py.Dataset) -> None:
        """See to it that all parts of a virtual dataset can be open."""
        parts = len({part.file_name for part in dataset.virtual_sources()}) if dataset.is_virtual else 0
        if parts and not room_for(parts):
            raise SourceError(
                f"a virtual dataset of {parts} files cannot be read where {most_open()} can be open: HDF5 takes fill "
                "values for the rest",
                where=f"{self._file}:{self._path}",
                remedy="Raise the limit (ulimit -Hn) on all hosts",
            )
        self._has_room = True

    def _reopened(self) -> h5py.Dataset:
        import h5py

        try:
            dataset = h5py.File(self._file, "r")[self._path]
        except (OSError, KeyError) as error:
            raise SourceError(
                f"an HDF5 source must be readable on every rank: {error}",
                where=f"{self._file}:{self._path}",
                remedy="Open it read-only where the NWBFile is built, on a file system that all ranks see",
            ) from error
        same = (
            isinstance(dataset, h5py.Dataset)
            and dataset.shape == self._shape
            and dataset.dtype == self._dtype
        )
        if not same:
            raise SourceError(
                f"an HDF5 source must not change: expected {self._shape} of {self._dtype}, found {dataset}",
                where=f"{self._file}:{self._path}",
                remedy="Do not write to the file during the conversion",
            )
        return dataset
