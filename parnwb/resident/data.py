"""Data that are spread over the memories of all ranks: ``Distributed``, ``Owned`` and ``DistributedRagged``.

Each is made by all ranks together, because pynwb checks shapes when a container is made, and looks to pynwb like an
iterator over the whole array: it has the shape of the whole, but its values can be had by ``NWBParallelIO`` only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import numpy.typing as npt

from parnwb.comm import DEFAULT_WATCHDOG, Ranks
from parnwb.element import NUMERIC_KINDS, is_self_contained
from parnwb.errors import ParnwbError, SourceError
from parnwb.given import as_array, is_list_like, whole_numbers
from parnwb.hyperslab import Hyperslab
from parnwb.resident.held import Block, Columns, Held, Rows
from parnwb.resident.partition import check_boxes, check_positions, places
from parnwb.sources.access import Access

if TYPE_CHECKING:
    from hdmf.common import VectorData
    from mpi4py import MPI

UNTYPED: npt.NDArray[Any] = np.empty(0)
"""A row that is an empty list: it has the type of all others."""
REMEDY = "Write with NWBParallelIO, on the communicator that the data were made with"


class Resident:
    """An array of which each rank holds a part; hdmf counts it among its iterators, and so pynwb takes it. Independent.

    Parameters
    ----------
    shape, dtype
        Of the whole array.
    held
        What this rank has of it.
    rank, ranks
        Of the communicator it was made on.
    key
        The same on all ranks, and another for every other array.
    """

    def __init__(
        self, shape: tuple[int, ...], dtype: np.dtype[Any], held: Sequence[Held], rank: int, ranks: int, key: int
    ) -> None:
        from hdmf.data_utils import AbstractDataChunkIterator

        AbstractDataChunkIterator.register(type(self))
        self._shape, self._dtype = shape, dtype
        self.held, self.rank, self.ranks, self.key = tuple(held), rank, ranks, key

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole, in elements."""
        return self._shape

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self._shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of an element, byte order included."""
        return self._dtype

    @property
    def maxshape(self) -> tuple[int, ...]:
        """Shape of the whole: hdmf asks iterators for it."""
        return self._shape

    @property
    def access(self) -> Access:
        """Always ``Access.RANDOM``."""
        return Access.RANDOM

    def __len__(self) -> int:
        return self._shape[0]

    def recommended_chunk_shape(self) -> None:
        """Return None: hdmf decides as it does for arrays."""

    def recommended_data_shape(self) -> tuple[int, ...]:
        """Return the shape of the whole."""
        return self._shape

    def own(self, box: Hyperslab) -> tuple[npt.NDArray[Any], int]:
        """Return an array of a box's shape with the elements that this rank has, and how many these are."""
        values, count = np.zeros(box.count, dtype=self._dtype), 0
        for held in self.held:
            for part in held.within(box):
                part.put_into(values, box.start)
                count += part.slab.size
        return values, count

    def read(self, slab: Hyperslab) -> npt.NDArray[Any]:
        """Return the values of ``slab``, where this rank has all of them.

        Raises
        ------
        SourceError
            Others have some of them.
        """
        values, count = self.own(slab)
        if count != slab.size:
            self._refuse()
        return values

    def _refuse(self, *_: object) -> NoReturn:
        raise SourceError(
            f"the values of an array that is spread over {self.ranks} ranks cannot be read by one of them",
            where=f"{type(self).__name__} of shape {self._shape}",
            remedy=REMEDY,
        )

    def __iter__(self) -> NoReturn:
        self._refuse()

    def __next__(self) -> NoReturn:
        self._refuse()

    def __getitem__(self, selection: object) -> NoReturn:
        self._refuse()

    def __array__(self, *_: object, **__: object) -> NoReturn:
        """Refuse: no rank has the whole."""
        self._refuse()

    def __reduce__(self) -> NoReturn:
        raise SourceError(
            "data that are spread over ranks need the NWBFile on every rank",
            where=f"{type(self).__name__} of shape {self._shape}",
            remedy="Build it everywhere, each rank with its own part, and give it to write on every rank",
        )


