"""Data that are spread over ranks, brought to the ranks that write their chunks, round by round.

A dataset's grains are cut into one run for each rank, as ``balanced`` cuts them. In a round every rank gets the next
few grains of its own run: from every rank, itself included, the parts that lie there. So data that are cut along the
first axis hardly move, and of columns every rank sends something to every other. What a round brings is a source like
any other, and writing it is an ordinary portion.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from parnwb.comm import Ranks
from parnwb.errors import AgreementError, LayoutError, ParnwbError
from parnwb.hyperslab import Hyperslab, even_share
from parnwb.layout import FileLayout
from parnwb.planning.decomposition import Runs, cut_runs
from parnwb.planning.plan import MiB, WritePlan
from parnwb.resident.data import Resident
from parnwb.resident.gathering import EVERYWHERE, resident_of, with_inner
from parnwb.resident.held import Part, described_parts
from parnwb.sources import Source
from parnwb.sources.access import Access

MAX_ROUND_BYTES = 512 * MiB
"""What a rank gets in a round at most, one chunk in any case: MPI counts a call's bytes in 31 bits."""
MAX_CHUNK_BYTES = 2**31
BUFFERS_OF_ROUND = 4
"""Into how many buffers a rank's part of a round is cut, so that encoding and writing overlap."""


