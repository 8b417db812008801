"""
Calcium imaging
===============

A TIFF stack, the masks of a segmentation and the traces of its neurons become one NWB file. The stack may be larger
than the memory of the machine: each rank reads the frames that it compresses and writes.
"""

# %%
# A session
# ---------
#
# A segmentation leaves a folder with ``movie.tif``, ``masks.npy`` and ``traces.npy``. The program of this tutorial,
# :download:`calcium_imaging.py </examples/calcium_imaging.py>`, can make a small one, to try it on.

# sphinx_gallery_ranks = 2

from pathlib import Path

import calcium_imaging as program
import matplotlib.pyplot as plt
from mpi4py import MPI
from pynwb import NWBHDF5IO

comm = MPI.COMM_WORLD
session = Path("session")
if comm.rank == 0:
    program.make(session, frames=300, rois=12, side=128)
    for path in sorted(session.iterdir()):
        print(f"{path.name:12} {path.stat().st_size / 1e6:6.1f} MB")
comm.Barrier()

# %%
# The NWBFile
# -----------
#
# ``movie_of`` maps the frames where they lie in the file as they are. If they are compressed, an iterator decodes
# pages when it is asked for them; ``__reduce__`` tells other ranks the path instead of the frames.
#
# .. literalinclude:: /examples/calcium_imaging.py
#    :pyobject: movie_of
#
# .. literalinclude:: /examples/calcium_imaging.py
#    :pyobject: Pages
#
# ``build`` returns an NWBFile as for pynwb. Its data stay in their files.
#
# .. literalinclude:: /examples/calcium_imaging.py
#    :pyobject: build
#
# All ranks write it
# ------------------
#
# Rank 0 alone builds the NWBFile here, and the others are told what to read.
#
# .. literalinclude:: /examples/calcium_imaging.py
#    :pyobject: main

program.main(session, Path("imaging.nwb"))

# %%
# What is in it
# -------------

if comm.rank == 0:
    with NWBHDF5IO("imaging.nwb", "r") as io:
        file = io.read()
        movie = file.acquisition["TwoPhotonSeries"].data
        ophys = file.processing["ophys"]
        masks = ophys["ImageSegmentation"]["PlaneSegmentation"]["image_mask"][:]
        traces = ophys["Fluorescence"]["RoiResponseSeries"].data[:]
        print("movie", movie.shape, movie.dtype, "in chunks of", movie.chunks)
        print(f"{movie.id.get_storage_size() / 1e6:.1f} MB stored")
        figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), width_ratios=[1, 1.6])
        left.imshow(movie[:].mean(axis=0), cmap="gray")
        left.contour(masks.max(axis=0), levels=[0.3], colors="tab:orange", linewidths=1)
        left.set_title("mean of all frames, and masks")
        left.axis("off")
        for number in range(6):
            right.plot(traces[:, number] + 1500 * number, linewidth=0.8)
        right.set_yticks([])
        right.set_xlabel("frame")
        right.set_title("traces of six neurons")
