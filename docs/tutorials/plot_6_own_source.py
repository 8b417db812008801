"""
A source of your own
====================

parnwb reads arrays, memory maps, HDF5, Zarr, dask and neuroconv's formats by itself (:doc:`/sources`). For a format
that only your lab has, a class with three methods is enough. It is one of hdmf's iterators, so plain pynwb takes it
as well.
"""

# %%
# A format that nobody knows
# --------------------------
#
# Samples of 12 bits, two of them packed into three bytes, after a header of 16 bytes.

# sphinx_gallery_ranks = 3

from datetime import datetime, timezone
from pathlib import Path

import h5py
import matplotlib.pyplot as plt
import numpy as np
from hdmf.data_utils import GenericDataChunkIterator
from mpi4py import MPI
from pynwb import H5DataIO, NWBFile, TimeSeries

from parnwb import NWBParallelIO, ParnwbError

comm = MPI.COMM_WORLD
HEADER, CHANNELS = 16, 16


def session(data):
    nwbfile = NWBFile("a source", "source", datetime(2024, 3, 5, 10, 15, 30, tzinfo=timezone.utc))
    nwbfile.add_acquisition(TimeSeries(name="packed", data=data, unit="V", rate=1000.0))
    return nwbfile


def pack(values):
    """Two samples in three bytes."""
    one, two = values.reshape(-1, 2).T.astype("u2")
    return np.stack([one & 255, (one >> 8) | ((two & 15) << 4), two >> 4], axis=1).astype("u1").tobytes()


if comm.rank == 0:
    time = np.arange(20_000)[:, None]
    made = (2048 + 1500 * np.sin(time / np.linspace(50, 400, CHANNELS))).astype("u2")
    Path("lab.raw").write_bytes(b"LAB\0" * 4 + pack(made))
    print(f"{Path('lab.raw').stat().st_size / 1e6:.2f} MB")
comm.Barrier()

# %%
# The source
# ----------
#
# ``_get_data`` returns any part that it is asked for, and reads no more than it needs for it. ``_get_maxshape`` and
# ``_get_dtype`` say what the whole is. The chunk shape is that of the file, unless ``H5DataIO(chunks=...)`` says
# another.
#
# ``__reduce__`` is for ranks that do not build the NWBFile themselves: they are sent what to open, never the values.


class Packed(GenericDataChunkIterator):
    def __init__(self, path):
        self.path = path
        self._rows = (Path(path).stat().st_size - HEADER) * 2 // 3 // CHANNELS
        super().__init__(chunk_shape=(2000, CHANNELS), buffer_shape=(2000, CHANNELS))

    def _get_data(self, selection):
        rows = range(self._rows)[selection[0]]
        row_bytes = CHANNELS * 3 // 2
        with open(self.path, "rb") as file:
            file.seek(HEADER + rows.start * row_bytes)
            raw = np.frombuffer(file.read(len(rows) * row_bytes), "u1").reshape(-1, 3).astype("u2")
        values = np.stack([raw[:, 0] | ((raw[:, 1] & 15) << 8), (raw[:, 1] >> 4) | (raw[:, 2] << 4)], axis=1)
        return values.reshape(-1, CHANNELS)[:, selection[1]]

    def _get_maxshape(self):
        return self._rows, CHANNELS

    def _get_dtype(self):
        return np.dtype("u2")

    def __reduce__(self):
        return Packed, (self.path,)


# %%
# Rank 0 alone builds the NWBFile here; the others get what ``__reduce__`` says, and read by themselves. What parnwb
# does not know is read on a grid of 32 MiB, whatever the number of ranks: of a file as small as this one, one rank
# has all.

nwbfile = session(H5DataIO(Packed("lab.raw"), compression="gzip")) if comm.rank == 0 else None
with NWBParallelIO("packed.nwb", "w", comm=comm) as io:
    io.write(nwbfile)
print(f"rank {comm.rank} read {io.written.plan.nbytes(comm.rank)} bytes")

# %%
# What is in the file is what was packed:

if comm.rank == 0:
    with h5py.File("packed.nwb") as file:
        stored = file["/acquisition/packed/data"][:]
        print(np.array_equal(stored, made), file["/acquisition/packed/data"].chunks)
    plt.figure(figsize=(8, 2.5))
    plt.plot(stored[:2000, ::5])
    plt.xlabel("sample")

# %%
# What may go wrong
# -----------------
#
# A source that returns something else than it was asked for is refused before a wrong value is in a file. The error
# is the same on all ranks, and says where it was:


class Careless(Packed):
    def _get_data(self, selection):
        return super()._get_data(selection)[:-1]

    def __reduce__(self):
        return Careless, (self.path,)


try:
    with NWBParallelIO("careless.nwb", "w", comm=comm) as io:
        io.write(session(Careless("lab.raw")))
except ParnwbError as error:
    if comm.rank == 0:
        print(f"{type(error).__name__}: {error}")

# %%
# - Each unknown class is asked for some rows twice, and out of order. One that answers differently, such as a decoder
#   which goes on from where it was, is read in order by rank 0 alone; the others still compress and write.
# - ``_get_data`` is called from a thread of each rank, one call at a time.
# - Return copies, or arrays that you do not change afterwards.