@dataclass(frozen=True, eq=False)
class ReceivedSource:
    """What a round has brought to this rank: some boxes of a dataset. All calls are independent.

    Parameters
    ----------
    shape, dtype
        Of the whole.
    boxes
        Where, and the values.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    boxes: tuple[tuple[Hyperslab, npt.NDArray[Any]], ...]

    @property
    def access(self) -> Access:
        """Always ``Access.RANDOM``."""
        return Access.RANDOM

    def read(self, slab: Hyperslab) -> npt.NDArray[Any]:
        """Return a view of ``slab``, which lies within one of the boxes."""
        box, values = next(item for item in self.boxes if item[0].contains(slab))
        return values[slab.relative_to(box.start).slices]


def find_residents(ranks: Ranks, sources: Mapping[str, Source], *, have_own: bool) -> dict[str, Source]:
    """Return the sources that are spread over ranks, after a check that all ranks mean the same. Collective.

    Raises
    ------
    AgreementError
        A rank has no NWBFile, or another array at the same path, or the data were made on another communicator.
    """
    found = {path: source for path, source in sources.items() if resident_of(source) is not None}
    keys = ranks.gather_all({path: _identity(source) for path, source in found.items()} if have_own else None)
    reference = keys[0] or {}
    with ranks.agreed("looking for data that are spread over ranks"):
        for rank, own in enumerate(keys):
            if own is None:
                _check_none(reference, rank)
                continue
            for path in sorted({*reference, *own}):
                _check_identity(path, reference.get(path), own.get(path), rank, ranks.size)
    return found


def _check_none(reference: Mapping[str, object], rank: int) -> None:
    if reference:
        raise AgreementError(
            f"data that are spread over ranks must be in the NWBFile of all ranks: rank {rank} has none",
            where=min(reference),
            remedy=EVERYWHERE,
        )


def _identity(source: Source) -> tuple[int, int, int]:
    resident = resident_of(source)
    assert resident is not None
    return resident.key, resident.rank, resident.ranks


def _check_identity(
    path: str, first: tuple[int, int, int] | None, own: tuple[int, int, int] | None, rank: int, size: int
) -> None:
    if own is not None and own[1:] != (rank, size):
        raise AgreementError(
            f"data that are spread over ranks must be made on the communicator of NWBParallelIO: rank {rank} of {size} "
            f"was rank {own[1]} of {own[2]}",
            where=path,
            remedy="Give both the same comm",
        )
    if first is None or own is None or first[0] != own[0]:
        raise AgreementError(
            f"data that are spread over ranks must be the same array on all ranks: rank {rank} has another than rank 0",
            where=path,
            remedy="Make such arrays in the same order on all ranks, and put each into the same container everywhere",
        )


def rounds(
    ranks: Ranks, layout: FileLayout, open_runs: Runs, number: int, source: Source, buffer_mb: float
) -> Iterator[tuple[WritePlan, dict[str, Source]]]:
    """Iterate over the rounds of one dataset: the plan of each, and what this rank has received for it. Collective.

    Parameters
    ----------
    layout
        The bulk datasets.
    open_runs
        Grains of the dataset that are to be written.
    number
        Of the dataset in the layout.
    source
        Its values, spread over ranks.
    buffer_mb
        MiB that a rank gets in a round, one chunk in any case. It sends twice as much at most: where one rank has
        most of what others are to write, rounds are shorter.
    """
    resident = resident_of(source)
    assert resident is not None
    spec = layout.datasets[number]
    if spec.chunk_bytes >= MAX_CHUNK_BYTES:  # alike on all ranks
        raise LayoutError(
            f"chunks of data that are spread over ranks must have less than 2 GiB, these have {spec.chunk_bytes} bytes",
            where=spec.path,
            remedy="Give H5DataIO(chunks=...), 2 to 16 MB each",
        )
    limit = min(int(buffer_mb * MiB), MAX_ROUND_BYTES)
    length = max(1, limit // spec.chunk_bytes)
    whole = _divided(open_runs, ranks.size)
    for first in range(0, max(_size(runs) for runs in whole), length):
        waiting = [[cut_runs(runs, first, first + length) for runs in whole]]
        while waiting:
            assigned = waiting.pop()
            plan = WritePlan(layout, ranks.size, buffer_mb=buffer_mb / BUFFERS_OF_ROUND, assigned={number: assigned})
            with ranks.agreed(f"looking for what others are to write of {spec.path}"):
                outgoing = [_parts(resident, _boxes(plan, rank)) for rank in range(ranks.size)]
                nbytes = sum(p.slab.size for r, ps in enumerate(outgoing) for p in ps if r != ranks.rank)
                nbytes *= resident.dtype.itemsize
            halves = _halves(assigned)
            if halves and ranks.any_failed(nbytes > 2 * limit):
                waiting += reversed(halves)
                continue
            received = _exchange(ranks, resident, outgoing, _boxes(plan, ranks.rank), spec.path)
            yield plan, {spec.path: with_inner(source, received)}


def _divided(runs: Runs, parts: int) -> list[Runs]:
    """Cut runs into ``parts`` of them, of equal sizes, in one pass."""
    total, found, rest = _size(runs), [], list(reversed(runs))
    for part in range(parts):
        low, high = even_share(total, parts, part)
        wanted, own = high - low, []
        while wanted:
            first, last = rest.pop()
            if last - first > wanted:
                rest.append((first + wanted, last))
                last = first + wanted
            own.append((first, last))
            wanted -= last - first
        found.append(tuple(own))
    return found


def _size(runs: Runs) -> int:
    return sum(high - low for low, high in runs)


def _halves(assigned: Sequence[Runs]) -> list[list[Runs]]:
    """Cut a round in two, so that each rank gets half as much; or if that is one grain, half of the ranks theirs."""
    sizes = [_size(runs) for runs in assigned]
    if sum(sizes) < 2:
        return []
    if max(sizes) > 1:
        return [
            [cut_runs(runs, 0, size // 2) for runs, size in zip(assigned, sizes, strict=True)],
            [cut_runs(runs, size // 2, size) for runs, size in zip(assigned, sizes, strict=True)],
        ]
    busy = [rank for rank, size in enumerate(sizes) if size]
    middle = busy[len(busy) // 2]
    return [
        [runs if rank < middle else () for rank, runs in enumerate(assigned)],
        [runs if rank >= middle else () for rank, runs in enumerate(assigned)],
    ]


def _boxes(plan: WritePlan, rank: int) -> list[Hyperslab]:
    return [plan.grain_grids[share.dataset].elements(share.grains) for share in plan.shares(rank)]


def _parts(resident: Resident, boxes: Sequence[Hyperslab]) -> list[Part]:
    return [part for box in boxes for held in resident.held for part in held.within(box)]


def _exchange(
    ranks: Ranks, resident: Resident, outgoing: Sequence[list[Part]], boxes: Sequence[Hyperslab], path: str
) -> ReceivedSource:
    """Send every rank its parts, and put together what this one gets. Collective."""
    own = outgoing[ranks.rank]
    with ranks.agreed(f"packing {path}"):
        away = [parts if rank != ranks.rank else [] for rank, parts in enumerate(outgoing)]
        numbers, lengths = _described(away)
        values, counts = _packed(away, resident.dtype)
    numbers, _ = ranks.exchange(numbers, lengths)
    values, _ = ranks.exchange(values, counts)
    with ranks.agreed(f"putting together {path}"):
        found = tuple((box, np.empty(box.count, dtype=resident.dtype)) for box in boxes)
        missing = sum(box.size for box in boxes)
        for part in (*own, *described_parts(numbers, values, resident.ndim)):
            box, target = next(item for item in found if item[0].intersect(part.slab).size)
            part.put_into(target, box.start)
            missing -= part.slab.size
        if missing:
            raise ParnwbError(f"{missing} elements of an array that is spread over ranks did not come", where=path)
    return ReceivedSource(resident.shape, resident.dtype, found)


def _described(outgoing: Sequence[list[Part]]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    heads = [[part.description() for part in parts] for parts in outgoing]
    lengths = np.array([sum(map(len, own)) for own in heads], dtype=np.int64)
    return np.concatenate([np.empty(0, dtype=np.int64), *(head for own in heads for head in own)]), lengths


def _packed(outgoing: Sequence[list[Part]], dtype: np.dtype[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    counts = np.array([sum(part.slab.size for part in parts) for parts in outgoing], dtype=np.int64)
    values, at = np.empty(int(counts.sum()), dtype=dtype), 0
    for parts in outgoing:
        for part in parts:
            values[at : at + part.slab.size].reshape(part.slab.count)[...] = part.take()
            at += part.slab.size
    return values, counts
