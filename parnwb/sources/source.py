"""The ``Source`` protocol: what a dataset's values can be read from, box by box."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol, TypeAlias, TypeGuard, runtime_checkable

import numpy as np
import numpy.typing as npt

from parnwb.errors import ParnwbError, SourceError
from parnwb.hyperslab import Hyperslab
from parnwb.layout import DatasetSpec
from parnwb.machine.foresight import FileRange
from parnwb.sources.access import Access


@runtime_checkable
class Source(Protocol):
    """Values of one dataset, read by hyperslab and never held whole. All calls are independent.

    A source that should reach ranks which do not build the NWBFile themselves must pickle to a description
    (a path, an offset), never to the values.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole, in elements."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values that ``read`` returns."""

    @property
    def access(self) -> Access:
        """What may be asked for, and in which order."""

    def read(self, slab: Hyperslab) -> npt.NDArray[Any]:
        """Return the values of ``slab``, of shape ``slab.count``; ``slab`` is never empty."""


@runtime_checkable
class PiecewiseSource(Source, Protocol):
    """A source that reads in small pieces, each of which is best used before the next is read."""

    def pieces(self, slab: Hyperslab) -> Iterator[tuple[Hyperslab, npt.NDArray[Any]]]:
        """Iterate over ``(part, values)`` that cover ``slab``; values are valid until the next are asked for."""


Stored: TypeAlias = bytes | memoryview
Room: TypeAlias = npt.NDArray[np.uint8]
"""Memory that stored bytes are to be in."""


@runtime_checkable
class EncodedSource(Source, Protocol):
    """A source that has its values as the filtered chunks of a file, too."""

    def fits(self, spec: DatasetSpec) -> bool:
        """Tell whether its chunks can be taken over into a dataset of ``spec`` as they are."""

    def read_chunk(self, start: tuple[int, ...], out: Room | None = None) -> tuple[int, Stored] | None:
        """Return ``(filter mask, bytes)`` of the chunk that begins at ``start``; None if there is none in the file.

        The bytes are a part of ``out``, if there is one and they fit.
        """


@runtime_checkable
class WholeRowSource(Source, Protocol):
    """A source of rows, which may read them whole."""

    @property
    def whole_rows(self) -> bool:
        """Whether all of a row is read for any part of it."""


@runtime_checkable
class RowSource(Source, Protocol):
    """A source of rows, which have more than its values."""

    @property
    def read_beside(self) -> int:
        """Bytes that are read with all values and are none of them."""


@runtime_checkable
class FileSource(Source, Protocol):
    """A source that knows where in an open file its values are."""

    def file_ranges(self, slab: Hyperslab) -> list[FileRange]:
        """Return the bytes that reading ``slab`` will read, in order, or some of them; nothing is read."""


def file_ranges(source: Source | None, slab: Hyperslab) -> list[FileRange]:
    """Return the bytes of files that reading ``slab`` will read, as far as its source tells. Independent."""
    return source.file_ranges(slab) if isinstance(source, FileSource) else []


def read_beside(source: Source) -> int:
    """Return how many bytes are read with all values of a source that are none of them. Independent."""
    return source.read_beside if isinstance(source, RowSource) else 0


def reads_whole_rows(source: Source) -> bool:
    """Tell whether a source reads all of a row for any part of it. Independent."""
    return isinstance(source, WholeRowSource) and source.whole_rows


def read_from(spec: DatasetSpec, source: Source) -> DatasetSpec:
    """Return a dataset with what the plan has to know of how its source is read. Independent."""
    access, beside = source.access.value, read_beside(source)
    return replace(spec, access=access, read_beside=beside, whole_rows=reads_whole_rows(source))


def takes_over(source: Source | None, spec: DatasetSpec) -> TypeGuard[EncodedSource]:
    """Tell whether a dataset of ``spec`` is filled with the chunks of its source as they are. Independent."""
    return isinstance(source, EncodedSource) and source.fits(spec)


def read_checked(source: Source, slab: Hyperslab, path: str) -> npt.NDArray[Any]:
    """Read ``slab`` and refuse anything but the announced shape and dtype. Independent.

    Raises
    ------
    SourceError
        The source raised, or what it returned has another shape or dtype; the dataset and the hyperslab
        are named.
    """
    where = slab.place(path)
    with _named_errors(source, where):
        values = source.read(slab)
    return _checked(values, source, slab, where)


def read_pieces(source: Source, slab: Hyperslab, path: str) -> Iterator[tuple[Hyperslab, npt.NDArray[Any]]]:
    """Read ``slab`` in the pieces that suit its source, each checked as ``read_checked`` does. Independent.

    Yields
    ------
    part, values
        Valid until the next is asked for.
    """
    if not isinstance(source, PiecewiseSource):
        yield slab, read_checked(source, slab, path)
        return
    where = slab.place(path)
    with _named_errors(source, where):
        for part, values in source.pieces(slab):
            yield part, _checked(values, source, part, where)


@contextmanager
def _named_errors(source: Source, where: str) -> Iterator[None]:
    """Let every error say which part of which dataset was being read."""
    try:
        yield
    except ParnwbError as error:
        if not (error.where or "").startswith(where):
            error.where = f"{where}, {error.where}" if error.where else where
        raise
    except Exception as error:
        raise SourceError(
            f"the source of a dataset failed while it was read: {type(error).__name__}: {error}",
            where=where,
            remedy=f"Check the source ({type(source).__name__}) by reading this part of it alone",
        ) from error


def _checked(values: Any, source: Source, slab: Hyperslab, where: str) -> npt.NDArray[Any]:
    if not isinstance(values, np.ndarray):
        raise SourceError(
            f"a source must return an array: asked {slab.count}, got {type(values).__name__}",
            where=where,
            remedy="Let the source convert what it reads with numpy.asarray",
        )
    if values.shape != slab.count:
        raise SourceError(
            f"a source must return the shape it is asked for: asked {slab.count}, got {values.shape}",
            where=where,
            remedy="The source may be truncated, or its announced shape may be wrong",
        )
    if values.dtype != source.dtype:
        raise SourceError(
            f"a source must return the dtype it announces: announced {source.dtype}, got {values.dtype}",
            where=where,
            remedy="Let the source convert, or announce the dtype that it returns",
        )
    return values
