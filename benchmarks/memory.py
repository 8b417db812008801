"""Anonymous memory of each rank while it writes, for each kind of data, which are much larger than the buffers.

    mpiexec -n 2 python benchmarks/memory.py [--megabytes 400] [--buffer-mb 16] [--folder .]
    mpiexec -n 2 python benchmarks/memory.py --smoke

The data lie in files that are mapped, or read by h5py: what is measured is what hdmf and parnwb add. Every kind is
written with the NWBFile on all ranks, and with it on the root alone. A figure is the largest growth of RssAnon on any
rank from just before the file is opened, in MB; it has to stay below the buffers, whatever the size of the data. The
program ends with status 1 if one does not.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from hdmf.common import DynamicTable, ElementIdentifiers, VectorData, VectorIndex
from measure import PeakMemory, anonymous_bytes, table
from mpi4py import MPI
from pynwb import H5DataIO, NWBFile, TimeSeries
from pynwb.misc import Units
from pynwb.ophys import PlaneSegmentation
from pynwb.testing.mock.ophys import mock_ImagingPlane

from parnwb import NWBParallelIO

PIXEL = np.dtype([("x", "u4"), ("y", "u4"), ("weight", "f4")])
ROWS = 500  # of ragged tables
# What is put together, what the source returned, and encoded chunks of three buffers; and what allocators keep.
BUFFERS, ALLOWED_MB = 6, 40
Made = Callable[[Path, int], NWBFile]


def mapped(path: Path, dtype: Any, nbytes: int, columns: int = 0) -> Any:
    """Return bytes that are no noise and no constant, from a file that the root makes."""
    dtype = np.dtype(dtype)
    row = dtype.itemsize * max(columns, 1)
    if MPI.COMM_WORLD.rank == 0 and not path.exists():
        ramp = np.arange(2**18) % 2 if dtype.kind == "b" else np.arange(2**18) % 251
        block = ramp.astype("u4" if dtype.names else dtype).tobytes()
        with path.open("wb") as file:
            while file.tell() < nbytes:
                file.write(block)
    MPI.COMM_WORLD.Barrier()
    shape = (nbytes // row, columns) if columns else (nbytes // row,)
    return np.memmap(path, dtype, "r", shape=shape)


def session(*series: TimeSeries) -> NWBFile:
    file = NWBFile("memory", "memory", datetime(2026, 1, 1, tzinfo=timezone.utc))
    for one in series:
        file.add_acquisition(one)
    return file


def series_of(dtype: str, **settings: Any) -> Made:
    """Return what makes a session with an array of rows; with settings it is wrapped."""

    def made(folder: Path, nbytes: int) -> NWBFile:
        data = mapped(folder / f"rows{np.dtype(dtype).str}", dtype, nbytes, 64)
        return session(TimeSeries("rows", data=H5DataIO(data, **settings) if settings else data, unit="V", rate=1.0))

    return made


def timestamps(folder: Path, nbytes: int) -> NWBFile:
    """float32, which hdmf makes float64."""
    times = mapped(folder / "times", "f4", nbytes)
    return session(TimeSeries("timed", data=mapped(folder / "data", "i2", nbytes // 2), timestamps=times, unit="V"))


def ragged(kind: type[DynamicTable], column: str, values: Any, **keywords: Any) -> DynamicTable:
    """Return a table with one ragged column."""
    data = VectorData(name=column, description="values", data=values)
    ends = np.linspace(0, len(values), ROWS + 1)[1:].astype("u8")
    index = VectorIndex(name=f"{column}_index", data=ends, target=data)
    ids = ElementIdentifiers(name="id", data=np.arange(ROWS))
    return kind(description="ragged", columns=[data, index], id=ids, colnames=[column], **keywords)


def units_of(dtype: str) -> Made:
    def made(folder: Path, nbytes: int) -> NWBFile:
        file = session()
        file.units = ragged(Units, "spike_times", mapped(folder / f"spikes{dtype}", dtype, nbytes), name="units")
        return file

    return made


def pixel_masks(folder: Path, nbytes: int) -> NWBFile:
    file = session()
    plane = mock_ImagingPlane(nwbfile=file)
    values = mapped(folder / "pixels", PIXEL, nbytes)
    masks = ragged(PlaneSegmentation, "pixel_mask", values, name="masks", imaging_plane=plane)
    file.create_processing_module("ophys", "masks").add(masks)
    return file


def copied_dataset(folder: Path, nbytes: int) -> NWBFile:
    path = folder / "source.h5"
    rows = mapped(folder / "rows<i2", "i2", nbytes, 64)
    if MPI.COMM_WORLD.rank == 0 and not path.exists():
        with h5py.File(path, "w") as file:
            file.create_dataset("rows", data=rows, chunks=(4096, 64), compression="gzip", compression_opts=1)
    MPI.COMM_WORLD.Barrier()
    data = H5DataIO(h5py.File(path, "r")["rows"], link_data=False)
    return session(TimeSeries("rows", data=data, unit="V", rate=1.0))


KINDS: dict[str, Made] = {
    "int16": series_of("<i2"),
    "int16 in H5DataIO": series_of("<i2", chunks=(4096, 64), compression="gzip", compression_opts=1),
    "big-endian int16": series_of(">i2"),
    "booleans": series_of("?"),
    "float32 timestamps": timestamps,
    "spike times, float64": units_of("f8"),
    "spike times, float32": units_of("f4"),
    "pixel masks": pixel_masks,
    "HDF5 dataset, copied": copied_dataset,
}


def growth_mb(made: Made, folder: Path, nbytes: int, buffer_mb: float, *, on_root: bool) -> float:
    """Write one kind; return the largest growth of any rank's anonymous memory, in MB. Collective."""
    comm = MPI.COMM_WORLD
    file = made(folder, nbytes)
    nwbfile = file if comm.rank == 0 or not on_root else None
    before = anonymous_bytes()
    with PeakMemory() as memory:
        settings: dict[str, Any] = {"compression": 1, "buffer_mb": buffer_mb, "overwrite": True, "progress": False}
        with NWBParallelIO(folder / "out.nwb", "w", comm=comm, **settings) as io:
            io.write(nwbfile)
    return max(comm.allgather(memory.peaks[0] - before)) / 1e6


