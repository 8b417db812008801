"""What the file will hold: one ``DatasetSpec`` per bulk dataset, as hdmf created it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from parnwb.element import type_of
from parnwb.errors import LayoutError
from parnwb.hyperslab import Hyperslab, ravel, unravel

CONTIGUOUS_PIECE_BYTES = 4 * 1024 * 1024


BITSHUFFLE = 32008
# Options that a filter puts before those it is given, each time that a dataset is created.
PREPENDED = {BITSHUFFLE: 3}


@dataclass(frozen=True)
class FilterSpec:
    """One filter of a dataset's pipeline, as HDF5 records it.

    Parameters
    ----------
    identifier
        Registered filter number: 1 deflate, 2 shuffle, 3 fletcher32, ...; below 0 for what only Zarr has, see
        ``parnwb.codec.zarr``.
    options
        The filter's client data.
    name
        Name that HDF5 stores with it.
    """

    identifier: int
    options: tuple[int, ...]
    name: str

    @property
    def given_options(self) -> tuple[int, ...]:
        """The options that make HDF5 record these when it creates a dataset with the filter.

        Most filters record the same whether they are given what a user says or what they have recorded themselves.
        """
        return self.options[PREPENDED.get(self.identifier, 0) :]


@dataclass(frozen=True)
class ChunkGrid:
    """The chunks of a dataset as cells of a grid.

    For a contiguous dataset the cells are pieces that lie in one run of the file each; they exist in the
    plan only.

    Parameters
    ----------
    shape
        Of the dataset.
    chunk
        Of a cell.
    major
        The axis that comes first in the order of positions: the one along which a dataset grows, so that growing
        changes no position. For 0 that is C order.
    """

    shape: tuple[int, ...]
    chunk: tuple[int, ...]
    major: int = 0

    def __post_init__(self) -> None:
        if len(self.shape) != len(self.chunk) or any(extent < 1 for extent in self.chunk):
            raise LayoutError(
                f"chunk extents must be positive, one for each axis, got {self.chunk} for shape {self.shape}"
            )

    @cached_property
    def extent(self) -> tuple[int, ...]:
        """Number of cells along each axis."""
        return tuple(-(-n // c) for n, c in zip(self.shape, self.chunk, strict=True))

    def position(self, index: tuple[int, ...]) -> int:
        """Return the number of a cell."""
        return ravel(self._turned(index), self._turned(self.extent))

    def index(self, position: int) -> tuple[int, ...]:
        """Return the cell of a number."""
        first, *others = unravel(position, self._turned(self.extent))
        return (*others[: self.major], first, *others[self.major :])

    def indices(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the cells of numbers, a row for each; as ``index``, for many at once."""
        unraveled = np.stack(np.unravel_index(positions, self._turned(self.extent)), axis=1)
        if self.major:
            others = [axis for axis in range(len(self.shape)) if axis != self.major]
            unraveled[:, [self.major, *others]] = unraveled.copy()
        return unraveled

    def _turned(self, values: tuple[int, ...]) -> tuple[int, ...]:
        if not self.major:
            return values
        return (values[self.major], *values[: self.major], *values[self.major + 1 :])

    @property
    def layer(self) -> int:
        """Number of cells that share an index along the major axis."""
        return math.prod(extent for axis, extent in enumerate(self.extent) if axis != self.major)

    @property
    def size(self) -> int:
        """Number of cells."""
        return math.prod(self.extent)

    def cell(self, index: tuple[int, ...]) -> Hyperslab:
        """Return the elements of one cell, cut at the array's end."""
        return Hyperslab(index, (1,) * len(index)).scaled(self.chunk, self.shape)

    def elements(self, cells: Hyperslab) -> Hyperslab:
        """Return the elements of a box of cells."""
        return cells.scaled(self.chunk, self.shape)

    def cells(self, elements: Hyperslab) -> Hyperslab:
        """Return the box of cells that a chunk-aligned hyperslab consists of."""
        start = tuple(a // c for a, c in zip(elements.start, self.chunk, strict=True))
        stop = tuple(-(-b // c) for b, c in zip(elements.stop, self.chunk, strict=True))
        return Hyperslab(start, tuple(max(0, b - a) for a, b in zip(start, stop, strict=True)))


@dataclass(frozen=True)
class DatasetSpec:
    """One bulk dataset, as the skeleton holds it. All calls are independent.

    Parameters
    ----------
    path
        Absolute path in the file.
    shape, maxshape
        In elements; ``None`` in ``maxshape`` is unlimited.
    dtype
        Type in the file, as ``parnwb.element.type_text`` gives it: numpy's type string, where ``'|b1'`` stands for
        h5py's boolean enumeration, or the fields of a compound type as JSON.
    chunks
        Chunk shape, or None for a contiguous dataset.
    filters
        Pipeline in the order of writing.
    fillvalue
        One element's bytes.
    access
        How the source may be read: the value of a ``parnwb.sources.Access``.
    coder
        Program that does the deflate where parnwb encodes: a name for ``parnwb.codec.deflate.coder``.
    first_row
        Of a dataset that is extended, the row from which on it is written, where a chunk begins; ``shape`` counts from
        there.
    major
        The axis along which the rows of a growing dataset come.
    read_beside
        Bytes that are read with all of it and are not its own, as ``parnwb.sources.read_beside`` tells them.
    whole_rows
        Whether all of a row is read for any part of it, as ``parnwb.sources.reads_whole_rows`` tells.
    """

    path: str
    shape: tuple[int, ...]
    maxshape: tuple[int | None, ...]
    dtype: str
    chunks: tuple[int, ...] | None
    filters: tuple[FilterSpec, ...] = ()
    fillvalue: bytes = b""
    access: str = "random"
    coder: str = ""
    first_row: int = 0
    major: int = 0
    read_beside: int = 0
    whole_rows: bool = False

    @property
    def place(self) -> str:
        """The path, and where elements are not counted from the first row, from which; for errors."""
        return self.path if not self.first_row else f"{self.path} from row {self.first_row} on: "

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """Type of an element in the file."""
        return type_of(self.dtype)

    @property
    def itemsize(self) -> int:
        """Bytes of an element in the file."""
        return self.numpy_dtype.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements, uncompressed."""
        return math.prod(self.shape) * self.itemsize

    @property
    def grid(self) -> ChunkGrid:
        """The chunks, or for a contiguous dataset pieces of some MB in one run of the file each."""
        return ChunkGrid(self.shape, self.chunks or contiguous_piece(self.shape, self.itemsize), self.major)

    def with_rows(self, rows: int) -> DatasetSpec:
        """Return the same dataset with another extent along its major axis."""
        shape = tuple(rows if axis == self.major else extent for axis, extent in enumerate(self.shape))
        return replace(self, shape=shape)

    @property
    def chunk_bytes(self) -> int:
        """Bytes of one whole chunk, uncompressed."""
        return math.prod(self.grid.chunk) * self.itemsize

    def means_as_stored(self, other: DatasetSpec) -> bool:
        """Tell whether stored chunks of the one mean the same in the other, and chunks that are missing, too.

        Fill values are compared by their bytes: NaN is not equal to itself.
        """
        return (self.shape, self.dtype, self.chunks, self.filters) == (
            other.shape,
            other.dtype,
            other.chunks,
            other.filters,
        ) and self._fill_bytes == other._fill_bytes

    @property
    def _fill_bytes(self) -> bytes:
        return self.fillvalue or bytes(self.itemsize)

    @property
    def fill(self) -> np.ndarray[Any, Any]:
        """The fill value as a 0-d array of the file's type."""
        return np.frombuffer(self._fill_bytes, dtype=self.numpy_dtype)[0:1].reshape(())


def contiguous_piece(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    """Return the shape of pieces of about 4 MiB, each in one run of a C-ordered array."""
    room = max(1, CONTIGUOUS_PIECE_BYTES // itemsize)
    piece = [1] * len(shape)
    for axis in reversed(range(len(shape))):
        piece[axis] = max(1, min(shape[axis], room))
        room //= piece[axis]
        if piece[axis] < shape[axis]:
            break
    return tuple(piece)


@dataclass(frozen=True)
class FileLayout:
    """All bulk datasets of a file, sorted by path. All calls are independent."""

    datasets: tuple[DatasetSpec, ...]

    def __post_init__(self) -> None:
        paths = [spec.path for spec in self.datasets]
        if paths != sorted(set(paths)):
            raise LayoutError(f"datasets of a layout are sorted by path and unique, got {paths}")

    def __iter__(self) -> Iterator[DatasetSpec]:
        return iter(self.datasets)

    def __len__(self) -> int:
        return len(self.datasets)

    @property
    def nbytes(self) -> int:
        """Bytes of all bulk data, uncompressed."""
        return sum(spec.nbytes for spec in self.datasets)

    def in_chunks(self) -> FileLayout:
        """Return the layout of the same datasets, none of which is contiguous: pieces of those are chunks."""
        return FileLayout(tuple(replace(spec, chunks=spec.grid.chunk) for spec in self.datasets))

    def without(self, paths: Iterable[str]) -> FileLayout:
        """Return the layout without the datasets at ``paths``."""
        left_out = set(paths)
        return FileLayout(tuple(spec for spec in self.datasets if spec.path not in left_out))

    def only(self, paths: Iterable[str]) -> FileLayout:
        """Return the layout of the datasets at ``paths`` alone."""
        wanted = set(paths)
        return FileLayout(tuple(spec for spec in self.datasets if spec.path in wanted))

    def numbers_of(self, paths: Collection[str]) -> frozenset[int]:
        """Return the numbers of the datasets at ``paths``."""
        return frozenset(number for number, spec in enumerate(self.datasets) if spec.path in paths)

    def to_json(self) -> list[dict[str, Any]]:
        """Return the layout as plain values, as ``parnwb plan --json`` prints it."""
        return [
            {
                "path": spec.path,
                "shape": list(spec.shape),
                "maxshape": list(spec.maxshape),
                "dtype": spec.dtype,
                "chunks": list(spec.chunks) if spec.chunks else None,
                "filters": [[f.identifier, list(f.options), f.name] for f in spec.filters],
                "fillvalue": spec.fillvalue.hex(),
                "access": spec.access,
                "coder": spec.coder,
                "first_row": spec.first_row,
                "major": spec.major,
                "read_beside": spec.read_beside,
                "whole_rows": spec.whole_rows,
            }
            for spec in self.datasets
        ]

    @classmethod
    def from_json(cls, items: list[dict[str, Any]]) -> FileLayout:
        """Return the layout that ``to_json`` wrote.

        Raises
        ------
        LayoutError
            The values are not those of a layout.
        """
        try:
            return cls(tuple(_spec_from_json(item) for item in items))
        except (KeyError, TypeError, ValueError) as error:
            raise LayoutError(f"these values describe no layout: {error}") from error


def _spec_from_json(item: dict[str, Any]) -> DatasetSpec:
    return DatasetSpec(
        path=item["path"],
        shape=tuple(item["shape"]),
        maxshape=tuple(item["maxshape"]),
        dtype=item["dtype"],
        chunks=tuple(item["chunks"]) if item["chunks"] else None,
        filters=tuple(FilterSpec(number, tuple(options), name) for number, options, name in item["filters"]),
        fillvalue=bytes.fromhex(item["fillvalue"]),
        access=item["access"],
        coder=item["coder"],
        first_row=item["first_row"],
        major=item["major"],
        read_beside=item.get("read_beside", 0),  # which journals of earlier versions do not tell, nor
        whole_rows=item.get("whole_rows", False),
    )
