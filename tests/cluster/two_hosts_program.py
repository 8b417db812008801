"""Write a file on ranks of two hosts. Arguments: the output, the backend, a trouble, and more settings as name=value.

Troubles: ``none``; ``parnwb``, ``HDF5``: node2 has another version of it; ``link``: reading takes its time, so that its
network can be down for a while; ``caches``: each process keeps pages of the file to itself, as a client of a network
file system may; ``nfs``: the same, and the kernel calls it NFS.
"""

from __future__ import annotations

import socket
import sys
import time
import warnings
from pathlib import Path

import h5py
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from cluster import caching_client
from failure.resuming import SETTINGS, session
from mpi4py import MPI

import parnwb
from parnwb import NWBParallelIO
from parnwb.machine import storage
from parnwb.sources.array import ArraySource


def slowly(path: Path) -> None:
    """Let reading take its time, and say when it has begun."""
    read = ArraySource.read

    def slow(self: ArraySource, *arguments: object) -> np.ndarray:
        (path.parent / "begun").touch()
        time.sleep(0.05)
        return read(self, *arguments)

    ArraySource.read = slow


def has_another(what: str) -> None:
    """Let this host have another version of something."""
    if what == "parnwb":
        parnwb.__version__ = "0.0.9"
    if what == "HDF5":  # of the same h5py, as where a site has built it by itself
        h5py.version.hdf5_version = "0.0.9"


def main() -> None:
    output, backend, trouble = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    warnings.simplefilter("ignore")
    if socket.gethostname() == "node2":
        has_another(trouble)
    if trouble == "link":
        slowly(output)
    if trouble in ("caches", "nfs"):
        caching_client.install(output)
    if trouble == "nfs":
        storage.file_system = lambda folder: "nfs4"
    more = dict(setting.split("=") for setting in sys.argv[4:])
    numbers = {name: int(value) if value.isdigit() else value for name, value in more.items()}
    settings = {**SETTINGS, **numbers, "backend": backend, "progress": False}
    with NWBParallelIO(output, "w", comm=MPI.COMM_WORLD, **settings) as io:
        io.write(session())
    if io.written and MPI.COMM_WORLD.rank == 0:
        print(io.written.backend.reason)


if __name__ == "__main__":
    main()
