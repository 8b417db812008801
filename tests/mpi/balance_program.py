"""Writes on ranks of which one reads at half the speed of the others, and tells how long it took beside the ideal."""

from __future__ import annotations

import json
import sys
import threading
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from hdmf.backends.hdf5 import H5DataIO
from mpi4py import MPI
from pynwb import NWBFile, TimeSeries

from parnwb import NWBParallelIO
from parnwb.hyperslab import Hyperslab
from parnwb.sources.array import ArraySource

CHUNK = (250, 4)
CHUNKS = 4  # in a buffer
SECONDS = 2.5  # to read what is one rank's; the slow rank takes twice as long


class Sleeper:
    """Reads of all arrays take as long as a rank's speed says; counts what was read.

    Parameters
    ----------
    pace
        Seconds for a row.
    """

    def __init__(self, pace: float) -> None:
        self.pace, self.rows, self._read = pace, 0, ArraySource.read

    def __enter__(self) -> Sleeper:
        def read(source: ArraySource, slab: Hyperslab) -> Any:
            if threading.current_thread() is not threading.main_thread():  # that one reads samples, which are no work
                self.rows += slab.count[0]
                time.sleep(self.pace * slab.count[0])
            return self._read(source, slab)

        ArraySource.read = read
        return self

    def __exit__(self, *exception: object) -> None:
        ArraySource.read = self._read


def write(comm: MPI.Comm, path: Path, values: np.ndarray) -> float:
    """Write a file; return how long ``write`` took."""
    file = NWBFile("balance", "balance", datetime(2026, 1, 2, tzinfo=timezone.utc))
    data = H5DataIO(values, chunks=CHUNK, compression="gzip")
    file.add_acquisition(TimeSeries(name="one", data=data, unit="V", rate=1.0))
    buffer_mb = 1.01 * CHUNKS * CHUNK[0] * CHUNK[1] * 2 / 2**20
    with NWBParallelIO(path, "w", comm=comm, buffer_mb=buffer_mb, overwrite=True, commit_interval=0.5) as io:
        comm.Barrier()
        began = time.perf_counter()
        io.write(file)
        return time.perf_counter() - began


def main(folder: Path, slow: int, cases: list[int]) -> None:
    comm = MPI.COMM_WORLD
    for buffers in cases:  # of each rank
        rows = CHUNK[0] * CHUNKS * buffers
        values = np.random.default_rng(0).integers(-50, 50, (rows * comm.size, CHUNK[1])).astype("<i2")
        path = folder / f"{buffers}.nwb"
        unhindered = write(comm, path, values)  # start and end of a write, which no balance makes shorter
        with Sleeper(SECONDS / rows * (2 if comm.rank == slow else 1)) as sleeper:
            seconds = write(comm, path, values)
        read = comm.gather(sleeper.rows / rows)
        if comm.rank == 0:
            np.save(folder / f"{buffers}.npy", values)
            ideal = SECONDS * comm.size / (comm.size - 0.5)
            print(json.dumps({"ideal": ideal, "unhindered": unhindered, "seconds": seconds, "read": read}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), [int(text) for text in sys.argv[3].split(",")])
