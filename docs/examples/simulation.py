"""A simulation's results, straight from its ranks: cells round-robin over ranks, in one NWB file.

    mpiexec -n 4 python docs/examples/simulation.py OUT.nwb --cells 10000 --seconds 10

Each rank simulates its cells (here: noise that sometimes passes a threshold), keeps the membrane potential of a sample
of them and the spike times of all, and gives what it has. The file does not depend on the number of ranks.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from datetime import datetime, timezone

import numpy as np
from mpi4py import MPI
from pynwb import NWBFile, TimeSeries
from pynwb.misc import Units

from parnwb import Distributed, DistributedRagged, NWBParallelIO

RATE = 1000.0  # samples of the potential in a second
EVERY = 100  # of so many cells one is sampled


def simulated(cells: range, seconds: float) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield potential (mV) and spike times (s) of each cell."""
    steps = int(seconds * RATE)
    for gid in cells:
        dice = np.random.default_rng(gid)
        spikes = np.sort(dice.uniform(0, seconds, dice.poisson(5 * seconds)))
        potential = -65 + dice.normal(0, 2, steps).astype("f4")
        potential[np.minimum((spikes * RATE).astype(int), steps - 1)] = 30
        yield potential, spikes


def main(path: str, count: int, seconds: float, comm: MPI.Intracomm) -> None:
    """Simulate, and write what came out. Collective."""
    own = range(comm.rank, count, comm.size)
    sampled = [gid for gid in own if gid % EVERY == 0]
    potential = np.empty((int(seconds * RATE), len(sampled)), dtype="f4")  # of this rank's cells only
    trains = []
    for gid, (trace, spikes) in zip(own, simulated(own, seconds), strict=True):
        trains.append(spikes)
        if gid % EVERY == 0:
            potential[:, sampled.index(gid)] = trace

    nwbfile = NWBFile("a simulation", "simulation", datetime(2026, 1, 1, tzinfo=timezone.utc))
    columns = [gid // EVERY for gid in sampled]
    data = Distributed(potential, axis=1, index=columns, comm=comm)
    nwbfile.add_acquisition(TimeSeries("potential", data=data, unit="mV", rate=RATE))
    spike_times = DistributedRagged(trains, index=list(own), comm=comm)
    nwbfile.units = Units(
        name="units",
        description="all cells",
        id=list(range(count)),
        columns=spike_times.columns("spike_times", "spike times of each cell, in seconds"),
    )
    # All is written at the end; checkpoints.py writes at every checkpoint instead.
    with NWBParallelIO(path, "w", comm=comm, compression="auto", overwrite=True) as io:
        io.write(nwbfile)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path")
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=1.0)
    given = parser.parse_args()
    main(given.path, given.cells, given.seconds, MPI.COMM_WORLD)
