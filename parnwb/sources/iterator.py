"""hdmf's ``GenericDataChunkIterator`` and its kin: who may be split over ranks, and who may not.

Such an iterator is asked for selections, and most answer any selection at any time. Some do not: they hand
out their next rows whatever the selection says, and splitting them writes the wrong frames without a word.
Nothing in their interface tells the two apart, so unknown ones are asked a few rows before they are trusted.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from parnwb.element import comparable
from parnwb.errors import SourceError
from parnwb.hyperslab import Hyperslab
from parnwb.sources.access import Access
from parnwb.sources.source import Source

if TYPE_CHECKING:
    from hdmf.data_utils import GenericDataChunkIterator

REPEATS = 8
"""How often row 0 is asked for: who ignores the selection is caught unless so many rows are equal."""

PROBE_BYTES = 64 * 2**20
"""Longer rows are probed by their first part, of at most this many bytes."""


class IteratorSource:
    """An iterator that answers any selection at any time. All calls are independent.

    Parameters
    ----------
    iterator
        The iterator.
    access
        ``RANDOM`` for iterators known to be exact, otherwise ``GRIDDED``.
    """

    def __init__(self, iterator: GenericDataChunkIterator, access: Access = Access.GRIDDED) -> None:
        self._iterator = iterator
        self._access = access

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape that the iterator announces, in elements."""
        return tuple(int(extent) for extent in self._iterator.maxshape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type that the iterator announces."""
        return np.dtype(self._iterator.dtype)

    @property
    def access(self) -> Access:
        """``RANDOM`` or ``GRIDDED``, as given."""
        return self._access

    def read(self, slab: Hyperslab) -> npt.NDArray[Any]:
        """Return what the iterator answers for ``slab``. Independent; raises whatever the iterator raises."""
        return _ask(self._iterator, slab)

    def __reduce__(self) -> tuple[Any, ...]:
        _check_picklable(self._iterator)
        return type(self), (self._iterator, self._access)


class SequentialSource:
    """An iterator that must be asked in order, by one reader, for whole rows. All calls are independent.

    Parameters
    ----------
    iterator
        The iterator.
    replay
        Rows that the iterator has already handed out, each of shape ``(1, ...)``: they are given again as the
        first rows.
    """

    def __init__(self, iterator: GenericDataChunkIterator, replay: tuple[npt.NDArray[Any], ...] = ()) -> None:
        self._iterator = iterator
        self._replay = replay
        self._next = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape that the iterator announces, in elements."""
        return tuple(int(extent) for extent in self._iterator.maxshape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type that the iterator announces."""
        return np.dtype(self._iterator.dtype)

    @property
    def access(self) -> Access:
        """Always ``Access.SEQUENTIAL``."""
        return Access.SEQUENTIAL

    def read(self, slab: Hyperslab) -> npt.NDArray[Any]:
        """Return the rows of ``slab``, which must begin where the last call ended. Independent.

        Raises
        ------
        SourceError
            The rows are asked out of order or in part, or the iterator has run out of them.
        """
        self._check_order(slab)
        low, high = slab.start[0], slab.stop[0]
        parts = list(self._replay[low:high])
        fresh = max(low, len(self._replay))
        if fresh < high:
            parts.append(self._fetch(Hyperslab((fresh, *slab.start[1:]), (high - fresh, *slab.count[1:]))))
        self._next = high
        if high >= len(self._replay):
            self._replay = ()
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def __reduce__(self) -> tuple[Any, ...]:
        # A copy made by the iterator's own pickle starts at its own row 0, so nothing needs to be replayed.
        _check_picklable(self._iterator)
        return type(self), (self._iterator,)

    def _check_order(self, slab: Hyperslab) -> None:
        if slab.start[0] != self._next or slab.count[1:] != self.shape[1:]:
            raise SourceError(
                f"a sequential source is read once, in order and by whole rows: next is row {self._next}, "
                f"asked were start {slab.start} and count {slab.count} of {self.shape}",
                where=type(self._iterator).__name__,
                remedy="Give a fresh iterator to every write, and let one rank read it",
            )

    def _fetch(self, slab: Hyperslab) -> npt.NDArray[Any]:
        try:
            values = _ask(self._iterator, slab)
        except StopIteration:
            values = np.empty((0, *slab.count[1:]), self.dtype)
        if values.shape[:1] != slab.count[:1]:
            raise SourceError(
                f"a sequential source must hold the rows that it announces: asked for {slab.count[0]} rows "
                f"from row {slab.start[0]} on, got shape {values.shape}",
                where=type(self._iterator).__name__,
                remedy="Give a fresh iterator. If it ignores what is asked and its first rows are all equal, "
                "that cannot be told in advance: read it into a file first",
            )
        return values


def probed(iterator: GenericDataChunkIterator) -> Source:
    """Find out how an unknown iterator may be read. Independent; asks for a few rows, once per iterator.

    Row 0 is asked for repeatedly: different answers mean that the iterator ignores the selection and has
    moved on. Then other rows are: where one differs from row 0, and both are the same again when asked again,
    the iterator listens. Where nothing differs nothing is proven, and only reading in order is safe: an
    iterator that listens answers rightly, one that does not runs out before the end and raises.

    Returns
    -------
    source
        ``GRIDDED`` when the iterator proved that it listens, otherwise ``SEQUENTIAL``; rows that it had to
        give up are replayed.

    Raises
    ------
    SourceError
        The iterator failed, or its rows are too long to be kept and it ignores selections.
    """
    # A second probe would advance the iterator again and lose what the first one kept.
    return _once(iterator, _judge)


def sequential(iterator: GenericDataChunkIterator) -> Source:
    """Return the source of an iterator that is known to ignore the selection. Independent; reads nothing.

    Without a probe nothing is asked of it that would have to be kept, and its first rows may all be equal.
    """
    return _once(iterator, SequentialSource)


def _once(
    iterator: GenericDataChunkIterator, make: Callable[[GenericDataChunkIterator], Source]
) -> Source:
    """Return the one source of an iterator, which knows how far it has been read."""
    known: Source | None = getattr(iterator, "_parnwb_source", None)
    if known is None:
        known = make(iterator)
        setattr(iterator, "_parnwb_source", known)  # noqa: B010
    return known


def _judge(iterator: GenericDataChunkIterator) -> Source:
    source = IteratorSource(iterator)
    if len(source.shape) == 0 or source.shape[0] < 2 or 0 in source.shape:
        return SequentialSource(iterator)
    probe = _Probe(iterator)
    try:
        listens = probe.listens()
    except _Advanced:
        return SequentialSource(iterator, probe.kept())
    return source if listens else SequentialSource(iterator)


class _Advanced(Exception):
    """The iterator gave another answer to the same question."""


class _Probe:
    """The questions put to one iterator, and all answers in the order they came."""

    def __init__(self, iterator: GenericDataChunkIterator) -> None:
        self._iterator = iterator
        self._shape = tuple(int(extent) for extent in iterator.maxshape)
        row = Hyperslab((0,) * len(self._shape), (1, *self._shape[1:]))
        self._piece = next(row.split(PROBE_BYTES // np.dtype(iterator.dtype).itemsize))
        self._whole = self._piece == row
        self._answers: list[npt.NDArray[Any]] = []

    def listens(self) -> bool:
        """Tell whether the iterator is proven to listen; False proves nothing.

        Raises
        ------
        _Advanced
            It is proven not to.
        SourceError
            It failed.
        """
        first = self._ask(0)
        for _ in range(REPEATS - 1):
            self._expect(0, first)
        rows = self._shape[0]
        for row in dict.fromkeys((rows - 1, rows // 2, rows // 4 or 1, rows - 1 - rows // 4)):
            other = self._ask(row)
            if not _same(other, first):
                # One that does not listen may by chance hand out row 0's values again, but not alternately.
                for _ in range(2):
                    self._expect(0, first)
                    self._expect(row, other)
                return True
        return False

    def kept(self) -> tuple[npt.NDArray[Any], ...]:
        """Return the rows that the iterator handed out.

        Raises
        ------
        SourceError
            Only parts of them were asked for.
        """
        if not self._whole:
            raise SourceError(
                f"an iterator that ignores its selection must have rows of at most {PROBE_BYTES} bytes, "
                f"got rows of shape {self._shape[1:]}",
                where=type(self._iterator).__name__,
                remedy="Read it into a file first",
            )
        return tuple(self._answers)

    def _expect(self, row: int, answer: npt.NDArray[Any]) -> None:
        if not _same(self._ask(row), answer):
            raise _Advanced

    def _ask(self, row: int) -> npt.NDArray[Any]:
        slab = Hyperslab((row, *self._piece.start[1:]), self._piece.count)
        try:
            answer = _ask(self._iterator, slab)
        except Exception as error:  # noqa: BLE001 - told with the place at which it arose
            self._fail(f"{type(error).__name__}: {error}", error)
        if answer.shape != slab.count:
            self._fail(f"it returned shape {answer.shape} for {slab.count}", None)
        # Equal rows share one array: a thousand black frames take no more memory than one.
        last = self._answers[-1] if self._answers else None
        kept = last if last is not None and _same(last, answer) else answer.copy()
        self._answers.append(kept)
        return kept

    def _fail(self, reason: str, error: Exception | None) -> None:
        if len(self._answers) == self._shape[0]:
            raise _Advanced from error  # as many answers as rows: it has run out, so it never listened
        raise SourceError(
            f"an iterator must answer when it is asked for one row: {reason}",
            where=type(self._iterator).__name__,
            remedy="Check the iterator by iterating over it alone",
        ) from error


def _ask(iterator: GenericDataChunkIterator, slab: Hyperslab) -> npt.NDArray[Any]:
    """Return the iterator's answer; ``slab`` is never empty: some take an empty slice for everything.

    What pynwb writes comes from ``_get_data``. A ``__getitem__`` beside it may be another thing: neuroconv's for
    videos seeks, and lands on other frames where the frame rate varies.
    """
    assert slab.size > 0
    return np.asarray(iterator._get_data(selection=slab.slices))


def _same(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> bool:
    """Compare bit for bit: NaN is equal to itself here."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return comparable(one).tobytes() == comparable(other).tobytes()


def _check_picklable(iterator: GenericDataChunkIterator) -> None:
    try:
        iterator.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        raise SourceError(
            f"an iterator is sent to other ranks by its own pickle, this one has none: {error}",
            where=type(iterator).__name__,
            remedy="Build the NWBFile on every rank, or give the iterator _to_dict and _from_dict",
        ) from error
