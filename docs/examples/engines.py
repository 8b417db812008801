"""Engines of ipyparallel, driven from a notebook or a program, write one file together.

Run it with ``python engines.py OUT.nwb``; in a notebook, take it cell by cell.
"""

from __future__ import annotations

import sys

import ipyparallel as ipp


def write(path: str) -> str:
    """Write one file with all engines. Collective among them; it runs there, so it imports what it needs itself."""
    from datetime import datetime, timezone

    import numpy as np
    from mpi4py import MPI
    from pynwb import NWBFile, TimeSeries

    from parnwb import Distributed, NWBParallelIO

    engines = MPI.COMM_WORLD
    nwbfile = NWBFile("Engines", "engines", datetime(2024, 3, 5, 10, 15, 30, tzinfo=timezone.utc))
    own = np.random.default_rng(engines.Get_rank()).integers(-500, 500, (20_000, 32), dtype="i2")
    data = Distributed(own, comm=engines)
    nwbfile.add_acquisition(TimeSeries(name="simulated", data=data, unit="V", rate=1000.0))
    with NWBParallelIO(path, "w", comm=engines, compression="auto") as io:
        io.write(nwbfile)
    nbytes = io.written.plan.layout.nbytes
    return f"engine {engines.Get_rank()} of {engines.Get_size()} took part in writing {nbytes} bytes"


if __name__ == "__main__":
    # engines="mpi" starts them by the mpiexec that is found first in PATH: the one of the MPI that mpi4py loads.
    with ipp.Cluster(engines="mpi", n=2) as client:
        for line in client[:].apply_sync(write, sys.argv[1]):  # client[:] is all engines at the same time
            print(line)
