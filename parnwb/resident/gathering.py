"""A few values of data that are spread over ranks, for the root, which authors the file and samples what goes into it.

While the root authors, the others answer. Messages and not collective calls, because nobody knows beforehand what the
root will ask for, and an alarm must reach those who wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from parnwb.comm import Ranks
from parnwb.comm.ranks import MEETING
from parnwb.errors import AgreementError, SourceError
from parnwb.hyperslab import Hyperslab
from parnwb.resident.data import Resident
from parnwb.resident.held import Positions, described_parts
from parnwb.sources.access import Access
from parnwb.sources.array import CastSource
from parnwb.sources.source import Source

ASK_TAG, ANSWER_TAG = 21, 22
EVERYWHERE = "Build the NWBFile on every rank, each with its own part of the data, and give it to write on every rank"


class Asking:
    """The root's questions. A context manager, within which all other ranks are in ``answer``. Independent.

    Parameters
    ----------
    ranks
        Who answers.
    """

    def __init__(self, ranks: Ranks) -> None:
        self._ranks, self._is_open = ranks, False

    def __enter__(self) -> Asking:
        self._is_open = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        if error is None:  # else an alarm takes the others out of it
            self._tell_all(np.empty(0, dtype=np.int64))

    def read(self, resident: Resident, slab: Hyperslab) -> npt.NDArray[Any]:
        """Return some values of the whole array.

        Raises
        ------
        SourceError
            Nobody would answer now.
        """
        if not self._is_open:
            return resident.read(slab)  # which says that this cannot be, or has them all
        self._tell_all(np.array([resident.key, *slab.start, *slab.count], dtype=np.int64))
        values, count = resident.own(slab)
        for _ in range(1, self._ranks.size):
            count += _put_answer(self._next_answer(), values, slab)
        if count != slab.size:
            raise SourceError(f"{count} of {slab.size} values of an array that is spread over ranks were found")
        return values

    def _tell_all(self, numbers: Positions) -> None:
        for rank in range(1, self._ranks.size):
            self._ranks.send(numbers, rank, ASK_TAG)

    def _next_answer(self) -> Positions:
        return _next_message(self._ranks, ANSWER_TAG)


def answer(ranks: Ranks, sources: Iterable[Source]) -> None:
    """Answer the root's questions until it has no more. Independent; on all ranks but the root.

    Parameters
    ----------
    ranks
        Of the root.
    sources
        Of this rank; those that are spread over ranks count.

    Raises
    ------
    AgreementError
        The root asks for an array that this rank does not have.
    """
    residents = {found.key: found for found in map(resident_of, sources) if found is not None}
    while len(numbers := _next_message(ranks, ASK_TAG)):
        resident = residents.get(int(numbers[0]))
        if resident is None:
            raise AgreementError(
                "data that are spread over ranks must be in the NWBFile of all ranks", remedy=EVERYWHERE
            )
        box = [int(number) for number in numbers[1:]]
        slab = Hyperslab(tuple(box[: resident.ndim]), tuple(box[resident.ndim :]))
        ranks.send(_answer(resident, slab), 0, ANSWER_TAG)


def _next_message(ranks: Ranks, tag: int) -> Positions:
    messages: list[Positions] = []

    def is_there() -> bool:
        message = ranks.receive(tag)
        if message is not None:
            messages.append(message[1])
        return bool(messages)

    with ranks.phases(MEETING):  # and not as what the rank that is waited for does meanwhile
        ranks.wait_until(is_there)
    return messages[0]


def _answer(resident: Resident, slab: Hyperslab) -> Positions:
    """Return the parts of a slab that a rank has: their descriptions, how long these are, and the values' bytes."""
    parts = [part for held in resident.held for part in held.within(slab)]
    head = np.concatenate([np.empty(0, dtype=np.int64), *(part.description() for part in parts)])
    raw = b"".join(np.ascontiguousarray(part.take()).tobytes() for part in parts)
    values = np.frombuffer(raw + bytes(-len(raw) % 8), dtype=np.int64)
    return np.concatenate([np.array([len(head)], dtype=np.int64), head, values])


def _put_answer(numbers: Positions, target: npt.NDArray[Any], slab: Hyperslab) -> int:
    length = int(numbers[0])
    raw = numbers[1 + length :].tobytes()
    values = np.frombuffer(raw[: len(raw) - len(raw) % target.itemsize], dtype=target.dtype)
    count = 0
    for part in described_parts(numbers[1 : 1 + length], values, target.ndim):
        part.put_into(target, slab.start)
        count += part.slab.size
    return count


@dataclass(frozen=True, eq=False)
class GatheredSource:
    """Data that are spread over ranks, as the root reads a sample of them. All calls are independent.

    Parameters
    ----------
    resident
        The data.
    asking
        By whom the root asks. What has been asked for once is remembered: the same sample serves several decisions.
    """

    resident: Resident
    asking: Asking
    _read: dict[Hyperslab, npt.NDArray[Any]] = field(default_factory=dict, repr=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole, in elements."""
        return self.resident.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the whole, byte order included."""
        return self.resident.dtype

    @property
    def access(self) -> Access:
        """Always ``Access.RANDOM``."""
        return self.resident.access

    def read(self, slab: Hyperslab) -> npt.NDArray[Any]:
        """Return the values of ``slab``, from all ranks."""
        if slab not in self._read:
            self._read[slab] = self.asking.read(self.resident, slab)
        return self._read[slab]


def gathered(sources: Mapping[str, Source], asking: Asking | None) -> dict[str, Source]:
    """Return the sources, those of data that are spread over ranks such that the root can sample them. Independent."""
    if asking is None:
        return dict(sources)
    return {path: _gathered(source, asking) for path, source in sources.items()}


def _gathered(source: Source, asking: Asking) -> Source:
    resident = resident_of(source)
    return source if resident is None else with_inner(source, GatheredSource(resident, asking))


def resident_of(source: Source) -> Resident | None:
    """Return the data behind a source that are spread over ranks; None where they are not. Independent."""
    if isinstance(source, CastSource):
        return resident_of(source.source)
    if isinstance(source, GatheredSource):
        return source.resident
    return source if isinstance(source, Resident) else None


def with_inner(source: Source, inner: Source) -> Source:
    """Return a source like ``source`` whose values come from ``inner``, and are converted as those are. Independent."""
    return replace(source, source=with_inner(source.source, inner)) if isinstance(source, CastSource) else inner