class Distributed(Resident):
    """An array that is cut along one axis, a piece for each rank. Construction is collective.

    Parameters
    ----------
    local
        This rank's piece, in elements; of the same dtype and, beside ``axis``, the same shape on all ranks. It may be
        empty, and is kept, not copied: leave it as it is until the file is written.
    axis
        Along which the pieces follow each other; negative values count from the last.
    index
        Position of each of this rank's elements along ``axis``, in any order; over all ranks 0 to n - 1, each once.
        None: in the order of ranks.
    comm
        Of the ranks that have a piece: the one that ``NWBParallelIO`` gets. None: this process has all.

    Raises
    ------
    ParnwbError
        Ranks differ in dtype, number of axes, ``axis`` or shape, or positions are missing or there twice. The same
        on all ranks; it names the rank and what differs.
    """

    def __init__(
        self,
        local: npt.ArrayLike,
        axis: int = 0,
        *,
        index: npt.ArrayLike | None = None,
        comm: MPI.Intracomm | None,
    ) -> None:
        ranks = _ranks(comm, "construct Distributed")
        try:
            with ranks.agreed("Distributed"):
                values = _numeric(local, "Distributed")
                axis = _axis(axis, values.ndim)
                positions = None if index is None else _positions(index, values.shape[axis], "index")
            others = [n for number, n in enumerate(values.shape) if number != axis]
            _same(
                ranks,
                dtype=str(values.dtype),
                axes=values.ndim,
                axis=axis,
                **{"shape beside the axis": others, "index given": positions is not None},
            )
            lengths = ranks.gather_all(values.shape[axis])
            shape = (*values.shape[:axis], sum(lengths), *values.shape[axis + 1 :])
            held: Held
            if positions is None:
                first = sum(lengths[: ranks.rank])
                held = Block(values, tuple(first if number == axis else 0 for number in range(values.ndim)))
            else:
                check_positions(ranks, positions, sum(lengths), "index")
                held = Columns(values, axis, positions)
            super().__init__(shape, values.dtype, [held], ranks.rank, ranks.size, _key(ranks))
        finally:
            ranks.free()


class Owned(Resident):
    """An array of which each rank has blocks anywhere. Construction is collective.

    Parameters
    ----------
    block
        This rank's block, or a list of its blocks, which may be empty; kept, not copied.
    start
        Where the first element of the block is in the whole array; for a list, one for each.
    shape
        Of the whole array. None: what the blocks reach to.
    comm
        Of the ranks that have blocks: the one that ``NWBParallelIO`` gets. None: this process has all.

    Raises
    ------
    ParnwbError
        Ranks differ in dtype or number of axes, or blocks overlap or leave gaps. The same on all ranks.
    """

    def __init__(
        self,
        block: npt.ArrayLike | list[Any],
        start: Sequence[Any],
        *,
        shape: Sequence[int] | None = None,
        comm: MPI.Intracomm | None,
    ) -> None:
        ranks = _ranks(comm, "construct Owned")
        try:
            with ranks.agreed("Owned"):
                held = _blocks(block, start)
                extents = None if shape is None else _extents(shape)
                kinds = {(item.values.dtype, item.values.ndim) for item in held}
                if len(kinds) > 1:
                    raise ParnwbError(f"all blocks must have one dtype and number of axes, got {_listed(kinds)}")
            kind = kinds.pop() if kinds else None
            dtype, axes = _first(ranks, kind, ("dtype", "number of axes"), (np.dtype("f8"), 1))
            _same(ranks, shape=extents)
            boxes = ranks.gather_all([item.slab for item in held])
            owners = [(box, rank) for rank, own in enumerate(boxes) for box in own]
            with ranks.agreed("looking at the blocks"):
                whole = extents if extents is not None else _reach([box for box, _ in owners], axes)
                _check_within(owners, whole)
                check_boxes(owners, whole)
            super().__init__(whole, dtype, held, ranks.rank, ranks.size, _key(ranks))
        finally:
            ranks.free()


