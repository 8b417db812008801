"""Run under mpiexec: writes one file by a priority, fails in a second, and resumes it. Arguments: FOLDER.

The root keeps the journal of the first by a link, for the test to look at. What was raised goes to ``RANK.errors``.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from pynwb import H5DataIO, NWBFile

sys.path.insert(0, str(Path(__file__).parents[1]))

from contract.cases import filled
from contract.inputs import Slices, add, values

from parnwb import NWBParallelIO

COMM = MPI.COMM_WORLD
SETTINGS = {"bulk_threshold": 0, "buffer_mb": 0.002, "progress": False, "backend": "direct"}
URGENT = {"/acquisition/urgent/*": 0}


class Faulty(Slices):
    """Cannot read its second half, while it is told so; a probe of single rows is answered."""

    broken = True

    def _get_data(self, selection: tuple[slice, ...]) -> Any:
        rows = selection[0]
        if self.broken and rows.stop - rows.start > 1 and rows.start >= len(self.array) // 2:
            raise OSError("the disk is gone")
        return super()._get_data(selection)


class Kept:
    """A progress that links the journal to another name, under which it stays when the job ends."""

    def __init__(self, path: Path) -> None:
        self._journal, self._kept = Path(f"{path}.partial.journal"), path.with_suffix(".kept")

    def start(self, label: str, total: int) -> None:
        os.link(self._journal, self._kept)

    def advance(self, raw: int, stored: int) -> None: ...

    def finish(self) -> None: ...


def content(file: NWBFile, _: Path) -> None:
    """Much that comes before what is urgent, by path and by size."""
    add(file, "large", H5DataIO(values((4000, 16)), chunks=(64, 8), compression="gzip"))
    add(file, "urgent", H5DataIO(values((900, 6), "f4"), chunks=(32, 6), compression="gzip"))
    add(file, "z_faulty", H5DataIO(Faulty(np.cumsum(values((2000, 8)), axis=0), (50, 8)), compression="gzip"))


def write(path: Path, mode: str = "w", **settings: Any) -> None:
    with NWBParallelIO(path, mode, comm=COMM, **{**SETTINGS, **settings}) as io:
        io.write(filled(content, "queue", path.parent, rank=COMM.rank), cache_spec=False)


def attempt(what: Callable[[], None], folder: Path) -> None:
    try:
        what()
    except Exception:
        with (folder / f"{COMM.rank}.errors").open("a") as errors:
            errors.write(f"{traceback.format_exc().splitlines()[-1]}\n")


def one(spec: Any) -> float:
    return 1.0


def other(spec: Any) -> float:
    return 2.0


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    outputs = Path(sys.argv[1])
    first, second = outputs / "first.nwb", outputs / "second.nwb"
    attempt(lambda: write(second, queue=URGENT), outputs)
    Faulty.broken = False
    attempt(lambda: write(first, queue=URGENT, progress=Kept(first)), outputs)
    attempt(lambda: write(second, "resume", queue="round-robin"), outputs)
    for mine, theirs in (("largest", "file"), (URGENT, {}), (one, other)):
        attempt(lambda m=mine, t=theirs: write(outputs / "no.nwb", queue=t if COMM.rank == 1 else m), outputs)
