"""The ways to write one file: backend, transfer, decomposition, threads. None may change what is written."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass

from parnwb import site

DECOMPOSITIONS = ("balanced", "slab", "block")
TRANSFERS = ("independent", "collective")
RANKS = (1, 2, 3, 5)
VIRTUAL_RANKS = (3, 5)
# Of ``direct``, where ``mpio`` is tested: it is the same there but for the MPI.
DIRECT_BESIDE_MPIO_RANKS = (2, 3)
TYPE_RANKS = (1, 3, 4)
VIRTUAL_TYPE_RANKS = 4
# On which an extension is written that pynwb does not know.
UNREGISTERED_RANKS = 3
# Every combination of everything, in each environment: some four times as long.
FULL = os.environ.get("PARNWB_CONTRACT") == "full"


def numbers_of_ranks(*numbers: int) -> tuple[int, ...]:
    """Return on how many ranks ``direct`` is tried here: all, or one and three where the first environment has all."""
    return numbers if FULL or not site.parallel_hdf5() else (1, 3)


@dataclass(frozen=True)
class Road:
    """Settings of ``NWBParallelIO``."""

    backend: str
    transfer: str
    decomposition: str
    threads: int | None = None

    def __str__(self) -> str:
        transfer = [self.transfer] if self.backend == "mpio" else []
        threads = [f"{self.threads}-threads"] if self.threads else []
        return "-".join([self.backend, *transfer, self.decomposition, *threads])

    @property
    def settings(self) -> dict[str, str | int | None]:
        """As keywords."""
        return asdict(self)


def roads(case: int, ranks: int, *, parallel_hdf5: bool) -> list[Road]:
    """Return the roads on which one case is written by so many ranks.

    ``direct`` goes by every decomposition where it is the only backend, and by one, on some rank counts, where ``mpio``
    is tested; every other time several threads encode. ``virtual`` goes by one, which takes turns, on some rank counts.
    ``mpio`` goes by every decomposition; its transfers take turns over cases, decompositions and rank counts.

    Parameters
    ----------
    case
        Number of the case.
    ranks
        Number of ranks.
    parallel_hdf5
        Whether this h5py has MPI.
    """
    first = DECOMPOSITIONS[case % 3]
    direct = [
        Road("direct", "independent", decomposition, threads=3 if (case + turn + RANKS.index(ranks)) % 2 else None)
        for turn, decomposition in enumerate(DECOMPOSITIONS)
        if FULL or not parallel_hdf5 or (decomposition == first and ranks in DIRECT_BESIDE_MPIO_RANKS)
    ]
    turn = (case + RANKS.index(ranks)) % 3
    virtual = [
        Road("virtual", "independent", decomposition)
        for number, decomposition in enumerate(DECOMPOSITIONS)
        if FULL or (ranks in VIRTUAL_RANKS and turn == number)
    ]
    mpio = [
        Road("mpio", transfer, decomposition)
        for turn, decomposition in enumerate(DECOMPOSITIONS)
        for number, transfer in enumerate(TRANSFERS)
        if FULL or (case + turn + RANKS.index(ranks)) % 2 == number
    ]
    return direct + virtual + (mpio if parallel_hdf5 else [])


def type_roads(case: int, ranks: int, *, parallel_hdf5: bool) -> dict[Road, bool]:
    """Return the roads of a case of types, one for each backend, and whether all ranks have the NWBFile.

    Else the root alone has it. Both take turns over cases, backends and rank counts, as do the other settings.

    Parameters
    ----------
    case
        Number of the case.
    ranks
        Number of ranks.
    parallel_hdf5
        Whether this h5py has MPI.
    """
    turn = case + TYPE_RANKS.index(ranks)
    decomposition = DECOMPOSITIONS[turn % 3]
    found = {Road("direct", "independent", decomposition): turn % 2 == 0}
    if ranks == VIRTUAL_TYPE_RANKS:
        found[Road("virtual", "independent", decomposition)] = turn % 2 == 1
    if parallel_hdf5:
        found[Road("mpio", TRANSFERS[turn // 2 % 2], decomposition)] = turn % 2 == 1
    return found
