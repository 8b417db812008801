"""A rank's own stream of buffers, as hdmf's iterators: independent, or in step with all other ranks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from parnwb.errors import PlanError
from parnwb.hyperslab import Hyperslab
from parnwb.layout import DatasetSpec
from parnwb.planning.plan import WritePlan
from parnwb.sources import Source, read_checked, read_pieces

if TYPE_CHECKING:
    from hdmf.data_utils import DataChunk


class _RankIterator:
    """What hdmf asks of an iterator, answered from the plan.

    hdmf takes it as one of its own where it has been imported. It is not imported here: ranks without an NWBFile, which
    read their shares through this, need none of it.
    """

    def __init__(
        self,
        plan: WritePlan,
        rank: int,
        dataset: int,
        source: Source | None,
        told: Callable[[str], None] | None = None,
    ) -> None:
        if not 0 <= rank < plan.ranks:
            raise PlanError(f"rank must be within 0..{plan.ranks - 1}, got {rank}")
        if not 0 <= dataset < len(plan.layout):
            raise PlanError(f"dataset must be within 0..{len(plan.layout) - 1}, got {dataset}")
        self.plan, self.rank, self.dataset, self.source = plan, rank, dataset, source
        self.spec: DatasetSpec = plan.layout.datasets[dataset]
        self._told = told
        if (hdmf := sys.modules.get("hdmf.data_utils")) is not None:
            hdmf.AbstractDataChunkIterator.register(type(self))
        # Made when it is asked for: one that nobody begins would hold this object, and with it the source's values,
        # until the garbage collector comes by.
        self._steps: Iterator[DataChunk] | None = None

    def _make_steps(self) -> Iterator[DataChunk]:
        raise NotImplementedError  # pragma: no cover - both subclasses define it

    def __iter__(self) -> _RankIterator:
        return self

    def __next__(self) -> DataChunk:
        if self._steps is None:
            self._steps = self._make_steps()
        return next(self._steps)

    def recommended_chunk_shape(self) -> tuple[int, ...]:
        """Return the chunk shape in the file."""
        return self.spec.grid.chunk

    def recommended_data_shape(self) -> tuple[int, ...]:
        """Return the shape of the whole dataset."""
        return self.spec.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values that are read; the file's may differ."""
        return self.source.dtype if self.source is not None else self.spec.numpy_dtype

    @property
    def maxshape(self) -> tuple[int | None, ...]:
        """How far the dataset may grow."""
        return self.spec.maxshape

    def _own_source(self) -> Source:
        assert self.source is not None, f"rank {self.rank} owns a part of {self.spec.path} but has no source"
        return self.source

    def _tell(self, slab: Hyperslab) -> None:
        if self._told is not None:
            self._told(f"reading {slab.place(self.spec.place)}")

    def _read(self, slab: Hyperslab) -> np.ndarray[Any, Any]:
        self._tell(slab)
        return read_checked(self._own_source(), slab, self.spec.place)


class IndependentChunkIterator(_RankIterator):
    """The buffers of one dataset that one rank owns, each a box of whole chunks. Independent.

    Parameters
    ----------
    plan
        Made alike on every rank.
    rank
        Whose buffers.
    dataset
        Number of the dataset in ``plan.layout``.
    source
        Its values; None where the rank owns no part of it.
    told
        Is told what is about to be read, in words.

    Yields
    ------
    DataChunk
        ``data`` of the source's dtype and ``selection``, a tuple of slices; never empty.
    """

    def _make_steps(self) -> Iterator[DataChunk]:
        from hdmf.data_utils import DataChunk

        for buffer in self.plan.buffers(self.rank, self.dataset):
            yield DataChunk(data=self._read(buffer.slab), selection=buffer.slab.slices)

    def pieces(self, slab: Hyperslab) -> Iterator[tuple[Hyperslab, np.ndarray[Any, Any]]]:
        """Iterate over one buffer in the pieces in which its source is best read. Independent.

        Yields
        ------
        elements, values
            They cover the buffer; values are valid until the next are asked for.
        """
        self._tell(slab)
        for piece in read_pieces(self._own_source(), slab, self.spec.place):
            yield piece
            self._tell(slab)


class CollectiveChunkIterator(_RankIterator):
    """The chunks of one dataset that one rank owns, in exactly ``plan.rounds(dataset)`` steps. Collective use.

    Every rank yields the same number of times, with an empty chunk where it has run out, so that a collective
    call can be made for each.
    """

    def _make_steps(self) -> Iterator[DataChunk]:
        from hdmf.data_utils import DataChunk

        taken = 0
        for buffer in self.plan.buffers(self.rank, self.dataset):
            values = self._read(buffer.slab)
            for _, elements in self.plan.chunks(buffer):
                part = values[elements.relative_to(buffer.slab.start).slices]
                yield DataChunk(data=part, selection=elements.slices)
                taken += 1
        nowhere = tuple(slice(0, 0) for _ in self.spec.shape)
        for _ in range(self.plan.rounds(self.dataset) - taken):
            yield DataChunk(data=np.empty((0,) * len(self.spec.shape), dtype=self.dtype), selection=nowhere)
