"""
neuroconv in parallel
=====================

A conversion that `neuroconv <https://neuroconv.readthedocs.io>`_ does on one core is done by all ranks, when
``converter.run_conversion(...)`` becomes ``run_conversion(converter, ...)``. One line is another one; the file is that
which neuroconv would have written.
"""

# %%
# A recording
# -----------
#
# A small one in SpikeGLX's format is made here: the layout, the metadata and the noise of a Neuropixels probe.

# sphinx_gallery_ranks = 2

import warnings
from pathlib import Path

import h5py
import matplotlib.pyplot as plt
import numpy as np
from mpi4py import MPI
from neuroconv.datainterfaces import SpikeGLXRecordingInterface

from parnwb.neuroconv import run_conversion
from parnwb.recordings.made_recording import make_spikeglx_recording

warnings.simplefilter("ignore")
comm = MPI.COMM_WORLD
if comm.rank == 0:
    made = make_spikeglx_recording(Path("recording"), megabytes=10)
    print(made)
comm.Barrier()

# %%
# The conversion
# --------------
#
# As for neuroconv: an interface, or a converter of several, and metadata. The start of the session must be said,
# because SpikeGLX notes it without a time zone.

folder = next(Path("recording").rglob("*.ap.meta")).parent
interface = SpikeGLXRecordingInterface(folder_path=folder, stream_id="imec0.ap")
metadata = interface.get_metadata()
metadata["NWBFile"]["session_start_time"] = "2024-03-05T10:15:30+01:00"

# %%
# This is the line. neuroconv builds the NWBFile on rank 0; all ranks read, compress and write.

done = run_conversion(interface, "session.nwb", metadata=metadata, comm=comm)

# %%
# What came out
# -------------

if comm.rank == 0:
    with h5py.File("session.nwb") as file:
        data = file["/acquisition/ElectricalSeriesAP/data"]
        print(data, "in chunks of", data.chunks)
        size = data.size * data.dtype.itemsize
        print(f"{size / 1e6:.1f} MB in {data.id.get_storage_size() / 1e6:.1f} MB on {comm.size} ranks")
        plt.figure(figsize=(8, 3))
        some = data[:600, 40:52].astype(float)
        plt.plot(np.arange(600) / 30, some + 40 * np.arange(12), color="0.2", linewidth=0.5)
        plt.yticks([])
        plt.xlabel("ms")
        plt.title("twelve channels")

# %%
# From the shell
# --------------
#
# Without any program::
#
#     mpiexec -n 4 parnwb convert recording session.nwb --metadata session.yaml
#     mpiexec -n 4 parnwb verify session.nwb --against recording --metadata session.yaml
#
# Keywords, YAML conversion specifications and what is refused: :doc:`/neuroconv`.