class DistributedRagged:
    """Rows of uneven length, some on each rank, as ragged columns of tables hold them. Construction is collective.

    Parameters
    ----------
    rows
        This rank's rows: arrays that differ in their first extent at most; with ``depth=2`` lists of such arrays. They
        are kept, not copied. Elements are numbers or booleans, or for columns whose type has fields, such as
        ``pixel_mask``, compound values with exactly these fields.
    index
        Position of each row in the table, in any order; over all ranks 0 to n - 1, each once. None: in the order of
        ranks.
    depth
        1 for ``spike_times``, whose rows are arrays; 2 for ``waveforms``, whose rows are lists of arrays.
    comm
        Of the ranks that have rows: the one that ``NWBParallelIO`` gets. None: this process has all.

    Attributes
    ----------
    data
        All rows one after the other, for a ``VectorData``.
    indexes
        For a ``VectorIndex`` each, that of ``data`` first; unsigned integers as short as pynwb makes them.

    Raises
    ------
    ParnwbError
        Ranks differ in dtype or shape, or positions are missing or there twice. The same on all ranks.
    """

    def __init__(
        self,
        rows: Sequence[Any],
        index: npt.ArrayLike | None = None,
        *,
        depth: int = 1,
        comm: MPI.Intracomm | None,
    ) -> None:
        ranks = _ranks(comm, "construct DistributedRagged")
        try:
            with ranks.agreed("DistributedRagged"):
                if isinstance(depth, bool) or not isinstance(depth, int) or depth < 1:
                    raise ParnwbError(f"depth must be 1 or more, got {depth!r}")
                levels = _levels(rows, depth)
                kinds = {(leaf.dtype, leaf.shape[1:]) for leaf in levels.leaves if leaf is not UNTYPED}
                if len(kinds) > 1:
                    raise ParnwbError(f"rows must have one dtype and shape beside their length, got {_listed(kinds)}")
                positions = None if index is None else _positions(index, len(rows), "index")
            _same(ranks, depth=depth, **{"index given": positions is not None})
            kind = kinds.pop() if kinds else None
            dtype, trailing = _first(ranks, kind, ("dtype", "shape of an element"), (np.dtype("f8"), ()))
            levels.give_type(dtype, trailing)
            counts = ranks.gather_all(len(rows))
            total = sum(counts)
            if positions is None:
                positions = sum(counts[: ranks.rank]) + np.arange(len(rows), dtype=np.int64)
            else:
                check_positions(ranks, positions, total, "index")
            self.data, self.indexes = _spread(ranks, levels, positions, total, dtype, trailing)
        finally:
            ranks.free()

    def columns(
        self, name: str, description: str, column: Callable[..., VectorData] | None = None, **settings: Any
    ) -> list[Any]:
        """Return the column and its indexes as a table's constructor takes them. Independent.

        Parameters
        ----------
        name, description
            Of the column.
        column
            Its class, or what makes one of ``name``, ``description`` and ``data``; None for ``VectorData``.
        **settings
            For ``H5DataIO``, around the data: ``compression='gzip'``, for one.
        """
        from hdmf.backends.hdf5 import H5DataIO
        from hdmf.common import VectorData, VectorIndex

        if column is not None and not callable(column):
            raise ParnwbError(f"column must be a class of columns, such as VectorData, got {column!r}")
        target: VectorData = (column or VectorData)(
            name=name, description=description, data=H5DataIO(self.data, **settings) if settings else self.data
        )
        found = [target]
        for index in self.indexes:
            target = VectorIndex(name=f"{target.name}_index", data=index, target=target)
            found.insert(0, target)
        return found


class _Levels:
    """Rows as flat lists: for each row, how many items it has on each level, and how long each item is.

    Attributes
    ----------
    counts
        ``counts[level][row]``: items of a row on a level; on the last one elements.
    lengths
        ``lengths[level][row]``: how many items of the level below each item of the row has.
    leaves
        The arrays, in the order of rows.
    """

    def __init__(self, rows: Sequence[Any], depth: int) -> None:
        items: list[list[Any]] = [[row] for row in rows]
        self.counts: list[npt.NDArray[np.int64]] = []
        self.lengths: list[list[npt.NDArray[np.int64]]] = []
        for level in range(depth):
            if level == depth - 1:
                items = [[_elements(leaf) for leaf in own] for own in items]
            self.lengths.append([np.array([len(item) for item in own], dtype=np.int64) for own in items])
            self.counts.append(np.array([own.sum() for own in self.lengths[-1]], dtype=np.int64))
            if level < depth - 1:
                items = [[inner for item in own for inner in item] for own in items]
        self.leaves: list[npt.NDArray[Any]] = [leaf for own in items for leaf in own]

    def give_type(self, dtype: np.dtype[Any], trailing: tuple[int, ...]) -> None:
        """Give empty lists the type of all other rows."""
        empty = np.empty((0, *trailing), dtype=dtype)
        self.leaves = [empty if leaf is UNTYPED else leaf for leaf in self.leaves]