def measured(folder: Path, nbytes: int, buffer_mb: float) -> dict[str, tuple[float, float]]:
    """Return the growth of each kind, NWBFile on all ranks and on the root. Collective."""
    return {
        name: (
            growth_mb(made, folder, nbytes, buffer_mb, on_root=False),
            growth_mb(made, folder, nbytes, buffer_mb, on_root=True),
        )
        for name, made in KINDS.items()
    }


def main() -> None:
    """Parse, make the data, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--buffer-mb", type=float, default=16)
    parser.add_argument("--folder", type=Path, default=Path(), help="for the data and the file (default: here)")
    parser.add_argument("--smoke", action="store_true", help="a small size, to see that this program works")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.megabytes, arguments.buffer_mb = 80, 1.0
    warnings.simplefilter("ignore")
    comm = MPI.COMM_WORLD
    own = tempfile.TemporaryDirectory(prefix="parnwb-memory-", dir=arguments.folder) if comm.rank == 0 else None
    folder = Path(comm.bcast(own.name if own else None))
    found = measured(folder, arguments.megabytes * 10**6, arguments.buffer_mb)
    allowed = BUFFERS * arguments.buffer_mb * 1.048576 + ALLOWED_MB
    if own is not None:
        rows = [[name, *(f"{growth:.0f}" for growth in growths)] for name, growths in found.items()]
        print(table(["kind", "NWBFile on all ranks", "on the root"], rows))
        size = f"{arguments.megabytes} MB, {comm.size} ranks, buffers of {arguments.buffer_mb} MiB"
        print(f"\nGrowth in MB; {size}, {allowed:.0f} allowed")
        own.cleanup()
    sys.exit(int(any(growth > allowed for growths in found.values() for growth in growths)))


if __name__ == "__main__":
    main()
