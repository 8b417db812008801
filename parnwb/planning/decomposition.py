"""Strategies: which grains of which dataset a rank owns. Every rank computes its own share, without messages.

A *grain* is the smallest thing that is given to a rank: one chunk where the source can be read anywhere, a fixed
block of chunks where reads must follow a grid, a whole dataset where reads must follow an order. No chunk is ever
shared by two ranks, because no grain is.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate

from parnwb.errors import PlanError
from parnwb.hyperslab import Hyperslab, even_share, run_boxes, unravel

Runs = tuple[tuple[int, int], ...]
"""Of ``(low, high)``: C-order runs of grains, ascending."""


@dataclass(frozen=True)
class Grains:
    """One dataset as a grid of grains.

    Parameters
    ----------
    extent
        Number of grains along each axis; an empty dataset has none.
    cost
        What a whole grain costs, above 0, in any unit that all datasets share.
    runs
        ``(low, high)`` C-order runs of grains that are still to be written; None for all of them.
    """

    extent: tuple[int, ...]
    cost: int
    runs: Runs | None = None

    @property
    def size(self) -> int:
        """Number of grains."""
        return math.prod(self.extent)

    @property
    def open_runs(self) -> Runs:
        """The runs of grains that are to be written, in C order."""
        return ((0, self.size),) if self.runs is None else self.runs

    @property
    def open_size(self) -> int:
        """Number of grains that are still to be written."""
        return sum(high - low for low, high in self.open_runs)


@dataclass(frozen=True)
class Share:
    """A box of grains of one dataset that belongs to one rank."""

    dataset: int
    grains: Hyperslab


Strategy = Callable[[Sequence[Grains], int, int], list[Share]]


def slab(datasets: Sequence[Grains], ranks: int, rank: int) -> list[Share]:
    """Give each rank a contiguous range along the longest axis of every dataset.

    Parameters
    ----------
    datasets
        The grain grids, in the order of the layout.
    ranks, rank
        Number of ranks, and which of them.
    """
    shares = []
    for number, grains in enumerate(datasets):
        axis = max(range(len(grains.extent)), key=lambda a: (grains.extent[a], -a))
        low, high = even_share(grains.extent[axis], ranks, rank)
        start = tuple(low if a == axis else 0 for a in range(len(grains.extent)))
        count = tuple(high - low if a == axis else n for a, n in enumerate(grains.extent))
        shares.append(Share(number, Hyperslab(start, count)))
    return _without_empty(shares)


def block(datasets: Sequence[Grains], ranks: int, rank: int) -> list[Share]:
    """Give each rank one box of every dataset, the ranks arranged as an n-dimensional grid."""
    shares = []
    for number, grains in enumerate(datasets):
        grid = process_grid(grains.extent, ranks)
        if rank < math.prod(grid):
            place = unravel(rank, grid)
            ranges = [even_share(n, p, i) for n, p, i in zip(grains.extent, grid, place, strict=True)]
            start = tuple(low for low, _ in ranges)
            shares.append(Share(number, Hyperslab(start, tuple(high - low for low, high in ranges))))
    return _without_empty(shares)


def balanced(datasets: Sequence[Grains], ranks: int, rank: int) -> list[Share]:
    """Cut the sequence of all grains of all datasets, in C order, into runs of equal cost.

    Runs follow the order in which sources lie on disk; a rank reads few, long pieces whatever the mix of
    datasets, and no rank has more than its equal part plus one grain.
    """
    runs = [(number, *run) for number, grains in enumerate(datasets) for run in grains.open_runs]
    costs = [datasets[number].cost for number, _, _ in runs]
    ends = [0, *accumulate((high - low) * cost for (_, low, high), cost in zip(runs, costs, strict=True))]
    first, last = ends[-1] * rank // ranks, ends[-1] * (rank + 1) // ranks
    shares = []
    for position in range(max(0, bisect.bisect_right(ends, first) - 1), len(runs)):
        if ends[position] >= last:
            break
        number, low, high = runs[position]
        begin = low + max(0, -(-(first - ends[position]) // costs[position]))
        stop = min(high, low - (ends[position] - last) // costs[position])
        shares += [Share(number, box) for box in run_boxes(begin, stop, datasets[number].extent)]
    return _without_empty(shares)


def cut_runs(runs: Runs, first: int, last: int) -> Runs:
    """Return the grains ``first <= n < last`` of some runs, counted along the runs."""
    found, before = [], 0
    for low, high in runs:
        begin, end = low + max(0, first - before), low + min(high - low, last - before)
        if begin < end:
            found.append((begin, end))
        before += high - low
        if before >= last:
            break
    return tuple(found)


STRATEGIES: dict[str, Strategy] = {"balanced": balanced, "slab": slab, "block": block}


def strategy(name: str) -> Strategy:
    """Return the strategy called ``name``.

    Raises
    ------
    PlanError
        There is none of that name.
    """
    try:
        return STRATEGIES[name]
    except (KeyError, TypeError):  # a list, say, is no key
        raise PlanError(
            f"decomposition must be one of {', '.join(sorted(STRATEGIES))}, got {name!r}",
        ) from None


def process_grid(extent: tuple[int, ...], ranks: int) -> tuple[int, ...]:
    """Arrange at most ``ranks`` ranks as a grid with no more of them along an axis than it has grains.

    Prime factors, largest first, each go to the axis with the most grains left per rank; a factor that fits
    nowhere leaves ranks without work, as more ranks than grains must.
    """
    grid = [1] * len(extent)
    for factor in _prime_factors(ranks):
        room = [n // p for n, p in zip(extent, grid, strict=True)]
        axis = max(range(len(extent)), key=lambda a: (room[a], -a))
        grid[axis] *= min(factor, max(1, room[axis]))
    return tuple(grid)


def _prime_factors(number: int) -> list[int]:
    factors, candidate = [], 2
    while candidate * candidate <= number:
        while number % candidate == 0:
            factors.append(candidate)
            number //= candidate
        candidate += 1
    if number > 1:
        factors.append(number)
    return sorted(factors, reverse=True)


def _without_empty(shares: list[Share]) -> list[Share]:
    return [share for share in shares if share.grains.size > 0]
