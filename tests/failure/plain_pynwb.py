"""Run under mpiexec, on parallel HDF5: the programs of ``faults/in_pynwb.py`` with plain pynwb, all in one launch.

Argument: a folder. Rank 0 only watches; the others form groups. Programs that end run in turn in the first group, the
last one without a fault; each that hangs has a group of its own. When the first group is through, the others have had
as long as all of its programs, and some seconds more. Rank 0 prints what each rank said, as JSON, and aborts.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from failure.faults.fault import FAULTS, Place
from failure.faults.in_pynwb import CONTROL, PLAIN, Plain

GRACE = 3.0
LIMIT = 100.0
ARRIVED = "arrived"


class PlainPlace(Place):
    """Opens files as pynwb does with a communicator."""

    def open(self, *, path: Path | str | None = None, mode: str = "w", **keywords: Any) -> Any:
        from pynwb import NWBHDF5IO

        return NWBHDF5IO(str(path or self.path), mode, comm=self.comm, **keywords)


def groups() -> list[tuple[int, list[str]]]:
    """Return how many ranks run which programs in turn."""
    ending = [name for name, plain in PLAIN.items() if plain.ends]
    return [(2, [*ending, CONTROL]), *((plain.ranks, [name]) for name, plain in PLAIN.items() if not plain.ends)]


def count_ranks() -> int:
    return 1 + sum(ranks for ranks, _ in groups())


def sign_of(folder: Path, name: str, rank: int) -> Path:
    return folder / f"{name}-{rank}.txt"


def run(name: str, folder: Path, comm: Any) -> None:
    """Run one program; leave a sign before and one after, if it comes to that."""
    place = PlainPlace(comm, {}, folder / name, folder / name / "out.nwb")
    prepare, sign = FAULTS[name].prepare, sign_of(folder, name, comm.rank)
    if comm.rank == 0:
        place.folder.mkdir()
        if prepare is not None:
            prepare(place)
    comm.Barrier()
    sign.write_text(ARRIVED)
    try:
        FAULTS[name].run(place)
        outcome = "finished"
    except BaseException as error:
        outcome = f"raised {type(error).__name__}: {error}"
    sign.write_text(outcome)


def said(folder: Path, plain: dict[str, Plain]) -> dict[str, list[str]]:
    """Return what the ranks of each program have said until now, by program and rank."""
    signs = {name: [sign_of(folder, name, rank) for rank in range(one.ranks)] for name, one in plain.items()}
    return {name: [sign.read_text() if sign.exists() else "" for sign in some] for name, some in signs.items()}


def watch(folder: Path) -> dict[str, list[str]]:
    """Wait until the first group is through and all ranks of the others have arrived, and a little longer."""
    everything, end = {**PLAIN, CONTROL: Plain("ends well")}, time.monotonic() + LIMIT
    while time.monotonic() < end:
        found = said(folder, everything)
        if all(all(signs) for signs in found.values()) and ARRIVED not in found[CONTROL]:
            break
        time.sleep(0.1)
    time.sleep(GRACE)
    return said(folder, everything)


def main() -> None:
    from mpi4py import MPI

    warnings.simplefilter("ignore")
    world, folder = MPI.COMM_WORLD, Path(sys.argv[1])
    colours = [0, *(number for number, (ranks, _) in enumerate(groups(), 1) for _ in range(ranks))]
    comm = world.Split(colours[world.rank], world.rank)
    if world.rank == 0:
        print(json.dumps(watch(folder)), flush=True)
        world.Abort(0)
    for name in groups()[colours[world.rank] - 1][1]:
        run(name, folder, comm)
    world.Barrier()  # until rank 0 ends it all: what is left open could not be closed


if __name__ == "__main__":
    main()
