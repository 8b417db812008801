"""Flat binary files, read by position and never mapped: a vanished byte is an error, not a SIGBUS."""

from __future__ import annotations

import math
import mmap
import os
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from parnwb.errors import SourceError
from parnwb.hyperslab import Hyperslab
from parnwb.machine.foresight import FileRange
from parnwb.sources.access import Access

PIECE_BYTES = 2**20
"""Whole rows are read in pieces of about this many bytes, so that they are in cache when columns are cut."""

WIDE_ROW_BYTES = 256 * 2**10
"""Rows longer than this are read part by part: skipping the unwanted part costs less than reading it."""

MOST_RANGES = 1024
"""Of so many ranges it is told ahead that they will be read: where there are more, each is too short to be worth it."""

MAX_CALL_BYTES = 2**30
"""Linux returns at most 2 GiB - 4 KiB per call; a round number below it."""


@dataclass(frozen=True)
class BinarySource:
    """An array in a flat, C-ordered binary file, or some of its columns. All calls are independent.

    It pickles to this description; the file is opened when it is first read, once in each process.

    Parameters
    ----------
    path
        The file; made absolute.
    dtype
        Type of an element in the file, byte order included.
    file_shape
        Shape of the array in the file, in elements.
    offset
        Where the array begins in the file, in bytes.
    columns
        The part of the last axis that the dataset consists of, or None for all: a SpikeGLX file has 385
        interleaved columns, of which the first 384 are the electrodes.

    Raises
    ------
    SourceError
        The columns do not fit the shape, the file cannot be read, or it is too short.
    """

    path: Path
    dtype: np.dtype[Any]
    file_shape: tuple[int, ...]
    offset: int = 0
    columns: slice | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(os.path.abspath(self.path)))
        object.__setattr__(self, "dtype", np.dtype(self.dtype))
        object.__setattr__(self, "file_shape", tuple(int(extent) for extent in self.file_shape))
        if self.columns is not None:
            object.__setattr__(self, "columns", self._checked_columns(self.columns))
        self._check_length(self._size_on_disk())

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the dataset, in elements: the file's, with the chosen columns only."""
        if self.columns is None:
            return self.file_shape
        return (*self.file_shape[:-1], self.columns.stop - self.columns.start)

    @property
    def access(self) -> Access:
        """Always ``Access.RANDOM``."""
        return Access.RANDOM

    @property
    def whole_rows(self) -> bool:
        """Whether all columns are read for any of them: rows are not wide."""
        return self.file_shape[1:] != () and 0 < self._row_bytes <= WIDE_ROW_BYTES

    @property
    def read_beside(self) -> int:
        """Bytes of the other columns: they are read as well, unless rows are wide."""
        row_bytes = self.file_shape[-1] * self.dtype.itemsize if len(self.file_shape) > 1 else 0
        if not 0 < row_bytes <= WIDE_ROW_BYTES:
            return 0
        return (math.prod(self.file_shape) - math.prod(self.shape)) * self.dtype.itemsize

    def read(self, slab: Hyperslab) -> npt.NDArray[Any]:
        """Return the values of ``slab`` as a new C-contiguous array of shape ``slab.count``. Independent.

        Raises
        ------
        SourceError
            The file cannot be opened or read, or ends before the last byte asked for.
        """
        result = np.empty(slab.count, self.dtype)
        if result.size:
            self._fill(result, self._in_file(slab), self.file_shape, self.offset)
        return result

    def pieces(self, slab: Hyperslab) -> Iterator[tuple[Hyperslab, npt.NDArray[Any]]]:
        """Iterate over ``(part, values)`` of ``slab``, about a mebibyte of whole rows each. Independent.

        Raises
        ------
        SourceError
            As ``read``.
        """
        in_rows = self._row_bytes <= WIDE_ROW_BYTES or slab.count[1:] == self.file_shape[1:]
        if not slab.count or not self._row_bytes or not in_rows:
            yield slab, self.read(slab)
            return
        for low, values in self._row_pieces(self._in_file(slab), self.file_shape, self.offset):
            yield Hyperslab((slab.start[0] + low, *slab.start[1:]), values.shape), values

    def file_ranges(self, slab: Hyperslab) -> list[FileRange]:
        """Return the bytes that reading ``slab`` will read, whole rows where these are read whole. Independent.

        Raises
        ------
        SourceError
            The file cannot be opened.
        """
        runs = byte_runs(self._in_file(slab), self.file_shape, self.dtype.itemsize, self.offset, WIDE_ROW_BYTES)
        return [FileRange(self._descriptor, begin, nbytes) for begin, nbytes in islice(runs, MOST_RANGES)]

    @classmethod
    def from_memmap(cls, array: npt.NDArray[Any]) -> BinarySource | None:
        """Describe a memory-mapped array, or a view of one, by its file. Independent.

        Returns
        -------
        source
            None where the file alone does not tell the values: not mapped at all, a private ('c') mapping, a
            file without a name or no longer the mapped one, a layout other than C order or a run of columns.
        """
        mapped = _mapped_file(array)
        if mapped is None or array.size == 0:
            return None
        begin = mapped.origin + array.__array_interface__["data"][0] - mapped.address
        try:
            if array.flags.c_contiguous:
                source = cls(mapped.path, array.dtype, array.shape, begin)
            else:
                shape, offset, columns = _column_run(array, begin, mapped.offset)
                source = cls(mapped.path, array.dtype, shape, offset, columns)
        except (SourceError, ValueError):
            return None
        return source if source._agrees_with(array) else None

    def __getstate__(self) -> dict[str, Any]:
        """Return the description alone: an open file stays in its process."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore without looking at the file: a rank that cannot see it says so when it reads."""
        self.__dict__.update(state)

    @property
    def _row_bytes(self) -> int:
        """Bytes of a row of the file, all that has the same place along the first axis."""
        return math.prod(self.file_shape[1:]) * self.dtype.itemsize

    @property
    def _end(self) -> int:
        """One past the last byte of the array in the file."""
        return self.offset + math.prod(self.file_shape) * self.dtype.itemsize

    @cached_property
    def _descriptor(self) -> int:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise _unreadable(self.path, error) from error
        weakref.finalize(self, os.close, descriptor)
        self._check_length(os.fstat(descriptor).st_size)
        return descriptor

    def _checked_columns(self, columns: slice) -> slice:
        extent = self.file_shape[-1]
        start, stop, step = columns.indices(extent)
        if step != 1 or stop < start:
            raise SourceError(
                f"the columns of a binary file must be one ascending run, got {columns} of {extent}",
                where=str(self.path),
                remedy="Choose neighbouring columns in the order of the file",
            )
        return slice(start, stop)

    def _size_on_disk(self) -> int:
        try:
            return os.stat(self.path).st_size
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def _check_length(self, size: int) -> None:
        if size < self._end:
            raise SourceError(
                f"a binary file must hold its whole array: shape {self.file_shape} of {self.dtype} after "
                f"{self.offset} bytes needs {self._end} bytes, the file has {size}",
                where=str(self.path),
                remedy="The file is truncated, or shape, dtype or offset are wrong",
            )

    def _in_file(self, slab: Hyperslab) -> Hyperslab:
        if self.columns is None:
            return slab
        return Hyperslab((*slab.start[:-1], slab.start[-1] + self.columns.start), slab.count)

    def _fill(self, out: npt.NDArray[Any], box: Hyperslab, shape: tuple[int, ...], offset: int) -> None:
        """Read ``box`` of the array of ``shape`` that begins at byte ``offset`` into ``out``."""
        row_bytes = math.prod(shape[1:]) * self.dtype.itemsize
        if box.count[1:] == shape[1:]:
            first = box.start[0] if shape else 0
            self._read_bytes(out, offset + first * row_bytes)
        elif row_bytes <= WIDE_ROW_BYTES:
            self._fill_by_rows(out, box, shape, offset)
        else:
            inner = Hyperslab(box.start[1:], box.count[1:])
            for index in range(box.count[0]):
                self._fill(out[index], inner, shape[1:], offset + (box.start[0] + index) * row_bytes)

    def _fill_by_rows(
        self, out: npt.NDArray[Any], box: Hyperslab, shape: tuple[int, ...], offset: int
    ) -> None:
        for low, piece in self._row_pieces(box, shape, offset):
            out[low : low + len(piece)] = piece

    def _row_pieces(
        self, box: Hyperslab, shape: tuple[int, ...], offset: int
    ) -> Iterator[tuple[int, npt.NDArray[Any]]]:
        """Read pieces of whole rows and cut the box from each; a piece is valid until the next."""
        row_bytes = math.prod(shape[1:]) * self.dtype.itemsize
        rows = min(box.count[0], max(1, PIECE_BYTES // row_bytes))
        scratch = np.empty((rows, *shape[1:]), self.dtype)
        for low in range(0, box.count[0], rows):
            piece = scratch[: min(rows, box.count[0] - low)]
            self._read_bytes(piece, offset + (box.start[0] + low) * row_bytes)
            cut: Any = (slice(None), *box.slices[1:])
            yield low, piece[cut]

    def _read_bytes(self, out: npt.NDArray[Any], position: int) -> None:
        """Fill the C-contiguous ``out`` from the file; reads may be short, so go on until it is full."""
        target = out.reshape(-1).view(np.uint8).data
        done = 0
        while done < len(target):
            try:
                count = os.preadv(self._descriptor, [target[done : done + MAX_CALL_BYTES]], position + done)
            except OSError as error:
                raise _unreadable(self.path, error) from error
            if count == 0:
                raise SourceError(
                    f"a binary file must not shrink while it is read: it ends at byte {position + done}, "
                    f"{len(target) - done} bytes early",
                    where=str(self.path),
                    remedy="Let the program that writes the file finish, or restore the file",
                )
            done += count

    def _agrees_with(self, array: npt.NDArray[Any]) -> bool:
        """Compare the first and the last element: the name may by now belong to another file."""
        ends = [Hyperslab((0,) * array.ndim, (1,) * array.ndim)]
        ends.append(Hyperslab(tuple(extent - 1 for extent in array.shape), (1,) * array.ndim))
        return all(self.read(end).tobytes() == array[end.slices].tobytes() for end in ends)


def byte_runs(
    box: Hyperslab, shape: tuple[int, ...], itemsize: int, offset: int, widest: int
) -> Iterator[tuple[int, int]]:
    """Iterate over ``(offset, bytes)`` of what is read for ``box`` of a C-ordered array in a file. Independent.

    Parameters
    ----------
    shape, itemsize
        Of the array.
    offset
        Where it begins.
    widest
        Bytes of a row that is read whole for any part of it.
    """
    row_bytes = math.prod(shape[1:]) * itemsize
    if box.count[1:] == shape[1:] or row_bytes <= widest:
        first, rows = (box.start[0], box.count[0]) if shape else (0, 1)
        if rows:
            yield offset + first * row_bytes, rows * row_bytes
        return
    inner = Hyperslab(box.start[1:], box.count[1:])
    for row in range(box.start[0], box.stop[0]):
        yield from byte_runs(inner, shape[1:], itemsize, offset + row * row_bytes, widest)


@dataclass(frozen=True)
class _MappedFile:
    """Which file an array looks into, and where its bytes are in memory."""

    path: Path
    address: int  # of the first mapped byte
    origin: int  # that byte's place in the file
    offset: int  # where the outermost memmap's array begins in the file


def _mapped_file(array: npt.NDArray[Any]) -> _MappedFile | None:
    """Return the mapping behind ``array``, None if there is none or the file does not tell its values."""
    owner: Any = array
    while not isinstance(owner, np.memmap) and isinstance(owner, np.ndarray):
        owner = owner.base
    mapping = getattr(owner, "_mmap", None)
    if mapping is None or owner.filename is None or owner.mode not in ("r", "r+", "w+"):
        return None
    try:
        address = int(np.frombuffer(mapping, np.uint8).__array_interface__["data"][0])
    except ValueError:  # the mapping was closed
        return None
    # Views inherit filename, offset and mode from the memmap they were cut from: only addresses tell theirs.
    offset = int(owner.offset)
    origin = offset - offset % mmap.ALLOCATIONGRANULARITY
    return _MappedFile(Path(str(owner.filename)), address, origin, offset)


def _column_run(array: npt.NDArray[Any], begin: int, origin: int) -> tuple[tuple[int, int], int, slice]:
    """Recognise ``file[:, a:b]`` by its strides: the file's shape, its offset in bytes, and the columns.

    ``begin`` is the view's first byte in the file, ``origin`` that of the rows it was cut from.

    Raises
    ------
    ValueError
        The array is not such a view.
    """
    if array.ndim != 2 or array.strides[1] != array.itemsize or array.strides[0] % array.itemsize:
        raise ValueError("not a run of columns")
    width = array.strides[0] // array.itemsize
    if width < array.shape[1] or array.strides[0] > WIDE_ROW_BYTES:
        raise ValueError("rows overlap, run backwards, or are so wide that mapping them is better")
    first = (begin - origin) % array.strides[0] // array.itemsize
    if first + array.shape[1] > width:
        raise ValueError("the columns run across a row's end")
    return (array.shape[0], width), begin - first * array.itemsize, slice(first, first + array.shape[1])


def _unreadable(path: Path, error: OSError) -> SourceError:
    return SourceError(
        f"a binary file must be readable: {error.strerror or error}",
        where=str(path),
        remedy="Check that the file exists, and that every rank's host sees it under this path",
    )
