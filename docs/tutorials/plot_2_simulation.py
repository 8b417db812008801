"""
Output of a simulation
======================

Each rank of a simulation has simulated some cells. Their membrane potentials and spike times go into one NWB file
straight from the ranks' memories: nothing is gathered on one of them, and no files are merged afterwards.
"""

# %%
# The simulation
# --------------
#
# Cells are dealt out to ranks in turn. A rank keeps the spike times of all of its cells, and the potential of every
# tenth. (Here a cell is noise that spikes at random.)

# sphinx_gallery_ranks = 4

from datetime import datetime, timezone

import matplotlib.pyplot as plt
import numpy as np
from mpi4py import MPI
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.misc import Units

from parnwb import Distributed, DistributedRagged, NWBParallelIO

comm = MPI.COMM_WORLD
CELLS, SECONDS, RATE, ONE_IN = 200, 2.0, 1000.0, 10
own = range(comm.rank, CELLS, comm.size)
sampled = [cell for cell in own if cell % ONE_IN == 0]


def simulate(cell):
    """Return potential in mV and spike times in seconds."""
    dice = np.random.default_rng(cell)
    spikes = np.sort(dice.uniform(0, SECONDS, dice.poisson(5 * SECONDS)))
    potential = dice.normal(-65, 2, int(SECONDS * RATE)).astype("f4")
    potential[(spikes * RATE).astype(int)] = 30
    return potential, spikes


results = {cell: simulate(cell) for cell in own}
potential = np.empty((int(SECONDS * RATE), len(sampled)), "f4")  # of some ranks without a column
for column, cell in enumerate(sampled):
    potential[:, column] = results[cell][0]
trains = [results[cell][1] for cell in own]
print(f"rank {comm.rank}: {len(own)} cells, {sum(map(len, trains))} spikes, potential of {potential.shape}")

# %%
# The file
# --------
#
# ``Distributed`` is the whole array, of which this rank has some columns. ``DistributedRagged`` is the same for rows
# of uneven length. ``index`` says which columns and rows they are. Making them is *collective*: every rank makes the
# same, in the same order.

nwbfile = NWBFile("a simulation", "simulation", datetime(2026, 1, 1, tzinfo=timezone.utc))
columns = [cell // ONE_IN for cell in sampled]
data = Distributed(potential, axis=1, index=columns, comm=comm)
nwbfile.add_acquisition(TimeSeries("potential", data=data, unit="mV", rate=RATE))
spikes = DistributedRagged(trains, index=list(own), comm=comm)
nwbfile.units = Units(
    name="units",
    description="all cells",
    id=list(range(CELLS)),
    columns=spikes.columns("spike_times", "spike times of each cell, in seconds"),
)
with NWBParallelIO("simulation.nwb", "w", comm=comm, compression="auto") as io:
    io.write(nwbfile)

# %%
# What is in it
# -------------
#
# An ordinary file, which does not depend on the number of ranks.

if comm.rank == 0:
    with NWBHDF5IO("simulation.nwb", "r") as io:
        file = io.read()
        figure, (above, below) = plt.subplots(2, 1, figsize=(8, 5), sharex=True, height_ratios=[1, 2])
        above.plot(np.arange(int(SECONDS * RATE)) / RATE, file.acquisition["potential"].data[:, 3], linewidth=0.7)
        above.set_ylabel("mV, cell 30")
        below.eventplot([file.units["spike_times"][cell] for cell in range(60)], linewidths=0.8)
        below.set_ylabel("cell")
        below.set_xlabel("seconds")
        print(len(file.units), "units,", file.acquisition["potential"].data.shape, "samples of potential")

# %%
# Further
# -------
#
# - :download:`simulation.py </examples/simulation.py>` is this as a program with options,
#   :download:`checkpoints.py </examples/checkpoints.py>` one that appends at every checkpoint and goes on after a
#   crash.
# - :doc:`/resident`: blocks, boxes anywhere, and what the exchange costs.
# - :doc:`/streaming`: append while the simulation runs.
