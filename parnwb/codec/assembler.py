"""``ChunkAssembler``: whole chunks in the file's dtype, put together from the pieces that sources hand out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from typing import Any

import numpy as np
import numpy.typing as npt

from parnwb.codec.cast import in_file_dtype
from parnwb.hyperslab import Hyperslab, ravel
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

    def lend(self) -> Callable[[], None]:
        """Keep the chunks of the last buffer as they are until the function that is returned has been called.

        It may be called by another thread. The first pages of memory cost more than copying to it, so it comes back.
        """
        lent, self._memory = self._memory, self._none
        return lambda: self._returned.put(lent)

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
        for part, values in pieces:
            for index in self._grid.cells(part).points():
                common = self._grid.cell(index).intersect(part)
                place = common.relative_to(self._corner(index)).slices
                chunk = chunks[self._number(index, cells)]
                chunk[place] = in_file_dtype(values[common.relative_to(part.start).slices], chunk.dtype)
        for number, index in enumerate(cells.points()):
            yield index, chunks[number] if self._spec.chunks is not None else self._exactly(index, chunks[number])

    def _room_for(self, count: int) -> npt.NDArray[Any]:
        if len(self._memory) < count:
            self._memory = self._none  # before there is more of it
            while len(self._memory) < count and not self._returned.empty():
                self._memory = self._returned.get()
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

    def _corner(self, index: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(i * c for i, c in zip(index, self._grid.chunk, strict=True))

    @staticmethod
    def _number(index: tuple[int, ...], cells: Hyperslab) -> int:
        return ravel(tuple(i - first for i, first in zip(index, cells.start, strict=True)), cells.count)