def _levels(rows: Sequence[Any], depth: int) -> _Levels:
    if not is_list_like(rows):
        raise ParnwbError(
            f"DistributedRagged takes a list of rows, got {_shown(rows)}",
            remedy="Give a list of this rank's rows, such as list(rows) of a generator, and an empty one for none",
        )
    try:
        return _Levels(rows, depth)
    except (TypeError, ParnwbError) as error:
        if depth == 1 and isinstance(error, ParnwbError):
            raise
        kind = "arrays" if depth == 1 else f"lists of arrays, nested {depth} deep"
        raise ParnwbError(f"with depth {depth} rows must be {kind}: {error}") from error


def _spread(
    ranks: Ranks,
    levels: _Levels,
    index: npt.NDArray[np.int64],
    total: int,
    dtype: np.dtype[Any],
    trailing: tuple[int, ...],
) -> tuple[Resident, list[Resident]]:
    """Return the data and the indexes of rows whose positions are known, the data's own index first. Collective."""
    indexes: list[Resident] = []
    starts, above = index, total
    for level, (counts, lengths) in enumerate(zip(levels.counts, levels.lengths, strict=True)):
        begin, length = places(ranks, index, counts, total)
        kind = index_dtype(length if above else 0)
        ends = [(first + np.cumsum(own)).astype(kind) for first, own in zip(begin, lengths, strict=True)]
        held: Held = Rows(ends, starts)
        if level == 0:
            held = Columns(np.concatenate([np.empty(0, kind), *ends]), 0, index)
        indexes.insert(0, Resident((above,), kind, [held], ranks.rank, ranks.size, _key(ranks)))
        starts, above = begin, length
    data = Rows(levels.leaves, _leaf_starts(starts, levels.lengths[-1]))
    return Resident((above, *trailing), dtype, [data], ranks.rank, ranks.size, _key(ranks)), indexes


def _leaf_starts(starts: npt.NDArray[np.int64], lengths: Iterable[npt.NDArray[np.int64]]) -> npt.NDArray[np.int64]:
    found = [first + np.cumsum(own) - own for first, own in zip(starts, lengths, strict=True)]
    return np.concatenate([np.empty(0, dtype=np.int64), *found])


def index_dtype(length: int) -> np.dtype[Any]:
    """Return the type of a ``VectorIndex`` into ``length`` elements, as hdmf chooses it. Independent."""
    return next(np.dtype(f"u{size}") for size in (1, 2, 4, 8) if length < 2 ** (8 * size))


def _ranks(comm: MPI.Intracomm | None, call: str) -> Ranks:
    return Ranks(comm, DEFAULT_WATCHDOG, call)


def _key(ranks: Ranks) -> int:
    """Return a number that the ranks have in common, and no other array of this process. Collective."""
    return ranks.broadcast(int.from_bytes(np.random.default_rng().bytes(7), "little"))


def _same(ranks: Ranks, **values: object) -> None:
    ranks.same(values, "Give all ranks pieces of one array")


def _first(ranks: Ranks, kind: Any, names: Sequence[str], default: Any) -> Any:
    """Return what the ranks that have values agree on. Collective; None where this rank has none."""
    kinds = ranks.gather_all(kind)
    reference = next(((rank, item) for rank, item in enumerate(kinds) if item is not None), None)
    if reference is None:
        return default
    first, expected = reference
    for rank, item in enumerate(kinds):
        for name, there, here in zip(names, expected, item or expected, strict=True):
            if there != here:
                raise ranks.known_to_all(
                    ParnwbError(
                        f"{name} must be the same on all ranks: rank {first} has {there}, rank {rank} has {here}",
                        remedy="Give all ranks pieces of one array",
                    )
                )
    return expected


