"""Verify a file while one rank falls silent. Arguments: way, victim, file, seconds of the watchdog, marks."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from failure.silent import fall_silent

import parnwb.on_disk.hdf5
import parnwb.verification

PLACES = {
    "stopped": (parnwb.verification, "_check"),
    "blocks": (parnwb.verification, "_check"),
    "examining": (parnwb.on_disk.hdf5, "missing_chunks"),
}


def silent_at(way: str, marks: Path) -> None:
    """Fall silent at a step of verify, when it comes the second time."""
    (module, name), calls = PLACES[way], []
    step = getattr(module, name)

    def silent(*arguments: Any) -> Any:
        calls.append(name)
        if len(calls) == 2:
            fall_silent(way, marks)
        return step(*arguments)

    setattr(module, name, silent)


def main(way: str, victim: int, path: str, watchdog: float, marks: Path) -> None:
    warnings.simplefilter("ignore")
    from mpi4py import MPI

    if MPI.COMM_WORLD.rank == victim:
        silent_at(way, marks)
    parnwb.verification.verify(path, comm=MPI.COMM_WORLD, buffer_mb=0.01, watchdog=watchdog)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4]), Path(sys.argv[5]))
