"""An append to a session: new data, and datasets that grow; and a program of it, of whose ranks one ends too early.

Arguments: the file, a rank, and after how many of its calls to the file system it ends.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from failure.calls import EndAfter, watch
from failure.resuming import noise, small_pieces
from pynwb import NWBHDF5IO, H5DataIO, NWBFile, TimeSeries

from parnwb import NWBParallelIO


def add(file: NWBFile) -> None:
    """Add large data of every layout, and a link to what was there."""
    gzip = H5DataIO(noise((400, 12)), compression="gzip", chunks=(50, 12))
    file.add_acquisition(TimeSeries(name="added", data=gzip, unit="V", rate=1.0))
    file.add_acquisition(TimeSeries(name="bare_added", data=noise((300, 8), "f4"), unit="V", rate=1.0))
    module = file.create_processing_module("behavior", "added")
    times = file.acquisition["bare"].timestamps
    module.add(TimeSeries(name="linked", data=noise((500, 3)), unit="V", timestamps=times))


def prepare(path: Path) -> None:
    """Add a dataset that can grow, at the end of the file."""
    growing = H5DataIO(noise((450, 12)), compression="gzip", chunks=(100, 12), maxshape=(None, 12))
    with NWBHDF5IO(path, "a") as io:
        file = io.read()
        file.add_acquisition(TimeSeries(name="growing", data=growing, unit="V", rate=1.0))
        io.write(file)


def change(io: Any, file: NWBFile) -> None:
    """Add data, and give more rows to datasets whose last chunks are not full; by parnwb or by pynwb."""
    add(file)
    for name, rows in {"growing": noise((270, 12)), "chunked": noise((90, 13), "f8")}.items():
        data = file.acquisition[name].data
        if isinstance(io, NWBParallelIO):
            io.extend(data, rows)
        else:
            data.resize(len(data) + len(rows), axis=0)
            data[-len(rows) :] = rows


def append(path: Path, opened: Callable[[Path], Any] | None = None, comm: Any = None) -> None:
    """Append with parnwb, contiguous data in small pieces."""
    settings = {"bulk_threshold": 1024, "buffer_mb": 10_000 / 2**20, "progress": False, "comm": comm}
    with small_pieces(), opened(path) if opened else NWBParallelIO(path, "a", **settings) as io:
        file = io.read()
        change(io, file)
        io.write(file)


if __name__ == "__main__":
    from mpi4py import MPI

    if MPI.COMM_WORLD.rank == int(sys.argv[2]):
        watch(Path(sys.argv[1]).parent, EndAfter(int(sys.argv[3])))
    append(Path(sys.argv[1]), comm=MPI.COMM_WORLD)
