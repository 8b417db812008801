"""``WritePlan``: who writes what, in which pieces, with how much memory. Computed alike on every rank."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt

from parnwb.drawing.plan import MOST_RANKS, plan_fragment
from parnwb.errors import PlanError
from parnwb.hyperslab import Hyperslab, ravel, run_boxes
from parnwb.layout import ChunkGrid, DatasetSpec, FileLayout
from parnwb.planning.by_blocks import cells_at_once
from parnwb.planning.decomposition import Grains, Runs, Share, Strategy, strategy
from parnwb.planning.layers import readings
from parnwb.planning.write_queue import WriteQueue, write_queue
from parnwb.sources.access import Access

MiB = 1024 * 1024
DEFAULT_BUFFER_MB = 64
READ_GRID_BYTES = 32 * MiB
"""Bytes of a block of the grid on which gridded sources are read, one chunk at least.

Their values depend on it, so it is no setting: the same data give the same file whatever the ranks and buffers, and
``verify`` reads them as they were written. Changing it changes files, and it is in ``restore.journal_format``.
"""


BUFFERS_IN_FLIGHT = 5
"""As many times its largest buffer a rank may hold: as read, as chunks, and three encoded."""
READ_WHILE_WRITTEN = 10
"""Bytes that are merely read in the time in which one is read, encoded and written: 5 GB/s, and 0.5, were measured."""
MOST_LOOKED_AT = 4099
"""Ranks whose shares are compared with the average: a prime number, so that a sample meets all columns of chunks."""


@dataclass(frozen=True)
class Buffer:
    """What a rank reads at once: a chunk-aligned box of one dataset.

    Parameters
    ----------
    dataset
        Number of the dataset in the layout.
    slab
        Elements.
    """

    dataset: int
    slab: Hyperslab


@dataclass(frozen=True)
class WritePlan:
    """Assignment of all bulk data to ranks. All calls are independent.

    Parameters
    ----------
    layout
        The bulk datasets.
    ranks
        Number of ranks.
    decomposition
        Name of a strategy of ``parnwb.planning.decomposition``.
    buffer_mb
        MiB that a rank reads at once. Always allowed are one chunk; of a sequential source one layer of chunks, which
        is whole rows as thick as a chunk; of a gridded source one block of the read grid, whatever ``buffer_mb`` is.
    done
        By number of a dataset, which chunks an earlier attempt has written, in C order; they are not written again.
    kept
        Numbers of the datasets that rank 0 alone can read, beside sequential ones.
    queue
        Which dataset comes before which; None for the order of their paths.
    elsewhere
        Numbers of the datasets that are written by other plans.
    assigned
        By number of a dataset, the runs of grains that each rank writes, and nothing else is written; None for
        everything, as the decomposition says.
    blocks
        By number of a dataset, the shape of the large blocks in which its source has the values: buffers are shaped
        after them.
    """

    layout: FileLayout
    ranks: int
    decomposition: str = "balanced"
    buffer_mb: float = DEFAULT_BUFFER_MB
    done: Mapping[int, npt.NDArray[np.bool_]] = field(default_factory=dict, repr=False, compare=False)
    kept: frozenset[int] = frozenset()
    queue: WriteQueue | None = None
    elsewhere: frozenset[int] = frozenset()
    assigned: Mapping[int, Sequence[Runs]] | None = field(default=None, repr=False)
    blocks: Mapping[int, tuple[int, ...]] = field(default_factory=dict, repr=False)
    _strategy: Strategy = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.ranks < 1:
            raise PlanError(f"a plan needs at least one rank, got {self.ranks}")
        if not 0 < self.buffer_mb < math.inf:
            raise PlanError(f"buffer_mb must be positive and finite, got {self.buffer_mb}")
        object.__setattr__(self, "_strategy", strategy(self.decomposition))
        if sorted(self.order.datasets) != list(range(len(self.layout))):
            raise PlanError(f"a queue has each of {len(self.layout)} datasets once, got {self.order.datasets}")

    # -- assignment ----------------------------------------------------------------------------------------

    @cached_property
    def grain_grids(self) -> tuple[ChunkGrid, ...]:
        """For each dataset, its grid of grains, in elements. Does not depend on any setting."""
        return tuple(grain_grid(spec) for spec in self.layout)

    @cached_property
    def order(self) -> WriteQueue:
        """The queue that was given, or that of the paths."""
        return self.queue or write_queue("file", self.layout)

    def shares(self, rank: int) -> list[Share]:
        """Return the boxes of grains that ``rank`` owns, ordered by dataset as the queue is."""
        return [share for shares in self._shares_by_dataset(rank).values() for share in shares]

    def _shares_by_dataset(self, rank: int) -> dict[int, list[Share]]:
        """Return the shares of one rank by dataset, in the queue's order. The last rank's are remembered."""
        if rank not in self._remembered:
            shares = self._assigned_to(rank, self.assigned) if self.assigned is not None else self._decomposed(rank)
            by_dataset: dict[int, list[Share]] = {}
            for share in shares:
                by_dataset.setdefault(share.dataset, []).append(share)
            self._remembered.clear()
            self._remembered[rank] = by_dataset
        return self._remembered[rank]

    def _assigned_to(self, rank: int, assigned: Mapping[int, Sequence[Runs]]) -> list[Share]:
        return [
            Share(number, box)
            for number, runs in assigned.items()
            for low, high in runs[rank]
            for box in run_boxes(low, high, self.grain_grids[number].extent)
        ]

    def _decomposed(self, rank: int) -> list[Share]:
        return [share for turn, first in self._firsts for share in self._shares_in(turn, first, rank)]

    def _shares_in(self, turn: tuple[int, ...], first: int, rank: int) -> list[Share]:
        """Return what one rank owns of the datasets of a turn, by dataset."""
        found = self._strategy([self._spread[number] for number in turn], self.ranks, (rank - first) % self.ranks)
        shares = [replace(share, dataset=turn[share.dataset]) for share in found]
        if rank == 0:
            shares += [
                Share(number, Hyperslab.whole(self.grain_grids[number].extent))
                for number in turn
                if self.is_kept(number) and number not in self.elsewhere
            ]
        return sorted((share for share in shares if share.grains.size), key=lambda share: share.dataset)

    @cached_property
    def _firsts(self) -> list[tuple[tuple[int, ...], int]]:
        """For each turn, the rank that gets its first grains: where the turns before have handed out theirs one by one.

        Without it rank 0 would get all of the datasets that have a single grain.
        """
        counts = [sum(self._spread[number].open_size for number in turn) for turn in self.order.turns]
        given = [0, *accumulate(counts)]
        return [(turn, count % self.ranks) for turn, count in zip(self.order.turns, given, strict=False)]

    @cached_property
    def _remembered(self) -> dict[int, dict[int, list[Share]]]:
        return {}

    @cached_property
    def _spread(self) -> list[Grains]:
        """The grains that a strategy spreads over ranks; none of what stays with the root."""
        return [
            Grains((0,), 1)
            if self.is_kept(number) or number in self.elsewhere
            else Grains(grid.extent, max(1, round(self._cost_of(number, size))), self._open_runs(number))
            for number, (grid, size) in enumerate(zip(self.grain_grids, self._grain_bytes, strict=True))
        ]

    @property
    def _grain_bytes(self) -> list[int]:
        """For each dataset, the uncompressed bytes of a whole grain."""
        return [
            math.prod(grid.chunk) * spec.itemsize for spec, grid in zip(self.layout, self.grain_grids, strict=True)
        ]

    def is_kept(self, dataset: int) -> bool:
        """Tell whether a dataset stays with the root.

        Of a sequential one it has proved that it can only be read in order, and has begun to read it.
        """
        return dataset in self.kept or self.layout.datasets[dataset].access == Access.SEQUENTIAL

    def buffers(self, rank: int, dataset: int | None = None) -> Iterator[Buffer]:
        """Iterate over what ``rank`` reads, of everything or of one dataset, in the order of the queue.

        Buffers are boxes of whole chunks, of ``buffer_mb`` as told there.
        """
        shares = self._shares_by_dataset(rank)
        wanted = shares if dataset is None else {dataset: shares.get(dataset, [])}
        yield from self.order.arranged({number: self._buffers_of(found) for number, found in wanted.items()})

    def _buffers_of(self, shares: list[Share]) -> Iterator[Buffer]:
        buffers = (Buffer(share.dataset, slab) for share in shares for slab in self._slabs(share))
        return (buffer for buffer in buffers if not self._is_needless(buffer))

    def is_done(self, dataset: int, index: tuple[int, ...]) -> bool:
        """Tell whether an earlier attempt has written a chunk."""
        if dataset not in self.done:
            return False
        return bool(self.done[dataset][ravel(index, self.layout.datasets[dataset].grid.extent)])

    def _is_needless(self, buffer: Buffer) -> bool:
        """Tell whether a buffer need not be read: all of it is done, and what follows can be read without it."""
        if buffer.dataset not in self.done or self.layout.datasets[buffer.dataset].access == Access.SEQUENTIAL:
            return False
        return all(self.is_done(buffer.dataset, index) for index, _ in self.chunks(buffer))

    def open_runs(self, dataset: int) -> Runs:
        """Return the runs of grains with a chunk that is not done, in C order."""
        runs = self._open_runs(dataset)
        return ((0, self.grain_grids[dataset].size),) if runs is None else runs

    def _open_runs(self, dataset: int) -> Runs | None:
        """Return the runs of grains with a chunk that is not done; None if nothing is done."""
        if dataset not in self.done:
            return None
        spec, grain = self.layout.datasets[dataset], self.grain_grids[dataset]
        is_open = ~self.done[dataset]
        if spec.access != Access.RANDOM:
            cells = (spec.grid.cells(grain.cell(index)) for index in Hyperslab.whole(grain.extent).points())
            is_open = np.array([is_open.reshape(spec.grid.extent)[box.slices].any() for box in cells], dtype=bool)
        edges = np.flatnonzero(np.diff(np.concatenate([[False], is_open, [False]]).astype(np.int8)))
        return tuple((int(low), int(high)) for low, high in edges.reshape(-1, 2))

    def _slabs(self, share: Share) -> Iterator[Hyperslab]:
        spec, grain = self.layout.datasets[share.dataset], self.grain_grids[share.dataset]
        if spec.access == Access.GRIDDED:  # a grain is a cell of the read grid, and is read as such
            yield from (grain.cell(index) for index in share.grains.points())
            return
        if spec.access == Access.SEQUENTIAL:  # whole rows in order
            rows = sequential_rows(spec, int(self.buffer_mb * MiB))
            yield from (rows.cell(index) for index in Hyperslab.whole(rows.extent).points())
            return
        room = self._room(spec)
        cells = spec.grid.cells(grain.elements(share.grains))
        if share.dataset in self.blocks:
            shape = cells_at_once(cells.count, spec.grid.chunk, self.blocks[share.dataset], room)
            yield from (spec.grid.elements(box) for box in cells.tiles(shape))
            return
        yield from (spec.grid.elements(box) for box in cells.split(room))

    def _room(self, spec: DatasetSpec) -> int:
        """Return how many chunks a buffer has room for; 0 where one is larger, which is a buffer by itself."""
        return int(self.buffer_mb * MiB) // spec.chunk_bytes

    def chunks(self, buffer: Buffer) -> Iterator[tuple[tuple[int, ...], Hyperslab]]:
        """Iterate over ``(chunk index, elements)`` of a buffer, in C order."""
        grid = self.layout.datasets[buffer.dataset].grid
        for index in grid.cells(buffer.slab).points():
            yield index, grid.cell(index)

    def count_chunks(self, rank: int, dataset: int) -> int:
        """Return how many chunks of a dataset ``rank`` writes."""
        spec = self.layout.datasets[dataset]
        return sum(
            spec.grid.cells(self.grain_grids[dataset].elements(share.grains)).size
            for share in self._shares_by_dataset(rank).get(dataset, [])
        )

    def rounds(self, dataset: int) -> int:
        """Return how many collective steps a dataset takes: the largest chunk count of any rank."""
        if dataset in self.elsewhere or (self.assigned is not None and dataset not in self.assigned):
            return 0
        return max(self.count_chunks(rank, dataset) for rank in range(self.ranks))

    # -- what it costs -------------------------------------------------------------------------------------

    @property
    def remaining_bytes(self) -> int:
        """Uncompressed bytes of the chunks that this plan has to write."""
        if self.assigned is not None:
            return sum(self.nbytes(rank) for rank in range(self.ranks))
        return sum(self.remaining_of(number) for number in range(len(self.layout)) if number not in self.elsewhere)

    def remaining_of(self, dataset: int) -> int:
        """Return the uncompressed bytes of a dataset's chunks that are not done."""
        done = self._bytes_of(dataset, self.done[dataset]) if dataset in self.done else 0
        return self.layout.datasets[dataset].nbytes - done

    def _bytes_of(self, dataset: int, chunks: npt.NDArray[np.bool_]) -> int:
        """Return the bytes of some chunks of a dataset, those at its end counted as far as they are filled."""
        spec = self.layout.datasets[dataset]
        sizes = np.array(spec.itemsize, dtype=np.int64)
        for extent, chunk, count in zip(spec.shape, spec.grid.chunk, spec.grid.extent, strict=True):
            sizes = np.multiply.outer(sizes, np.minimum(chunk, extent - chunk * np.arange(count)))
        return int(sizes.reshape(-1)[chunks].sum())

    def nbytes(self, rank: int) -> int:
        """Return the uncompressed bytes that ``rank`` writes."""
        return sum(nbytes for _, nbytes in self._bytes_by_share(rank))

    def cost(self, rank: int) -> float:
        """Return those bytes and, as far as it counts beside writing, what must be read beside them."""
        return sum(self._cost_of(dataset, nbytes) for dataset, nbytes in self._bytes_by_share(rank))

    @property
    def total_cost(self) -> float:
        """What all datasets cost, whoever writes them."""
        return sum(self._cost_of(number, spec.nbytes) for number, spec in enumerate(self.layout))

    def _bytes_by_share(self, rank: int) -> Iterator[tuple[int, int]]:
        """Iterate over ``(dataset, uncompressed bytes)`` of the boxes of a rank."""
        for share in self.shares(rank):
            slab = self.grain_grids[share.dataset].elements(share.grains)
            yield share.dataset, slab.size * self.layout.datasets[share.dataset].itemsize

    @cached_property
    def readings(self) -> tuple[int, ...]:
        """For each dataset, how many times its source reads a row: 1 where a buffer has all of it."""
        return tuple(
            1 if number in self.blocks else readings(spec, self._room(spec)) for number, spec in enumerate(self.layout)
        )

    def _cost_of(self, dataset: int, nbytes: int) -> float:
        """Return what some of a dataset's bytes cost, wherever in it they are."""
        spec = self.layout.datasets[dataset]
        read = self.readings[dataset] * (spec.nbytes + spec.read_beside)
        return nbytes * (1 + (read - spec.nbytes) / max(1, spec.nbytes * READ_WHILE_WRITTEN))

    def buffer_bytes(self, dataset: int) -> int:
        """Return the bytes of the largest buffer of a dataset."""
        spec, grain = self.layout.datasets[dataset], self.grain_grids[dataset]
        if spec.access == Access.SEQUENTIAL:
            grain = sequential_rows(spec, int(self.buffer_mb * MiB))
        whole = Hyperslab.whole(spec.shape).size * spec.itemsize
        if spec.access not in (Access.RANDOM, Access.GROWING):
            return min(whole, math.prod(grain.chunk) * spec.itemsize)
        return min(whole, max(spec.chunk_bytes, int(self.buffer_mb * MiB)))

    def least_memory(self, rank: int) -> int:
        """Return the bytes that a rank cannot do without: the chunks of its largest buffer."""
        return max(
            (
                next(self._slabs(share)).size * self.layout.datasets[share.dataset].itemsize  # the first is the largest
                for share in self.shares(rank)
            ),
            default=0,
        )

    def memory(self) -> int:
        """Return the most that ``projected_memory`` can be, whatever rank and number of ranks."""
        sizes = (self.buffer_bytes(number) for number, spec in enumerate(self.layout) if spec.nbytes)
        return BUFFERS_IN_FLIGHT * max(sizes, default=0)

    def projected_memory(self, rank: int) -> int:
        """Return the projected bytes of buffers on ``rank``, without what interpreter and source need themselves.

        What the source returns, the chunks that are put together from it, and the encoded chunks of three buffers,
        which may be as large as the data.
        """
        return BUFFERS_IN_FLIGHT * self.least_memory(rank)

    def balance(self) -> float:
        """Return the largest rank's cost over the average; 1.0 is perfect. Of very many ranks, an even sample's."""
        return self._largest_share * self.ranks / self.total_cost if self.layout.nbytes else 1.0

    @cached_property
    def _largest_share(self) -> float:
        """Cost of the rank that has most; of very many ranks not all are looked at."""
        looked_at = min(self.ranks, MOST_LOOKED_AT)
        return max(self.cost(self.ranks * number // looked_at) for number in range(looked_at))

    def to_json(self, *, ranks: range | None = None) -> dict[str, Any]:
        """Return the plan as plain values: the layout, and per rank bytes, buffers, memory and hyperslabs."""
        return {
            "ranks": self.ranks,
            "decomposition": self.decomposition,
            "buffer_mb": self.buffer_mb,
            "queue": self.order.to_json(self.layout),
            "total_bytes": self.layout.nbytes,
            "balance": self.balance(),
            "projected_memory_bytes": self.memory(),
            "readings": list(self.readings),
            "datasets": self.layout.to_json(),
            "shares": [self._rank_json(rank) for rank in (range(self.ranks) if ranks is None else ranks)],
        }

    def _repr_html_(self) -> str:
        """Return the plan as notebooks show it."""
        return plan_fragment(self.to_json(ranks=range(min(self.ranks, MOST_RANKS))))

    def _rank_json(self, rank: int) -> dict[str, Any]:
        slabs = [(s.dataset, self.grain_grids[s.dataset].elements(s.grains)) for s in self.shares(rank)]
        return {
            "rank": rank,
            "bytes": self.nbytes(rank),
            "buffers": sum(1 for _ in self.buffers(rank)),
            "projected_memory_bytes": self.projected_memory(rank),
            "hyperslabs": [
                {
                    "dataset": self.layout.datasets[number].path,
                    "start": list(slab.start),
                    "count": list(slab.count),
                }
                for number, slab in slabs
            ],
        }


def grain_grid(spec: DatasetSpec) -> ChunkGrid:
    """Return the grid of what is given to ranks whole: chunks, blocks of the read grid, or everything."""
    if spec.access in (Access.RANDOM, Access.GROWING):
        return spec.grid
    if spec.access == Access.SEQUENTIAL:
        return ChunkGrid(spec.shape, tuple(max(1, n) for n in spec.shape))
    first = next(Hyperslab.whole(spec.grid.extent).split(READ_GRID_BYTES // spec.chunk_bytes), None)
    cells = first.count if first is not None else (1,) * len(spec.shape)
    return ChunkGrid(spec.shape, tuple(c * n for c, n in zip(spec.grid.chunk, cells, strict=True)))


def sequential_rows(spec: DatasetSpec, buffer_bytes: int) -> ChunkGrid:
    """Return the grid of whole rows, as thick as chunks are, in which an ordered source is read."""
    thickness = spec.grid.chunk[0]
    slab_bytes = max(1, thickness * math.prod(spec.shape[1:]) * spec.itemsize)
    return ChunkGrid(spec.shape, (thickness * max(1, buffer_bytes // slab_bytes), *(max(1, n) for n in spec.shape[1:])))