def _listed(kinds: Iterable[tuple[Any, ...]]) -> str:
    return " and ".join(sorted(" ".join(map(str, kind)) for kind in kinds))


def _shown(values: Any) -> str:
    """Return something that was given for a message; ranks that give alike must say alike."""
    simple = values is None or isinstance(values, str | bytes | int | float)
    return repr(values)[:40] if simple else f"an object of type {type(values).__name__}"


def _numeric(values: Any, what: str) -> npt.NDArray[Any]:
    array = as_array(values, f"what {what} takes", remedy="Give one array of this rank's values")
    if array.ndim == 0:
        raise ParnwbError(
            f"{what} takes arrays of at least one axis, got {_shown(values)}",
            remedy="Give an empty array of the right shape and dtype where a rank has nothing",
        )
    if array.dtype.kind not in NUMERIC_KINDS:
        raise ParnwbError(f"{what} takes numbers and booleans, got dtype {array.dtype}")
    return array


def _elements(values: Any) -> npt.NDArray[Any]:
    """Return a row: numbers, or compound values of them, as the pixels of a mask are."""
    if not hasattr(values, "dtype") and isinstance(values, list | tuple) and len(values) == 0:
        return UNTYPED
    array = as_array(values, "a row")
    if array.ndim > 0 and array.dtype.names is not None and is_self_contained(array.dtype):
        return array
    return _numeric(array if array.ndim else values, "a row")


def _axis(axis: int, ndim: int) -> int:
    if isinstance(axis, bool) or not isinstance(axis, int | np.integer) or not -ndim <= axis < ndim:
        raise ParnwbError(f"axis must be within the {ndim} axes of the data, got {axis!r}")
    return int(axis) % ndim


def _positions(index: npt.ArrayLike, length: int, what: str) -> npt.NDArray[np.int64]:
    array = as_array(index, what, remedy="Give a list of whole numbers")
    if array.shape != (length,) or (array.size and array.dtype.kind not in "iu"):
        raise ParnwbError(f"{what} must have one whole number for each of {length}, got {array.dtype} of {array.shape}")
    if array.size and int(array.max()) > np.iinfo(np.int64).max:
        raise ParnwbError(f"{what} must be a position, got {int(array.max())}", remedy="Positions count from 0")
    return array.astype(np.int64)


def _extents(shape: Any) -> tuple[int, ...]:
    found = whole_numbers(shape)
    if found is None or min(found, default=0) < 0:
        raise ParnwbError(
            f"shape must have one whole number from 0 on for each axis, got {shape!r}",
            remedy="Give the shape of the whole array, as a tuple, or leave it out",
        )
    return found


def _blocks(block: Any, start: Sequence[Any]) -> list[Block]:
    if not isinstance(block, list):
        block, start = [block], [start]
    if not is_list_like(start) or len(block) != len(start):
        count = len(start) if is_list_like(start) else _shown(start)
        raise ParnwbError(f"Owned takes a list with one start for each block, got {count} for {len(block)}")
    found = []
    for values, corner in zip(block, start, strict=True):
        array = _numeric(values, "Owned")
        place = whole_numbers(corner if is_list_like(corner) else [corner]) or ()
        if len(place) != array.ndim or min(place) < 0:
            raise ParnwbError(
                f"start must have one whole number from 0 on for each axis of a block of shape {array.shape}, "
                f"got {corner!r}",
                remedy="Give a tuple, or a list of blocks and a list of starts",
            )
        found.append(Block(array, place))
    return found


def _reach(boxes: Sequence[Hyperslab], axes: int) -> tuple[int, ...]:
    return tuple(max((box.stop[axis] for box in boxes if box.size), default=0) for axis in range(axes))


def _check_within(owners: Sequence[tuple[Hyperslab, int]], shape: tuple[int, ...]) -> None:
    for box, rank in owners:
        if len(shape) != len(box.count) or not Hyperslab.whole(shape).contains(box):
            raise ParnwbError(f"blocks must lie within shape {shape}: rank {rank} has {box.place('')}")
