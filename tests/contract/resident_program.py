"""Run under mpiexec: writes every case of ``resident_content`` with every backend. Arguments: OUTPUT [UNFINISHED].

``UNFINISHED`` is a file to be interrupted, or resumed if that has happened. Prints, as one line, how calls failed.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from mpi4py import MPI
from pynwb import NWBFile, TimeSeries, get_manager

sys.path.insert(0, str(Path(__file__).parents[1]))

from contract.resident_content import CASES, CELLS, START, Spread, add_masks, build

from parnwb import Distributed, DistributedRagged, NWBParallelIO, Owned
from parnwb.site import parallel_hdf5

COMM, MANAGER = MPI.COMM_WORLD, get_manager()
# So little that there are several rounds of several chunks.
SETTINGS = {"buffer_mb": 0.004, "progress": False, "manager": MANAGER}


def write_all(outputs: Path) -> None:
    for backend in ["direct", "virtual", *(["mpio"] if parallel_hdf5() else [])]:
        for name in CASES:
            with NWBParallelIO(outputs / backend / f"{name}.nwb", comm=COMM, backend=backend, **SETTINGS) as io:
                io.write(build(name, Spread(COMM)), cache_spec=False)
    path = outputs / "direct" / "auto.nwb"
    with NWBParallelIO(path, comm=COMM, compression="auto", manifest=True, **SETTINGS) as io:
        io.write(build("kinds", Spread(COMM, 1)), cache_spec=False)
    with NWBParallelIO(path.with_name("appended.nwb"), comm=COMM, **SETTINGS) as io:
        io.write(NWBFile("resident", "appended", START), cache_spec=False)
    with NWBParallelIO(path.with_name("appended.nwb"), "a", comm=COMM, buffer_mb=0.004, progress=False) as io:
        file = io.read()
        file.add_acquisition(TimeSeries("new", data=Spread(COMM).columns(np.eye(50), 1), unit="V", rate=1.0))
        io.write(file, cache_spec=False)


class Interrupting:
    """Progress that asks the job to stop at its third step."""

    steps = 0

    def start(self, title: str, nbytes: int) -> None: ...

    def advance(self, raw: int, stored: int) -> None:
        self.steps += 1
        if self.steps == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    def finish(self) -> None: ...


def interrupt_or_resume(path: Path) -> None:
    mode, told = ("resume", False) if path.with_name(f"{path.name}.partial").exists() else ("w", Interrupting())
    try:
        with NWBParallelIO(path, mode, comm=COMM, **{**SETTINGS, "progress": told}) as io:
            io.write(build("kinds", Spread(COMM)), cache_spec=False)
    except SystemExit as ended:
        assert ended.code == 75 and mode == "w"


def session(*data: Any) -> NWBFile:
    file = NWBFile("resident", "resident", START)
    for number, values in enumerate(data):
        file.add_acquisition(TimeSeries(f"series{number}", data=values, unit="V", rate=1.0))
    return file


def refused(outputs: Path) -> dict[str, list[str]]:
    """Return what each rank was told, by what was wrong."""
    rank, last = COMM.rank, COMM.size - 1
    is_last = rank == last

    def written(file: Callable[[], NWBFile | None]) -> None:
        with NWBParallelIO(outputs / "refused.nwb", comm=COMM, progress=False) as io:
            io.write(file())

    def swapped() -> NWBFile:
        one, other = (Distributed(np.zeros((9, 2)) + rank, comm=COMM) for _ in range(2))
        return session(*((other, one) if is_last else (one, other)))

    def without_file() -> None:
        file = session(Distributed(np.zeros(9), comm=COMM))
        written(lambda: None if is_last else file)

    def without_call() -> None:
        if is_last:
            written(lambda: session(np.zeros(9)))
        else:
            Distributed(np.zeros(9), comm=COMM)

    def other_fields() -> NWBFile:
        rows = [np.zeros(2, [("x", "u2"), ("y", "u2"), ("weight", "f4")])] * len(range(rank, CELLS, COMM.size))
        file = session()
        add_masks(file, DistributedRagged(rows, comm=COMM).columns("pixel_mask", "rows"))
        return file

    gaps = np.dtype({"names": ["x", "weight"], "formats": ["u1", "f4"], "offsets": [0, 4], "itemsize": 8})
    calls: dict[str, Callable[[], Any]] = {
        "dtype": lambda: Distributed(np.zeros(4, "f4" if is_last else "f8"), comm=COMM),
        "shape": lambda: Distributed(np.zeros((4, 3 if is_last else 2)), comm=COMM),
        "axis": lambda: Distributed(np.zeros((4, 4)), int(is_last), comm=COMM),
        "kind": lambda: Distributed(["text"] if is_last else [1.0], comm=COMM),
        "twice": lambda: Distributed(np.zeros((4, 2)), 1, index=[0, 1] if is_last else [2 * rank, 0], comm=COMM),
        "outside": lambda: Distributed(np.zeros(1), index=[COMM.size if is_last else rank], comm=COMM),
        "length": lambda: Distributed(np.zeros(2), index=[0] if is_last else [2 * rank, 2 * rank + 1], comm=COMM),
        "overlap": lambda: Owned(np.zeros((3, 2)), (2 * rank, 0), comm=COMM),
        "gap": lambda: Owned(np.zeros((3, 2)), (3 * rank + is_last, 0), comm=COMM),
        "beyond": lambda: Owned(np.zeros(3), 3 * rank, shape=(3 * last,), comm=COMM),
        "rows": lambda: DistributedRagged([np.zeros(3)], [0], comm=COMM),
        "row dtype": lambda: DistributedRagged([np.zeros(3, "i4" if is_last else "f8")], comm=COMM),
        "row with gaps": lambda: DistributedRagged([np.zeros(3, gaps)], comm=COMM),
        "fields": lambda: written(other_fields),
        "swapped": lambda: written(swapped),
        "other comm": lambda: written(lambda: session(Distributed(np.zeros(9), comm=MPI.COMM_SELF))),
        "no file": without_file,
        "a rank without the call": without_call,
    }
    found = {}
    for name, call in calls.items():
        try:
            call()
            told = "nothing"
        except Exception as error:
            told = f"{type(error).__name__}: {error}"
        found[name] = COMM.gather(told)
    return found


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    folder = Path(sys.argv[1])
    if COMM.rank == 0:
        for kind in ("direct", "virtual", "mpio"):
            (folder / kind).mkdir(parents=True, exist_ok=True)
    COMM.Barrier()
    write_all(folder)
    if len(sys.argv) > 2:
        interrupt_or_resume(Path(sys.argv[2]))
    problems = refused(folder) if COMM.size > 1 else {}
    if COMM.rank == 0:
        print("RESULT " + json.dumps(problems))
