"""Data that come in blocks which cost something to have: decompressed, computed. Each is had once and kept a while."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import count
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt

from parnwb.hyperslab import Hyperslab
from parnwb.sources.access import Access

CACHE_BYTES = 64 * 2**20
"""Bytes of blocks that all sources of a process keep together; a single block may be larger."""


class BlockCache:
    """Blocks that were used last, whosever they are. Independent; one thread at a time.

    Parameters
    ----------
    room
        Bytes that all blocks may take together, but for one that is larger by itself.
    """

    def __init__(self, room: int) -> None:
        self._room, self._used = room, 0
        self._blocks: OrderedDict[Hashable, npt.NDArray[Any]] = OrderedDict()

    def find(self, key: Hashable) -> npt.NDArray[Any] | None:
        """Return a block that is kept, which is the last one used from now on."""
        if key in self._blocks:
            self._blocks.move_to_end(key)
        return self._blocks.get(key)

    def make_room(self, nbytes: int) -> None:
        """Give up the blocks that have not been used for longest, until so many bytes fit or none is left."""
        while self._blocks and self._used + nbytes > self._room:
            _, block = self._blocks.popitem(last=False)
            self._used -= block.nbytes

    def keep(self, key: Hashable, block: npt.NDArray[Any]) -> None:
        """Keep a block that is not kept yet."""
        self.make_room(block.nbytes)
        self._blocks[key] = block
        self._used += block.nbytes


class BlockedSource:
    """Values that are read block by block, whatever is asked for. All calls are independent.

    What lies at the border of two reads would be decompressed or computed for each of them. Buffers follow each other
    in C order, so a block comes again within a row of blocks: as long as such a row fits into ``CACHE_BYTES``, a rank
    loads each block once. Of larger ones buffers are shaped after the blocks.

    Parameters
    ----------
    shape
        Shape of the whole, in elements.
    dtype
        Type of the values.
    edges
        For each axis where its blocks begin, and where the last one ends.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any], edges: Sequence[npt.NDArray[np.int64]]) -> None:
        self._shape, self._dtype, self._edges = shape, dtype, tuple(edges)
        self._name, self._cache = next(_names), _shared_cache()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole, in elements."""
        return self._shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self._dtype

    @property
    def access(self) -> Access:
        """Always ``Access.RANDOM``: where a read begins has no influence on the blocks."""
        return Access.RANDOM

    @property
    def block_shape(self) -> tuple[int, ...]:
        """The extents of blocks, along each axis the largest there is."""
        return tuple(int(np.diff(edges).max(initial=0)) for edges in self._edges)

    @property
    def largest_block(self) -> int:
        """Bytes of a block, none being larger."""
        return math.prod(self.block_shape) * self._dtype.itemsize

    @property
    def keeps_rows(self) -> bool:
        """Whether a row of blocks, all that lie side by side, is kept, so that buffers in C order load each once."""
        return math.prod(len(edges) - 1 for edges in self._edges[1:]) * self.largest_block <= CACHE_BYTES

    def pieces(self, slab: Hyperslab) -> Iterator[tuple[Hyperslab, npt.NDArray[Any]]]:
        """Iterate over the parts of ``slab`` that lie in one block each. Independent."""
        for index in self._touched(slab).points():
            start = tuple(int(edges[i]) for edges, i in zip(self._edges, index, strict=True))
            stop = tuple(int(edges[i + 1]) for edges, i in zip(self._edges, index, strict=True))
            block = Hyperslab(start, tuple(high - low for low, high in zip(start, stop, strict=True)))
            part = block.intersect(slab)
            yield part, self._block(index, block)[part.relative_to(start).slices]

    def read(self, slab: Hyperslab) -> npt.NDArray[Any]:
        """Return the values of ``slab``, of shape ``slab.count``. Independent; raises whatever a block raises."""
        values = np.empty(slab.count, dtype=self._dtype)
        for part, found in self.pieces(slab):
            values[part.relative_to(slab.start).slices] = found
        return values

    def _touched(self, slab: Hyperslab) -> Hyperslab:
        """Return the box of blocks in which ``slab`` lies."""
        low = [int(np.searchsorted(edges, at, "right")) - 1 for edges, at in zip(self._edges, slab.start, strict=True)]
        high = [int(np.searchsorted(edges, at, "left")) for edges, at in zip(self._edges, slab.stop, strict=True)]
        return Hyperslab(tuple(low), tuple(b - a for a, b in zip(low, high, strict=True)))

    def _block(self, index: tuple[int, ...], elements: Hyperslab) -> npt.NDArray[Any]:
        key = (self._name, index)
        block = self._cache.find(key)
        if block is None:
            self._cache.make_room(elements.size * self._dtype.itemsize)
            block = self._load(index, elements)
            self._cache.keep(key, block)
        return block

    def _load(self, index: tuple[int, ...], elements: Hyperslab) -> npt.NDArray[Any]:
        """Return the values of one block. Independent."""
        raise NotImplementedError  # pragma: no cover - every subclass defines it


def kept_bytes(sources: Iterable[BlockedSource]) -> int:
    """Return the bytes of blocks that a process keeps at most while it reads these sources. Independent."""
    known = list(sources)
    whole = sum(math.prod(source.shape) * source.dtype.itemsize for source in known)
    return max([min(whole, CACHE_BYTES), *(source.largest_block for source in known)])


_names = count()
_caches: WeakValueDictionary[str, BlockCache] = WeakValueDictionary()


def _shared_cache() -> BlockCache:
    """Return the cache of this process, which goes when the last source does."""
    return _caches.setdefault("blocks", BlockCache(CACHE_BYTES))
