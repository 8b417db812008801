"""``MosaicSource``: a virtual dataset, whose chunks are those of the datasets that it consists of, where they fit."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from parnwb.layout import ChunkGrid, DatasetSpec
from parnwb.links.tiles import Point, Tile, by_dataset, tiles_of
from parnwb.machine.open_files import room_for
from parnwb.sources.hdf5 import HDF5DatasetSource
from parnwb.sources.raw_chunks import RawChunks, is_plain, read_spec
from parnwb.sources.source import Room, Stored

if TYPE_CHECKING:
    import h5py


class MosaicSource(HDF5DatasetSource):
    """A virtual dataset. All calls are independent.

    Values are read through HDF5. Where all its parts have the same chunks and filters, and begin and end where chunks
    do, their stored chunks can be taken over.

    Parameters
    ----------
    dataset
        The open dataset.
    tiles
        What it consists of; nothing if that is more than boxes.
    common_spec
        Chunks and filters that all have in common, None where they have not.
    """

    def __init__(self, dataset: h5py.Dataset, tiles: tuple[Tile, ...], common_spec: DatasetSpec | None) -> None:
        super().__init__(dataset)
        self.tiles, self.common_spec = tiles, common_spec
        self._open: dict[tuple[str, str], RawChunks] = {}

    @classmethod
    def of(cls, dataset: h5py.Dataset) -> MosaicSource:
        """Return the source of an open virtual dataset."""
        tiles = tiles_of(dataset)
        return cls(dataset, tiles, _common_spec(dataset, tiles))

    @property
    def stored_bytes(self) -> int:
        """What all parts take in their files."""
        return sum(self._raw(tile).stored_bytes for tile in {(one.file, one.path): one for one in self.tiles}.values())

    @cached_property
    def _of_chunk(self) -> dict[Point, int]:
        """For each chunk, by where it begins, the tile that has all of it."""
        return {} if self.common_spec is None else _chunks_of(self.tiles, self.common_spec, self.shape)

    def fits(self, spec: DatasetSpec) -> bool:
        """Tell whether stored chunks can be taken over into a dataset of ``spec``. Independent."""
        common = self.common_spec
        if common is None or len(self._of_chunk) != math.prod(spec.grid.extent):
            return False
        return replace(common, shape=self.shape).means_as_stored(spec)

    def read_chunk(self, start: Point, out: Room | None = None) -> tuple[int, Stored] | None:
        """Return ``(filter mask, bytes)`` of the chunk that begins at ``start``; None if it was never written.

        Independent; raises as ``HDF5DatasetSource.read_chunk``.
        """
        tile = self.tiles[self._of_chunk[start]]
        there = tuple(at - begin + first for at, begin, first in zip(start, tile.start, tile.first, strict=True))
        return self._raw(tile).read(there, out)

    def __getstate__(self) -> dict[str, Any]:
        state = {name: value for name, value in super().__getstate__().items() if name != "_of_chunk"}
        return {**state, "_open": {}}

    def _raw(self, tile: Tile) -> RawChunks:
        import h5py

        key = (tile.file, tile.path)
        if key not in self._open:
            room_for(1)
            self._open[key] = RawChunks(h5py.File(tile.file, "r")[tile.path])
        return self._open[key]


def _common_spec(dataset: h5py.Dataset, tiles: tuple[Tile, ...]) -> DatasetSpec | None:
    """Return chunks and filters of the parts if all have the same, and stored chunks that mean the same."""
    import h5py

    found: DatasetSpec | None = None
    for (name, path), own_tiles in by_dataset(tiles):
        try:
            with h5py.File(name, "r") as file:
                part = file[path]
                spec = read_spec(part)
                good = is_plain(part) and spec.chunks is not None and len(spec.shape) == dataset.ndim
                # A source that is longer than what is taken of it has other values in its last chunks.
                ends = all(
                    (first + n) % chunk == 0 or first + n == extent
                    for tile in own_tiles
                    for first, n, chunk, extent in zip(
                        tile.first, tile.count, spec.chunks or (1,) * dataset.ndim, spec.shape, strict=True
                    )
                )
        except (OSError, KeyError, ValueError):
            return None
        same = found is None or (spec.dtype, spec.chunks, spec.filters, spec.fillvalue) == (
            found.dtype,
            found.chunks,
            found.filters,
            found.fillvalue,
        )
        if not good or not ends or not same:
            return None
        found = spec
    own = read_spec(dataset)
    if found is None or found.dtype != own.dtype or not np.array_equal(found.fill, own.fill):
        return None
    return found


def _chunks_of(tiles: tuple[Tile, ...], spec: DatasetSpec, shape: Point) -> dict[Point, int]:
    """Return for each chunk, by where it begins, the tile that has all of it; nothing if one has none."""
    grid = ChunkGrid(shape, spec.grid.chunk)
    found: dict[Point, int] = {}
    for number, tile in enumerate(tiles):
        stop = tuple(a + n for a, n in zip(tile.start, tile.count, strict=True))
        aligned = all(
            a % chunk == 0 and first % chunk == 0 and (b % chunk == 0 or b == extent)
            for a, first, b, chunk, extent in zip(tile.start, tile.first, stop, grid.chunk, shape, strict=True)
        )
        if not aligned:
            return {}
        cells = [range(a // chunk, -(-b // chunk)) for a, b, chunk in zip(tile.start, stop, grid.chunk, strict=True)]
        for index in np.ndindex(*(len(one) for one in cells)):
            start = tuple(one[i] * chunk for one, i, chunk in zip(cells, index, grid.chunk, strict=True))
            if start in found:
                return {}
            found[start] = number
    return found
