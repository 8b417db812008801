"""Write one session with different numbers of writers on this host, and append to each. Argument: a folder."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from failure.resuming import SETTINGS, noise, session
from mpi4py import MPI
from pynwb import TimeSeries

from parnwb import NWBParallelIO
from parnwb.backends import pens


def main() -> None:
    folder, comm = Path(sys.argv[1]), MPI.COMM_WORLD
    warnings.simplefilter("ignore")
    pens.LETTER_BYTES = 3000  # less than a chunk
    for per_node in (0, 1, 3):
        path = folder / f"{per_node}.nwb"
        settings = {**SETTINGS, "progress": False, "writers_per_node": per_node}
        with NWBParallelIO(path, "w", comm=comm, commit_interval=1e-3, **settings) as io:
            io.write(session())
        with NWBParallelIO(path, "a", comm=comm, **settings) as io:
            nwbfile = io.read()
            nwbfile.add_acquisition(TimeSeries(name="added", data=noise((3000, 5), seed=9), unit="V", rate=1.0))
            io.write(nwbfile)
        if comm.rank == 0:
            print(per_node, io.written.backend.reason if io.written else "")


if __name__ == "__main__":
    main()
