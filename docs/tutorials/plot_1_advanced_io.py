"""
Advanced data I/O
=================

Compression, iterative writing, streaming, the write queue, MPI and external files: one after another, each small. The
whole page is one MPI program. Download it, and run it on as many ranks as you like::

    mpiexec -n 3 python plot_1_advanced_io.py
"""

# %%
# What each section begins with
# -----------------------------
#
# Every rank runs the same program. ``session()`` gives each of them the same new, empty NWBFile.

# sphinx_gallery_ranks = 3
# sphinx_gallery_thumbnail_number = 2

from datetime import datetime, timezone
from pathlib import Path

import h5py
import matplotlib.pyplot as plt
import numpy as np
from hdmf.data_utils import DataChunkIterator, GenericDataChunkIterator
from mpi4py import MPI
from pynwb import NWBHDF5IO, H5DataIO, NWBFile, TimeSeries

from parnwb import Distributed, NWBParallelIO, Stream, verify

comm = MPI.COMM_WORLD
SECONDS, CHANNELS, RATE = 20, 32, 2000.0
START = datetime(2024, 3, 5, 10, 15, 30, tzinfo=timezone.utc)


def session():
    return NWBFile(session_description="a tutorial", identifier="tutorial", session_start_time=START)


print(f"rank {comm.rank} of {comm.size} is here")

# %%
# Data that are in a file are best left there. Rank 0 makes a flat binary file of 16-bit samples; then all ranks map
# it. A mapped array costs no memory, and each rank will read only what it writes.

if comm.rank == 0:
    rows = int(SECONDS * RATE)
    dice = np.random.default_rng(1)
    waves = 300 * np.sin(np.arange(rows)[:, None] / np.linspace(20, 60, CHANNELS))
    (waves + dice.normal(0, 8, (rows, CHANNELS))).astype("i2").tofile("raw.bin")
comm.Barrier()
raw = np.memmap("raw.bin", dtype="i2", mode="r").reshape(-1, CHANNELS)
plt.figure(figsize=(8, 2.5))
plt.plot(np.arange(400) / RATE, raw[:400, ::8])
plt.xlabel("seconds")
plt.ylabel("counts")

# %%
# Compression
# -----------
#
# ``NWBParallelIO`` takes the place of pynwb's ``NWBHDF5IO``. Everything else is as with pynwb: data may be wrapped in
# ``H5DataIO``, whose chunks and filters are kept to the letter. Data without a filter of their own get the one that
# ``compression`` says. ``"auto"`` samples the data and takes the fastest gzip whose file is hardly larger than at
# level 4; every reader of HDF5 can read it.
#
# Opening, ``write`` and closing are *collective*: every rank calls them, in the same order.

sizes = {}
for name, compression in {"none": None, "gzip": "gzip", "auto": "auto"}.items():
    nwbfile = session()
    data = H5DataIO(raw, chunks=(2000, CHANNELS))
    nwbfile.add_acquisition(TimeSeries(name="raw", data=data, unit="V", conversion=1e-6, rate=RATE))
    with NWBParallelIO(f"{name}.nwb", "w", comm=comm, compression=compression) as io:
        io.write(nwbfile)
    sizes[name] = Path(f"{name}.nwb").stat().st_size / 1e6

plt.figure(figsize=(5, 2))
plt.barh(list(sizes), list(sizes.values()), color=["0.7", "tab:blue", "tab:orange"])
plt.xlabel("MB of the file")

# %%
# Each rank has compressed and written its own chunks. ``io.written`` says what was done: the plan, the backend and
# why it was chosen.

plan = io.written.plan
print(f"rank {comm.rank} wrote {plan.count_chunks(comm.rank, 0)} chunks, {plan.nbytes(comm.rank) / 1e6:.2f} MB")
if comm.rank == 0:
    print("backend", io.written.backend.name, "because", io.written.backend.reason)

# %%
# What a plan looks like: the chunks of the dataset, in the colour of the rank that writes them. It depends on nothing
# but the layout and the number of ranks, so it can be made for any number of them, without MPI: ``parnwb plan
# RECORDING --ranks 64``.

colours = np.zeros(plan.layout.datasets[0].grid.extent)
for rank in range(comm.size):
    for buffer in plan.buffers(rank):
        for index, _ in plan.chunks(buffer):
            colours[index] = rank
plt.figure(figsize=(8, 1.4))
plt.imshow(colours.T, aspect="auto", cmap="viridis", interpolation="none")
plt.yticks([])
plt.xlabel("chunk along time")
plt.title("which rank writes which chunk")

# %%
# Iterative write
# ---------------
#
# Data that must be computed, or read with a library, come from an iterator of hdmf's. A ``GenericDataChunkIterator``
# gives any part that it is asked for, so ranks can divide it. Here: the recording with each channel's mean removed.


class Centred(GenericDataChunkIterator):
    def __init__(self, recording):
        self.recording, self.means = recording, recording[:2000].mean(axis=0)
        super().__init__(chunk_shape=(2000, CHANNELS), buffer_shape=(8000, CHANNELS))

    def _get_data(self, selection):
        return (self.recording[selection] - self.means[selection[1]]).astype("f4")

    def _get_maxshape(self):
        return self.recording.shape

    def _get_dtype(self):
        return np.dtype("f4")


nwbfile = session()
nwbfile.add_acquisition(TimeSeries(name="centred", data=Centred(raw), unit="V", rate=RATE))
with NWBParallelIO("iterated.nwb", "w", comm=comm, compression="auto") as io:
    io.write(nwbfile)
if comm.rank == 0:
    with h5py.File("iterated.nwb") as file:
        print(file["/acquisition/centred/data"])

