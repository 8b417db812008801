"""A pool of MPI workers, driven by one process, writes one file together.

Run it with ``mpiexec -n 4 python -m mpi4py.futures pool_of_workers.py OUT.nwb``: one process gives out tasks, three do
them.
"""

from __future__ import annotations

import sys
from datetime import datetime, timezone

import numpy as np
from mpi4py.futures import MPIPoolExecutor, get_comm_workers
from pynwb import NWBFile, TimeSeries

from parnwb import Distributed, NWBParallelIO

ROWS, CHANNELS = 20_000, 32


def simulate(worker: int) -> np.ndarray:
    """Return what one worker computes: any task that a pool may be given."""
    return np.random.default_rng(worker).integers(-500, 500, (ROWS, CHANNELS), dtype="i2")


def write(path: str) -> tuple[int, int]:
    """Write one file with all workers. Collective among them: each must be given this task once, at the same time."""
    workers = get_comm_workers()  # without the process that gives out tasks
    nwbfile = NWBFile("A pool of workers", "pool", datetime(2024, 3, 5, 10, 15, 30, tzinfo=timezone.utc))
    own = Distributed(simulate(workers.Get_rank()), comm=workers)
    nwbfile.add_acquisition(TimeSeries(name="simulated", data=own, unit="V", rate=1000.0))
    with NWBParallelIO(path, "w", comm=workers, compression="auto") as io:
        io.write(nwbfile)
    return workers.Get_rank(), io.written.plan.layout.nbytes


if __name__ == "__main__":
    with MPIPoolExecutor() as pool:
        # As many tasks as workers, and nothing else in the pool: a worker that is in one waits there for all others.
        tasks = [pool.submit(write, sys.argv[1]) for _ in range(pool.num_workers)]
        for rank, nbytes in sorted(task.result() for task in tasks):
            print(f"worker {rank} of {pool.num_workers} took part in writing {nbytes} bytes")
