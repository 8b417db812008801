"""Whether ranks together have each position of an axis, or each element of an array, exactly once; and where rows go.

Positions are judged where they belong: the axis is cut into as many runs as there are ranks, and each rank looks at
what all have in its run. So no rank ever holds more than its own positions and its part of the axis.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from parnwb.comm import Ranks
from parnwb.errors import AgreementError
from parnwb.hyperslab import Hyperslab

Positions = npt.NDArray[np.int64]
Owner = tuple[Hyperslab, int]
"""A box of a dataset, and the rank that has it."""


def check_positions(ranks: Ranks, index: Positions, total: int, what: str) -> None:
    """Check that all ranks' positions together are 0 to ``total - 1``, each once. Collective.

    Parameters
    ----------
    index
        This rank's positions, each within ``total``.
    total
        Number of positions of all ranks.
    what
        What they are, for the message: ``'index'``.

    Raises
    ------
    AgreementError
        Names the first position that two ranks have, or that is not within the axis, the ranks, and the first position
        that none has.
    """
    outside = index[(index < 0) | (index >= total)]
    strange = [int(outside[0])] if len(outside) else None
    found = ranks.gather_all(strange)
    rank = next((number for number, value in enumerate(found) if value is not None), None)
    if rank is not None:
        value = (found[rank] or [0])[0]
        raise ranks.known_to_all(
            AgreementError(
                f"{what} must be 0 to {total - 1} over all ranks, as many as there are: rank {rank} has {value}",
                remedy=f"Give every one of the {total} positions to exactly one rank, counting from 0",
            )
        )
    doubled, absent = _judged(ranks, index, total)
    if doubled is None and absent is None:
        return
    words = []
    if doubled is not None:
        position, one, other = doubled
        who = f"rank {one} has it twice" if one == other else f"ranks {one} and {other} have it"
        words.append(f"{position} is there twice ({who})")
    if absent is not None:
        words.append(f"{absent} is missing")
    raise ranks.known_to_all(
        AgreementError(
            f"{what} must be 0 to {total - 1} over all ranks, each exactly once: {', '.join(words)}",
            remedy=f"Give every one of the {total} positions to exactly one rank, counting from 0",
        )
    )


def _judged(ranks: Ranks, index: Positions, total: int) -> tuple[tuple[int, int, int] | None, int | None]:
    """Return the first position that is there twice, with its two ranks, and the first that is missing. Collective."""
    bounds = _bounds(total, ranks.size)
    own = np.sort(index)
    there, counts = ranks.exchange(own, np.diff(np.searchsorted(own, bounds)))
    order = np.argsort(there, kind="stable")
    senders, there = np.repeat(np.arange(ranks.size), counts)[order], there[order]
    twice = np.flatnonzero(there[1:] == there[:-1])
    first = (int(there[twice[0]]), int(senders[twice[0]]), int(senders[twice[0] + 1])) if len(twice) else None
    missing = np.setdiff1d(np.arange(bounds[ranks.rank], bounds[ranks.rank + 1]), there)
    verdicts = ranks.gather_all((first, int(missing[0]) if len(missing) else None))
    return (
        next((doubled for doubled, _ in verdicts if doubled is not None), None),
        next((absent for _, absent in verdicts if absent is not None), None),
    )


def places(ranks: Ranks, index: Positions, lengths: Positions, total: int) -> tuple[Positions, int]:
    """Return where each of this rank's rows begins if all ranks' rows follow each other by their index. Collective.

    Parameters
    ----------
    index
        Positions of the rows, of all ranks 0 to ``total - 1``, each once.
    lengths
        Elements of each row.

    Returns
    -------
    starts, length
        First element of each row, and the number of elements of all rows of all ranks.
    """
    order = np.argsort(index, kind="stable")
    pairs = np.stack([index[order], lengths[order]], axis=1)
    counts = np.diff(np.searchsorted(pairs[:, 0], _bounds(total, ranks.size)))
    flat, coming = ranks.exchange(pairs.reshape(-1), 2 * counts)
    there = flat.reshape(-1, 2)
    by_index = np.argsort(there[:, 0], kind="stable")
    sums = np.cumsum(there[by_index, 1])
    length = int(sums[-1]) if len(sums) else 0
    before = ranks.gather_all(length)
    answers = np.empty(len(there), dtype=np.int64)
    answers[by_index] = sums - there[by_index, 1] + sum(before[: ranks.rank])
    replies, _ = ranks.exchange(answers, coming // 2)
    starts = np.empty(len(index), dtype=np.int64)
    starts[order] = replies
    return starts, sum(before)


def check_boxes(owners: Sequence[Owner], shape: tuple[int, ...]) -> None:
    """Check that boxes cover an array, each element once. Independent.

    Raises
    ------
    AgreementError
        Names two ranks whose boxes overlap, or the first element that nobody has.
    """
    remedy = "Give every element of the array to exactly one rank"
    filled = sorted(((box, rank) for box, rank in owners if box.size), key=lambda owner: owner[0].start)
    open_boxes: list[Owner] = []
    for box, rank in filled:
        open_boxes = [owner for owner in open_boxes if owner[0].stop[0] > box.start[0]]
        for other, neighbour in open_boxes:
            if other.intersect(box).size:
                one, two = sorted([(neighbour, other), (rank, box)], key=lambda item: item[0])
                raise AgreementError(
                    f"blocks must not overlap: rank {one[0]} has {one[1].place('')}, "
                    f"rank {two[0]} has {two[1].place('')}",
                    remedy=remedy,
                )
        open_boxes.append((box, rank))
    whole = Hyperslab.whole(shape)
    if sum(box.size for box, _ in filled) < whole.size:
        raise AgreementError(
            f"blocks must cover the whole array of shape {shape}: nobody has element "
            f"{_first_bare(whole, [box for box, _ in filled])}",
            remedy=remedy,
        )


def _first_bare(whole: Hyperslab, boxes: Iterable[Hyperslab]) -> tuple[int, ...]:
    """Return the first element, in C order, that none of some boxes has; they do not overlap, and there is one."""
    inner = [common for common in (box.intersect(whole) for box in boxes) if common.size]
    if not inner:
        return whole.start
    for half in whole.split(-(-whole.size // 2)):
        within = [common for common in (box.intersect(half) for box in inner) if common.size]
        if sum(box.size for box in within) < half.size:
            return _first_bare(half, within)
    raise AssertionError("the boxes cover it")  # pragma: no cover - the caller has counted


def _bounds(total: int, parts: int) -> Positions:
    return np.arange(parts + 1, dtype=np.int64) * total // parts