# %%
# A generator, whose values come in order and only once, is read on rank 0 by a thread of its own; the other ranks get
# rows to compress and write.


def blocks():
    for number in range(20):
        yield np.full((500, 4), number, dtype="f4")


nwbfile = session()
stream = DataChunkIterator(data=(row for block in blocks() for row in block), buffer_size=500)
nwbfile.add_acquisition(TimeSeries(name="generated", data=H5DataIO(stream, chunks=(500, 4)), unit="V", rate=RATE))
with NWBParallelIO("generated.nwb", "w", comm=comm) as io:
    io.write(nwbfile)
if comm.rank == 0:
    with h5py.File("generated.nwb") as file:
        print(file["/acquisition/generated/data"])

# %%
# Streaming
# ---------
#
# Where data come into being while the file is written, ranks append: in each call every rank gives its block, and the
# blocks follow each other in the order of ranks. ``commit`` makes safe what has been appended; a job that is killed
# later goes on from there with mode ``'resume'``, on any number of ranks. Meanwhile ``live.nwb.partial`` can be read.

volts = Stream("f4", (8,))
nwbfile = session()
data = H5DataIO(volts, chunks=(300, 8), compression="gzip")
nwbfile.add_acquisition(TimeSeries(name="volts", data=data, unit="V", rate=RATE))
with NWBParallelIO("live.nwb", "resume", comm=comm) as io:
    io.write(nwbfile)
    for step in range(volts.rows, 3000, 300):
        io.append(volts, np.full((300 // comm.size, 8), step + comm.rank, dtype="f4"))
        if step == 1500:
            io.commit()
            if comm.rank == 0:
                with h5py.File("live.nwb.partial", locking=False) as file:
                    print("seen by a reader after the commit:", file["/acquisition/volts/data"].shape)
if comm.rank == 0:
    with h5py.File("live.nwb") as file:
        print("in the finished file:             ", file["/acquisition/volts/data"].shape)

# %%
# The write queue
# ---------------
#
# A file with several large datasets is written in the order of a queue. ``queue`` says what comes first; with
# numbers, what has the smallest is written and committed before anything else, so that a job which ends early leaves
# it behind.

nwbfile = session()
nwbfile.add_acquisition(TimeSeries(name="raw", data=H5DataIO(raw, chunks=(2000, CHANNELS)), unit="V", rate=RATE))
module = nwbfile.create_processing_module("behavior", "what is needed first")
module.add(TimeSeries(name="speed", data=np.linspace(0, 1, 40_000), unit="m/s", rate=RATE))
with NWBParallelIO("queued.nwb", "w", comm=comm, queue={"/processing/*": 0}, compression="auto") as io:
    io.write(nwbfile)
if comm.rank == 0:
    for turn, datasets in enumerate(io.written.plan.order.turns):
        print(turn, *(io.written.plan.layout.datasets[number].path for number in datasets))

# %%
# MPI: ranks that have a part each
# --------------------------------
#
# In a simulation no rank has the whole array. ``Distributed`` stands for it: each rank gives its columns, ``index``
# says which they are. Ranks exchange what they need to write whole chunks.

own = np.arange(comm.rank, 30, comm.size)
local = np.random.default_rng(comm.rank).normal(own, 0.2, (5000, len(own))).astype("f4")
nwbfile = session()
spread = Distributed(local, axis=1, index=own, comm=comm)  # collective
print(f"rank {comm.rank} has columns {', '.join(map(str, own[:3]))} ... of an array of {spread.maxshape}")
nwbfile.add_acquisition(TimeSeries(name="potential", data=spread, unit="mV", rate=1000.0))
with NWBParallelIO("simulated.nwb", "w", comm=comm, compression="auto", bulk_threshold=1000) as io:
    io.write(nwbfile)
if comm.rank == 0:
    with h5py.File("simulated.nwb") as file:
        print("means of the first columns:", np.round(file["/acquisition/potential/data"][:, :5].mean(axis=0), 1))

# %%
# External files
# --------------
#
# A dataset of another HDF5 file is linked to, or copied by all ranks chunk by chunk, as it is stored, without
# decoding. A link is compared first with what the container says of it; a wrong unit, say, is an error.

other = h5py.File("auto.nwb", "r")["/acquisition/raw/data"]
for name, link in {"linked": True, "copied": False}.items():
    nwbfile = session()
    nwbfile.add_acquisition(TimeSeries(name="raw", data=other, unit="V", conversion=1e-6, rate=RATE))
    with NWBParallelIO(f"{name}.nwb", "w", comm=comm, link_data=link) as io:
        io.write(nwbfile)
    if comm.rank == 0:
        print(name, f"{Path(f'{name}.nwb').stat().st_size / 1e6:.2f} MB")

# %%
# Movies, flat files that stay in place and files of several devices: :doc:`/external-files`.
#
# Is it right?
# ------------
#
# ``verify`` reads a file back with another division among ranks, and compares it with its source bit for bit. Any
# program that reads NWB opens it: the values are those that plain pynwb would have written.

nwbfile = session()
data = H5DataIO(raw, chunks=(2000, CHANNELS))
nwbfile.add_acquisition(TimeSeries(name="raw", data=data, unit="V", conversion=1e-6, rate=RATE))
verdict = verify("auto.nwb", comm=comm, against=nwbfile)
if comm.rank == 0:
    print("good" if verdict.ok else verdict.findings, "-", f"{verdict.nbytes / 1e6:.1f} MB read back")
    with NWBHDF5IO("auto.nwb", "r") as io:
        print(np.array_equal(io.read().acquisition["raw"].data[:], raw))
