"""Write a file with an installed parnwb, on as many ranks as there are, and read it with pynwb: written.py OUT.nwb."""

from __future__ import annotations

import sys
from datetime import datetime, timezone

import numpy as np
from mpi4py import MPI
from pynwb import NWBHDF5IO, NWBFile, TimeSeries

from parnwb import NWBParallelIO


def main() -> None:
    data = np.cumsum(np.random.default_rng(0).integers(-3, 4, (50_000, 16)), axis=0).astype("int16")
    nwbfile = NWBFile("installed", "installed", datetime(2024, 3, 5, tzinfo=timezone.utc))
    nwbfile.add_acquisition(TimeSeries(name="series", data=data, unit="V", rate=1000.0))
    with NWBParallelIO(sys.argv[1], "w", comm=MPI.COMM_WORLD, compression="auto", progress=False) as io:
        io.write(nwbfile)
    if MPI.COMM_WORLD.rank == 0:
        with NWBHDF5IO(sys.argv[1], "r") as io:
            series = io.read().acquisition["series"]
            assert np.array_equal(series.data[:], data) and series.data.compression == "gzip"
        print(f"written and read with {MPI.COMM_WORLD.size} ranks")


if __name__ == "__main__":
    main()
