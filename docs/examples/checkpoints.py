"""A simulation that writes at every checkpoint: cells round-robin over ranks, in one NWB file.

    mpiexec -n 4 python docs/examples/checkpoints.py OUT.nwb --cells 10000 --seconds 10 --every 0.5

After each interval of simulated time all ranks append what is new, the membrane potential of a sample of the cells and
the spikes of all, and commit it: OUT.nwb.partial can be read meanwhile, and a job that was ended goes on after its last
checkpoint when it is started again, on any number of ranks. At the end the spike times of each cell are added as units.
Neither file nor order of its rows depends on the number of ranks.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path

import numpy as np
from mpi4py import MPI
from pynwb import H5DataIO, NWBFile, TimeSeries
from pynwb.misc import Units

from parnwb import DistributedRagged, NWBParallelIO, Stream

RATE = 1000.0  # samples of the potential in a second
ONE_IN = 100  # of so many cells one is sampled


@dataclass(frozen=True)
class Simulation:
    """Cells that are noise and spike at random. Any interval can be computed by itself.

    A true simulator restores its own state instead: of the moment that ``Stream.rows`` tells.
    """

    cells: int
    every: float
    comm: MPI.Intracomm

    @property
    def steps(self) -> int:
        """Samples of an interval."""
        return round(self.every * RATE)

    @property
    def sampled(self) -> int:
        """How many cells are sampled."""
        return math.ceil(self.cells / ONE_IN)

    def own(self, rank: int) -> range:
        """Cells of a rank."""
        return range(rank, self.cells, self.comm.size)

    def columns(self, rank: int) -> list[int]:
        """Return the columns of the sampled cells of a rank."""
        return [cell // ONE_IN for cell in self.own(rank) if cell % ONE_IN == 0]

    def run(self, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Compute an interval: potential (steps, sampled cells of this rank), and times and cells of the spikes."""
        traces, times, cells = [np.empty((self.steps, 0), "f4")], [np.empty(0)], [np.empty(0, "u4")]
        for cell in self.own(self.comm.rank):
            dice = np.random.default_rng([cell, number])
            spikes = dice.uniform(0, self.every, dice.poisson(5 * self.every))
            times.append(number * self.every + spikes)
            cells.append(np.full(len(spikes), cell, "u4"))
            if cell % ONE_IN == 0:
                trace = dice.normal(-65, 2, self.steps).astype("f4")
                trace[np.minimum((spikes * RATE).astype(int), self.steps - 1)] = 30
                traces.append(trace[:, None])
        return np.hstack(traces), np.concatenate(times), np.concatenate(cells)


def by_time(
    simulation: Simulation, number: int, potential: np.ndarray, times: np.ndarray, cells: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Exchange the interval: every rank has all steps of some cells, and gets some steps of all. Collective.

    Ranks append in their order, so rank 0 gets the first steps.
    """
    comm = simulation.comm
    cuts = [simulation.steps * rank // comm.size for rank in range(comm.size + 1)]
    step = np.floor((times - number * simulation.every) * RATE)
    shares = [(potential[low:high], (step >= low) & (step < high)) for low, high in pairwise(cuts)]
    got = comm.alltoall([(part, times[chosen], cells[chosen]) for part, chosen in shares])
    rows = np.empty((cuts[comm.rank + 1] - cuts[comm.rank], simulation.sampled), "f4")
    for rank, (part, _, _) in enumerate(got):
        rows[:, simulation.columns(rank)] = part
    when, who = (np.concatenate(parts) for parts in list(zip(*got, strict=True))[1:])
    order = np.lexsort((who, when))
    return rows, when[order], who[order]


def session(potential: Stream, times: Stream, cells: Stream) -> NWBFile:
    """Return the NWBFile: two series whose length nobody knows yet."""
    file = NWBFile("a simulation", "simulation", datetime(2026, 1, 1, tzinfo=timezone.utc))
    # Chunks of few rows, so that a checkpoint has little to keep in the journal.
    data = H5DataIO(potential, chunks=(250, min(64, *potential.row_shape)), compression="gzip", shuffle=True)
    file.add_acquisition(TimeSeries("potential", data=data, unit="mV", rate=RATE))
    chunked = {"chunks": (4096,), "compression": "gzip", "shuffle": True}
    data, when = H5DataIO(cells, **chunked), H5DataIO(times, **chunked)
    file.add_acquisition(TimeSeries("spikes", data=data, timestamps=when, unit="n.a.", description="cell of each"))
    return file


def simulate(path: Path, simulation: Simulation, intervals: int) -> None:
    """Simulate from where the file has it, and write at every checkpoint. Collective."""
    comm = simulation.comm
    potential, times, cells = Stream("f4", (simulation.sampled,)), Stream("f8"), Stream("u4")
    # The checkpoints are all the commits there are.
    with NWBParallelIO(path, "resume", comm=comm, commit_interval=math.inf) as io:
        io.write(session(potential, times, cells))
        for number in range(potential.rows // simulation.steps, intervals):
            rows, when, who = by_time(simulation, number, *simulation.run(number))
            # Together: a signal, which is a commit after this call, finds all of the interval or nothing.
            io.append_together({potential: rows, times: when, cells: who})
            io.commit()


def add_units(path: Path, simulation: Simulation) -> None:
    """Add the spike times cell by cell, each rank those of its own cells. Collective."""
    comm = simulation.comm
    with NWBParallelIO(path, "a", comm=comm, compression="auto") as io:
        file = io.read()
        if file.units is None:  # else an earlier job has come so far
            trains = trains_of(file.acquisition["spikes"], simulation.own(comm.rank))
            index = list(simulation.own(comm.rank))
            columns = DistributedRagged(trains, index=index, comm=comm).columns("spike_times", "in seconds")
            ids = list(range(simulation.cells))
            file.units = Units(name="units", description="all cells", id=ids, columns=columns)
            io.write(file)


def trains_of(spikes: TimeSeries, own: Sequence[int], piece: int = 2**20) -> list[np.ndarray]:
    """Return the spike times of some cells, read piece by piece. Independent."""
    found: list[list[np.ndarray]] = [[np.empty(0)] for _ in own]
    for low in range(0, len(spikes.data), piece):
        cells, times = spikes.data[low : low + piece], spikes.timestamps[low : low + piece]
        order = np.argsort(cells, kind="stable")
        cells, times = cells[order], times[order]
        lows, highs = (np.searchsorted(cells, list(own), side) for side in ("left", "right"))
        for train, first, last in zip(found, lows, highs, strict=True):
            train.append(times[first:last])
    return [np.concatenate(train) for train in found]


def main(path: Path, cells: int, seconds: float, every: float, comm: MPI.Intracomm) -> None:
    """Simulate or go on, and complete the file. Collective."""
    simulation = Simulation(cells, every, comm)
    if not comm.bcast(path.exists()):
        simulate(path, simulation, round(seconds / every))
    add_units(path, simulation)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--every", type=float, default=0.5, help="simulated seconds between checkpoints")
    given = parser.parse_args()
    main(given.path, given.cells, given.seconds, given.every, MPI.COMM_WORLD)
