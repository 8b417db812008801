"""``ChunkAssembler``: whole chunks in the file's dtype, put together from the pieces that sources hand out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from queue import SimpleQueue
from typing import Any

import numpy as np
import numpy.typing as npt

from parnwb.codec.cast import in_file_dtype
from parnwb.hyperslab import Hyperslab
from parnwb.layout import DatasetSpec

Piece = tuple[Hyperslab, npt.NDArray[Any]]


class ChunkAssembler:
    """Makes the chunks of one dataset, one buffer after another. Independent; one thread at a time.

    Each value is moved once, from a piece that may still be in the processor's cache to its place in a chunk. Memory
    is used again for the next buffer, unless it has been lent to whoever writes the chunks as they are.
    """

    def __init__(self, spec: DatasetSpec) -> None:
        self._spec, self._grid = spec, spec.grid
        self._memory = self._none = np.empty((0, *self._grid.chunk), dtype=spec.numpy_dtype)
        self._returned: SimpleQueue[npt.NDArray[Any]] = SimpleQueue()
        self._lent = 0

    def lend(self) -> Callable[[], None]:
        """Keep the chunks of the last buffer as they are until the function that is returned has been called.

        It may be called by another thread. The first pages of memory cost more than copying to it, so it comes back.
        """
        lent, self._memory = self._memory, self._none
        self._lent += 1
        return lambda: self._returned.put(lent)

    def take_back(self) -> None:
        """Wait until at most one buffer is lent: it is written while the next is put together. There is no third."""
        while self._lent > 1:
            self._memory = self._none  # of two that have come back the larger one is no better
            self._memory = self._returned.get()
            self._lent -= 1

    def assemble(
        self, slab: Hyperslab, pieces: Iterable[Piece]
    ) -> Iterator[tuple[tuple[int, ...], npt.NDArray[Any]]]:
        """Iterate over ``(index in the chunk grid, chunk)`` of a buffer, in C order.

        HDF5 stores every chunk whole: those that stick out of the dataset are padded with the fill value. Of a
        contiguous dataset each piece has just its elements.

        Parameters
        ----------
        slab
            The buffer, a box of whole chunks.
        pieces
            ``(elements, values)`` that cover the buffer; each is looked at before the next is asked for.
        """
        cells = self._grid.cells(slab)
        chunks = self._room_for(cells.size)
        if self._spec.chunks is not None:
            self._pad(cells, chunks)
        by_cell = chunks.reshape(*cells.count, *self._grid.chunk)
        for part, values in pieces:
            axes = zip(part.start, part.count, self._grid.chunk, cells.start, strict=True)
            for cuts in product(*(_cuts(*axis) for axis in axes)):
                place = tuple(cut.cell for cut in cuts) + tuple(cut.place for cut in cuts)
                by_cell[place] = in_file_dtype(values[tuple(cut.elements for cut in cuts)], chunks.dtype)
        for number, index in enumerate(cells.points()):
            yield index, chunks[number] if self._spec.chunks is not None else self._exactly(index, chunks[number])

    def _room_for(self, count: int) -> npt.NDArray[Any]:
        if len(self._memory) < count:
            self._memory = self._none  # before there is more of it
            while len(self._memory) < count and not self._returned.empty():
                self._memory = self._returned.get()
                self._lent -= 1
        if len(self._memory) < count:
            self._memory = self._none
            self._memory = np.empty((count, *self._grid.chunk), dtype=self._spec.numpy_dtype)
        return self._memory[:count]

    def _pad(self, cells: Hyperslab, chunks: npt.NDArray[Any]) -> None:
        inner = tuple(n // c for n, c in zip(self._spec.shape, self._grid.chunk, strict=True))
        if all(stop <= limit for stop, limit in zip(cells.stop, inner, strict=True)):
            return
        for number, index in enumerate(cells.points()):
            if self._grid.cell(index).count != self._grid.chunk:
                chunks[number] = self._spec.fill

    def _exactly(self, index: tuple[int, ...], chunk: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return chunk[Hyperslab.whole(self._grid.cell(index).count).slices]


@dataclass(frozen=True)
class _Cut:
    """What a piece and a chunk have in common, along one axis.

    Parameters
    ----------
    cell
        Of the chunk, counted from the first one of the buffer.
    place
        Elements within the chunk.
    elements
        The same elements within the piece.
    """

    cell: int
    place: slice
    elements: slice


@lru_cache(maxsize=1024)  # of the pieces of a buffer, most have all but one axis in common
def _cuts(start: int, count: int, chunk: int, first_cell: int) -> tuple[_Cut, ...]:
    """Cut a piece's ``count`` elements from ``start`` on at the borders of chunks."""
    made = []
    for cell in range(start // chunk, -(-(start + count) // chunk)):
        low, high = max(start, cell * chunk), min(start + count, (cell + 1) * chunk)
        within = slice(low - cell * chunk, high - cell * chunk)
        made.append(_Cut(cell - first_cell, within, slice(low - start, high - start)))
    return tuple(made)
