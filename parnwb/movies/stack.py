"""``Stack``: the frames of a TIFF file, however many pages and series tell of them; and the frames themselves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from parnwb.errors import SourceError
from parnwb.movies.library import not_installed

STACKS = (".tif", ".tiff", ".btf", ".tf8")
Frames = npt.NDArray[Any]


@dataclass(frozen=True)
class Stack:
    """Where a TIFF file has its frames. Made by ``examine_stack``.

    Parameters
    ----------
    path
        Absolute.
    frames
        How many there are.
    shape
        Of a frame.
    stored
        Type of a value, in the file's order of bytes.
    numbers
        Which pages they are, where each may be a series of its own; None for all of the only series.
    offset
        Where they begin, one after another, of which only the first has a page; None where each has one.
    """

    path: Path
    frames: int
    shape: tuple[int, ...]
    stored: np.dtype[Any]
    numbers: npt.NDArray[np.int64] | None = None
    offset: int | None = None

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a value, as this machine has it."""
        return self.stored.newbyteorder("=")

    def read(self, first: int, stop: int) -> Frames:
        """Return the frames from ``first`` on, before ``stop``. Independent.

        Raises
        ------
        SourceError
            They cannot be read.
        """
        try:
            return self._without_pages(first, stop) if self.offset is not None else self._pages(first, stop)
        except SourceError:
            raise
        except Exception as error:
            raise SourceError(
                f"pages {first} to {stop - 1} of an image stack cannot be read: {type(error).__name__}: {error}",
                where=str(self.path),
                remedy="It is damaged, or has changed",
            ) from error

    def _pages(self, first: int, stop: int) -> Frames:
        with _opened(self.path) as file:
            pages = file.series[0].pages if self.numbers is None else file.pages
            numbers = range(first, stop) if self.numbers is None else self.numbers[first:stop].tolist()
            return np.stack([pages[number].asarray() for number in numbers])

    def _without_pages(self, first: int, stop: int) -> Frames:
        assert self.offset is not None
        length, count = prod(self.shape), (stop - first) * prod(self.shape)
        begin = self.offset + first * length * self.stored.itemsize
        values = np.fromfile(self.path, self.stored, count, offset=begin)
        if len(values) < count:
            raise EOFError(f"it ends after {len(values)} of {count} values")
        return values.reshape(-1, *self.shape).astype(self.dtype, copy=False)


def examine_stack(path: Path) -> Stack:
    """Count the frames of a TIFF file. Independent; no frame is read.

    Raises
    ------
    SourceError
        No library reads it, or it does not hold frames of one shape and type.
    """
    with _opened(path) as file:
        own = [series for series in file.series if not series.keyframe.is_reduced]  # no thumbnails
        every = own or list(file.series)
        kinds = sorted({(_shape(series), str(np.dtype(series.dtype))) for series in every})
        if len(kinds) != 1:
            said = ", ".join(f"{shape} of {dtype}" for shape, dtype in kinds) or "none"
            raise SourceError(
                f"an image stack must have pages of one shape and type: there are {said}",
                where=str(path),
                remedy="Write pages of each kind to a file of their own",
            )
        lone = next((series for series in every if _frames_of(series) > len(series.pages)), None)
        if lone is not None:
            return _of_one_page(path, file, lone, is_alone=len(every) == 1)
        numbers = None if every == [file.series[0]] else _numbers(path, file, every)
        frames = len(every[0].pages) if numbers is None else len(numbers)
        return Stack(path, frames, _shape(every[0]), np.dtype(every[0].dtype), numbers)


def _shape(series: Any) -> tuple[int, ...]:
    return tuple(int(extent) for extent in series.keyframe.shape)


def _frames_of(series: Any) -> int:
    """Return how many pages a series would need; of large ones ImageJ writes the first alone."""
    return prod(series.shape) // max(1, prod(_shape(series)))


def _of_one_page(path: Path, file: Any, series: Any, *, is_alone: bool) -> Stack:
    stored = np.dtype(series.dtype).newbyteorder(file.byteorder)
    frames, offset = _frames_of(series), series.dataoffset
    end = (offset or 0) + prod(series.shape) * stored.itemsize
    if not is_alone or len(series.pages) != 1 or offset is None or end > path.stat().st_size:
        raise SourceError(
            f"an image stack must have a page for each frame, or all values after the first: of {frames} frames "
            f"{len(series.pages)} have a page",
            where=str(path),
            remedy="It is damaged, or must be written again by the program that wrote it",
        )
    return Stack(path, frames, _shape(series), stored, None, int(offset))


def _numbers(path: Path, file: Any, every: list[Any]) -> npt.NDArray[np.int64]:
    """Return the numbers of the pages of all series, in the file's order: series may take turns."""
    pages = [page for series in every for page in series.pages]
    if any(page is None or page.parent is not file or not isinstance(page.index, int) for page in pages):
        raise SourceError(
            "an image stack of several series must have all their pages",
            where=str(path),
            remedy="Write each series to a file of its own",
        )
    return np.sort(np.array([page.index for page in pages], np.int64))


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        import tifffile
    except ImportError as error:
        raise not_installed("tifffile", path) from error
    try:
        with tifffile.TiffFile(path) as file:
            yield file
    except (tifffile.TiffFileError, OSError, IndexError) as error:
        raise SourceError(
            f"an image stack cannot be read: {type(error).__name__}: {error}",
            where=str(path),
            remedy="It is damaged, or no TIFF file",
        ) from error
