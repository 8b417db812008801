"""Datasets whose rows come one after another: ``Stream``, which a program appends to, and iterators over generators."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from parnwb.errors import ParnwbError, SourceError
from parnwb.exactness import changed_by, check_exact, rounded
from parnwb.given import as_array, whole_numbers
from parnwb.hyperslab import Hyperslab
from parnwb.sources.access import Access

if TYPE_CHECKING:
    from hdmf.data_utils import AbstractDataChunkIterator, DataChunk

LONG = 1 << 40
"""Rows for which the default chunk shape of a stream is made: more than fit into one."""

GIVE_ROWS = "Append rows of the stream's row_shape; an array without rows where a rank has none"


class StreamedRows:
    """Type and number of the rows of a stream: what a rank needs to know that has no NWBFile. Independent.

    Parameters
    ----------
    dtype, row_shape
        As for ``Stream``.
    """

    def __init__(self, dtype: npt.DTypeLike, row_shape: tuple[int, ...] = ()) -> None:
        try:
            self._dtype = np.dtype(dtype)
        except TypeError as error:
            raise SourceError(f"a stream holds numbers or booleans, got dtype {dtype!r}: {error}") from error
        if dtype is None or self._dtype.kind not in "biuf":
            raise SourceError(f"a stream holds numbers or booleans, got dtype {dtype and self._dtype}")
        self.row_shape = _extents(row_shape, "row_shape")
        self.rows = 0

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values that are appended."""
        return self._dtype

    def checked(self, block: npt.ArrayLike, where: str) -> npt.NDArray[Any]:
        """Return a block as an array of this stream's type. Independent.

        Raises
        ------
        SourceError
            Its rows have another shape, or its values would become others.
        """
        found = as_array(block, "a block", where, GIVE_ROWS)
        values = found if hasattr(block, "dtype") else self._listed(found)
        if values.ndim != 1 + len(self.row_shape) or values.shape[1:] != self.row_shape:
            shape = "(rows" + "".join(f", {extent}" for extent in self.row_shape) + ")"
            got = values.shape if values.ndim else f"an object of type {type(block).__name__}"
            raise SourceError(
                f"a block must have the shape {shape}, got {got}",
                where=where,
                remedy=GIVE_ROWS,
            )
        if not np.can_cast(values.dtype, self._dtype, "safe"):
            raise SourceError(
                f"a block must have the stream's dtype {self._dtype}, got {values.dtype}",
                where=where,
                remedy="Convert it, or make the stream with the dtype of what is appended",
            )
        check_exact(values, self._dtype, where)
        return values

    def _listed(self, found: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the array of a list in this stream's type if that keeps its values, else as it is.

        numpy would cut off fractions, and wrap around what is too large. Floats are rounded to the stream's precision,
        because lists have none of their own.
        """
        if found.dtype.kind not in "biuf":
            return found
        if found.dtype.kind == self._dtype.kind == "f":
            return rounded(found, self._dtype)
        changed = changed_by(found, self._dtype)
        return found.astype(self._dtype) if changed is None or not changed.any() else found


def _extents(given: Any, what: str) -> tuple[int, ...]:
    """Return a shape that has elements."""
    found = whole_numbers(given)
    if found is None or min(found, default=1) < 1:
        raise SourceError(f"{what} must be a tuple of positive integers, got {given!r}")
    return found


class Stream(StreamedRows):
    """Data of unknown length, for ``data=`` of any pynwb container, bare or in an ``H5DataIO``. Independent.

    ``NWBParallelIO.write`` creates the dataset without rows; ``NWBParallelIO.append`` adds rows until ``close``.

    Parameters
    ----------
    dtype
        Type of the values; numbers or booleans.
    row_shape
        Shape of one row: ``()`` for one value, ``(channels,)``, ``(height, width)``.
    chunks
        Chunk shape in the file; by default hdmf's, whole rows of about 4 MiB together.

    Attributes
    ----------
    rows
        How many rows there are, of all ranks together. After ``write`` in mode ``'resume'``, how many the last commit
        has kept: a program goes on with the row that comes next.

    Raises
    ------
    SourceError
        The dtype is none of numbers, a row has no values, or chunks do not fit rows.
    """

    def __init__(self, dtype: npt.DTypeLike, row_shape: tuple[int, ...] = (), *, chunks: Any = None) -> None:
        from hdmf.data_utils import AbstractDataChunkIterator

        AbstractDataChunkIterator.register(type(self))
        super().__init__(dtype, row_shape)
        self._chunks = None if chunks is None else _extents(chunks, "chunks")
        if self._chunks is not None and len(self._chunks) != 1 + len(self.row_shape):
            raise SourceError(
                f"chunks must have an extent for rows and for each axis of row_shape {self.row_shape}, got {chunks!r}"
            )

    @property
    def maxshape(self) -> tuple[int | None, ...]:
        """How far the dataset may grow: without limit along its first axis."""
        return (None, *self.row_shape)

    def recommended_data_shape(self) -> tuple[int, ...]:
        """Return the shape in which the dataset is created."""
        return (0, *self.row_shape)

    def recommended_chunk_shape(self) -> tuple[int, ...]:
        """Return the chunk shape."""
        if self._chunks is not None:
            return self._chunks
        from hdmf.backends.hdf5.h5tools import HDF5IO

        shape: tuple[int, ...] = HDF5IO.compute_default_chunk_shape((LONG, *self.row_shape), self._dtype)
        return shape

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Any:
        raise StopIteration


class GrowingSource:
    """A stream, or an iterator that gives rows in order and may not know how many. Cannot be read by hyperslab.

    Parameters
    ----------
    iterator
        A ``Stream``, or any ``AbstractDataChunkIterator`` of hdmf whose selections move along one axis.
    """

    access = Access.GROWING

    def __init__(self, iterator: AbstractDataChunkIterator) -> None:
        self.iterator = iterator

    @property
    def stream(self) -> Stream | None:
        """The stream, if it is one."""
        return self.iterator if isinstance(self.iterator, Stream) else None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape in which the dataset is created."""
        return tuple(self.iterator.recommended_data_shape())

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return np.dtype(self.iterator.dtype)

    @property
    def axis(self) -> int:
        """Along which rows come."""
        return int(getattr(self.iterator, "iter_axis", 0))

    def read(self, slab: Hyperslab) -> npt.NDArray[Any]:
        """Refuse."""
        raise SourceError("rows of a generator or stream cannot be read by their place", where=repr(slab))

    def arriving(self, shape: tuple[int, ...], where: str) -> Iterator[tuple[int, npt.NDArray[Any]]]:
        """Iterate over ``(first row, values)`` as they come, each after the one before. Independent; once.

        Parameters
        ----------
        shape
            Of the dataset, of which all axes but the one of the rows count.

        Raises
        ------
        SourceError
            The iterator fails, goes back, or gives something else than whole rows.
        """
        end = 0
        iterator = iter(self.iterator)
        while True:
            try:
                chunk = next(iterator)
            except StopIteration:
                return
            except ParnwbError:
                raise
            except Exception as error:
                raise SourceError(
                    f"the generator of a dataset failed after row {end}: {type(error).__name__}: {error}",
                    where=where,
                    remedy=f"Check it ({type(self.iterator).__name__}) by iterating over it alone",
                ) from error
            first, values = self._rows_of(chunk, shape, where)
            if first < end:
                raise SourceError(
                    f"rows of an iterator must come in order: row {first} came after row {end - 1}",
                    where=where,
                    remedy="Give an array, or a GenericDataChunkIterator, which can be read anywhere",
                )
            end = first + values.shape[self.axis]
            yield first, values

    def _rows_of(self, chunk: DataChunk, shape: tuple[int, ...], where: str) -> tuple[int, npt.NDArray[Any]]:
        values, selection = np.asarray(chunk.data), chunk.selection
        parts = list(selection) if isinstance(selection, tuple) else [selection]
        parts += [slice(None)] * (len(shape) - len(parts))
        rows = parts[self.axis]
        if isinstance(rows, int | np.integer):
            rows = slice(int(rows), int(rows) + 1)
            values = np.expand_dims(values, self.axis) if values.ndim < len(shape) else values
        others = [n for n in range(len(shape)) if n != self.axis]
        whole = all(isinstance(parts[n], slice) and parts[n].indices(shape[n]) == (0, shape[n], 1) for n in others)
        steps = isinstance(rows, slice) and rows.step in (None, 1) and rows.stop is not None
        count = rows.stop - (rows.start or 0) if steps else -1
        expected = tuple(count if n == self.axis else extent for n, extent in enumerate(shape))
        if not whole or values.shape != expected:
            raise SourceError(
                f"an iterator must give whole rows along axis {self.axis} of a dataset of shape {shape}: it gave "
                f"values of shape {values.shape} for {selection}",
                where=where,
                remedy="Give an array, or a GenericDataChunkIterator, which can be read anywhere",
            )
        return int(rows.start or 0), values
