"""Run under mpiexec: appends and commits, and after each commit waits until a reader has read. Argument: FOLDER."""

from __future__ import annotations

import sys
import time
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from mpi4py import MPI
from pynwb import H5DataIO, NWBFile, TimeSeries

from parnwb import NWBParallelIO, Stream

COMMITS, ROWS, LAYER, SECONDS = 4, 1000, 256, 60


def wait_for(path: Path) -> None:
    until = time.monotonic() + SECONDS
    while not path.exists():
        assert time.monotonic() < until, f"nobody has made {path.name}"
        time.sleep(0.01)


def main() -> None:
    comm, folder = MPI.COMM_WORLD, Path(sys.argv[1])
    file = NWBFile("a session that is read while it is written", "live", datetime(2026, 1, 1, tzinfo=timezone.utc))
    stream = Stream("i4", (8,))
    data = H5DataIO(stream, chunks=(LAYER, 8), compression="gzip")
    file.add_acquisition(TimeSeries(name="live", data=data, unit="V", rate=1.0))
    with NWBParallelIO(folder / "live.nwb", "w", comm=comm, progress=False) as io:
        io.write(file)
        for number in range(COMMITS):
            first = (number * comm.size + comm.rank) * ROWS
            io.append(stream, np.arange(first * 8, (first + ROWS) * 8, dtype="i4").reshape(ROWS, 8))
            io.commit()
            if comm.rank == 0:
                (folder / f"{number}.committed").touch()
                wait_for(folder / f"{number}.read")
            comm.Barrier()


if __name__ == "__main__":
    main()
