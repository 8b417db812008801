"""Writes on ranks of which one reads at half the speed of the others, and tells how long it took beside the ideal."""

from __future__ import annotations

import json
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from hdmf.backends.hdf5 import H5DataIO
from mpi4py import MPI
from pynwb import NWBFile, TimeSeries

from parnwb import NWBParallelIO
from parnwb.sources.array import ArraySource

CHUNK = (1000, 4)
BUFFERS = 100  # for each rank
SECONDS = 0.025  # to read one; the slow rank takes twice as long


def main(folder: Path) -> None:
    comm = MPI.COMM_WORLD
    slow = int(sys.argv[2])
    values = np.random.default_rng(0).integers(-50, 50, (CHUNK[0] * BUFFERS * comm.size, 4)).astype("<i2")
    reads = 0
    read = ArraySource.read

    def read_slowly(self: ArraySource, slab: object) -> object:
        nonlocal reads
        if self.shape == values.shape:
            reads += 1
            time.sleep(SECONDS * (2 if comm.rank == slow else 1))
        return read(self, slab)

    file = NWBFile("balance", "balance", datetime(2026, 1, 2, tzinfo=timezone.utc))
    data = H5DataIO(values, chunks=CHUNK, compression="gzip")
    file.add_acquisition(TimeSeries(name="one", data=data, unit="V", rate=1.0))
    np.save(folder / "values.npy", values) if comm.rank == 0 else None
    ArraySource.read = read_slowly
    with NWBParallelIO(folder / "out.nwb", "w", comm=comm, buffer_mb=0.008, overwrite=True, commit_interval=0.5) as io:
        io.write(file)
    counts = comm.gather(reads)
    if comm.rank == 0:
        ideal = BUFFERS * comm.size * SECONDS / (comm.size - 0.5)
        waited = sum(io.written.phases[f"waiting for {whom}"] for whom in ("the encoder", "addresses", "the last rank"))
        print(json.dumps({"ideal": ideal, "seconds": waited, "reads": counts}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
