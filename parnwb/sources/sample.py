"""A small sample of a source, for whoever must decide something about its data beforehand."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy.typing as npt

from parnwb.hyperslab import Hyperslab, unravel
from parnwb.layout import ChunkGrid
from parnwb.sources.access import Access
from parnwb.sources.source import EncodedSource, Source, Stored, read_checked

SAMPLE_PIECES = 8
PIECE_BYTES = 128 * 1024


def sample(source: Source, grid: ChunkGrid, path: str) -> Iterator[npt.NDArray[Any]]:
    """Read up to eight pieces of at most 128 KiB from chunks all over the data. Independent.

    Each is as wide as a chunk, so that what the coder sees beside a value in the file it sees here too. A
    sequential or growing source is not sampled: what it gives out does not come again.
    """
    if source.access in (Access.SEQUENTIAL, Access.GROWING) or grid.size == 0:
        return
    row_bytes = math.prod(grid.chunk[1:]) * source.dtype.itemsize
    rows = max(1, PIECE_BYTES // row_bytes)
    for cell in _cells(grid):
        thickness = min(rows, cell.count[0])
        first = cell.start[0] + (cell.count[0] - thickness) // 2
        piece = Hyperslab((first, *cell.start[1:]), (thickness, *cell.count[1:]))
        yield read_checked(source, piece, path)


def stored_sample(source: EncodedSource, grid: ChunkGrid) -> Iterator[Stored]:
    """Read up to eight chunks from all over the data as they are stored, which decodes none. Independent.

    Chunks that were never written are left out.
    """
    for cell in _cells(grid) if grid.size else ():
        stored = source.read_chunk(cell.start)
        if stored is not None:
            yield stored[1]


def _cells(grid: ChunkGrid) -> Iterator[Hyperslab]:
    count = min(SAMPLE_PIECES, grid.size)
    for number in range(count):
        yield grid.cell(unravel((2 * number + 1) * grid.size // (2 * count), grid.extent))
