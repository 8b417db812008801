"""A session of which one rank falls silent. Arguments: way, victim, file, backend, seconds of the watchdog, marks.

Each rank leaves its process id in the folder of marks when it is about to write; the victim touches `silent` when it
falls silent, and every rank touches `reads-RANK-NUMBER` when it reads.
"""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from failure.faults.material import CHUNK, SETTINGS, Asked, session
from pynwb import H5DataIO, NWBFile

from parnwb import NWBParallelIO

MIDWAY = 4  # of the five buffers or so that a rank has to read
SECONDS_PER_READ = {"slow": 1.3, "in_peace": 0.0}


def nwbfile(spoil: Any = None) -> NWBFile:
    return session(H5DataIO(Asked(spoil), chunks=CHUNK, compression="gzip"))


def fall_silent(way: str, marks: Path) -> None:
    (marks / "silent").touch()
    if way == "stopped":
        os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(600)


def main(way: str, victim: int, path: str, backend: str, watchdog: float, marks: Path) -> None:
    warnings.simplefilter("ignore")
    from mpi4py import MPI

    comm = MPI.COMM_WORLD

    def spoil(calls: int, data: Any) -> Any:
        (marks / f"reads-{comm.rank}-{calls}").touch()
        if way in ("stopped", "blocks") and comm.rank == victim and calls == MIDWAY:
            fall_silent(way, marks)
        time.sleep(0.05 if way != "slow" or comm.rank == victim else 0.01)
        if comm.rank == victim:
            time.sleep(SECONDS_PER_READ.get(way, 0.0))
        return data

    (marks / f"pid-{comm.rank}").write_text(f"{os.getpid()}\n")
    if way == "absent" and comm.rank == victim:
        fall_silent(way, marks)
    settings = {**SETTINGS, "backend": backend, "watchdog": watchdog, "commit_interval": 0.02}
    if backend == "mpio":
        settings["transfer"] = "collective"
    mode = "w" if backend == "mpio" else "resume"
    with NWBParallelIO(path, mode, comm=comm, **settings) as io:
        if way == "dawdles" and comm.rank == victim:
            fall_silent(way, marks)
        io.write(nwbfile(spoil))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], float(sys.argv[5]), Path(sys.argv[6]))
