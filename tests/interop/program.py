"""Run under mpiexec: writes one file as users would, for other readers to read. Argument: PATH."""

from __future__ import annotations

import sys
from pathlib import Path

from mpi4py import MPI
from pynwb import NWBFile

sys.path.insert(0, str(Path(__file__).parents[1]))

from interop.content import fill, new_file

from parnwb import NWBParallelIO

if __name__ == "__main__":
    file: NWBFile = new_file()
    fill(file)
    settings = {"backend": "direct", "compression": "auto", "bulk_threshold": 0, "buffer_mb": 0.05}
    with NWBParallelIO(sys.argv[1], "w", comm=MPI.COMM_WORLD, progress=False, **settings) as io:
        io.write(file)
