"""End a program in one way, in the midst of writing or before. Arguments: way, file, backend, transfer."""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from failure.faults.material import CHUNK, SETTINGS, Asked, noise, session
from mpi4py import MPI
from pynwb import H5DataIO

from parnwb import NWBParallelIO
from parnwb.planning import plan
from parnwb.target import Target

COMM = MPI.COMM_WORLD
LAST = COMM.Get_rank() == COMM.Get_size() - 1
WAY, PATH, BACKEND, TRANSFER = sys.argv[1:5]
MIDWAY = {
    "raises": lambda: _raise(ValueError("midway")),
    "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exits": lambda: os._exit(3),
}


def _raise(error: Exception) -> None:
    raise error


def spoil(calls: int, data: Any) -> Any:
    if LAST and calls > 1:
        MIDWAY[WAY]()
    return data


def large(**filters: Any) -> Any:
    """Return 8 MB of noise: more than a small file system holds, and no filter makes it fit."""
    return session(H5DataIO(noise(8 * 2**20), chunks=(10_000, 8), **filters))


def open_file(**keywords: Any) -> NWBParallelIO:
    buffer_mb = SETTINGS["buffer_mb"] if WAY in MIDWAY else 0.2
    settings = {**SETTINGS, "buffer_mb": buffer_mb, "backend": BACKEND, "transfer": TRANSFER, "comm": COMM}
    return NWBParallelIO(PATH, **{**settings, **keywords})


def main() -> None:
    plan.READ_GRID_BYTES = int(SETTINGS["buffer_mb"] * plan.MiB)  # data of iterators would be read in one piece
    if WAY.startswith("limited"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
    if WAY == "full":
        Target.require_space = lambda self, nbytes: None  # as if another program had taken the space since
    if WAY == "no_communicator":
        open_file(comm=None)
    elif WAY == "no_communicator_on_one":
        open_file(comm=None if LAST else COMM)
    elif WAY.startswith("leaves"):
        io = open_file()
        if LAST:
            sys.exit(0) if WAY == "leaves" else _raise(ValueError("between"))
        io.write(session())
        io.close()
    elif WAY in MIDWAY:
        with open_file() as io:
            io.write(session(H5DataIO(Asked(spoil), chunks=CHUNK)))
    else:
        with open_file() as io:
            io.write(large(compression="gzip") if WAY.endswith("gzip") else large())


if __name__ == "__main__":
    main()
