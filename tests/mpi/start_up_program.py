"""Writes a file whose NWBFile the root alone has, or converts a recording; prints what each rank has imported."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from mpi4py import MPI

from parnwb import NWBParallelIO

LIBRARIES = ("h5py", "hdmf", "pynwb", "numcodecs", "neuroconv", "spikeinterface", "nwbinspector", "matplotlib")


def nwbfile(folder: Path):
    from datetime import datetime, timezone

    from pynwb import NWBFile, TimeSeries

    from parnwb import Stream

    values = np.random.default_rng(0).integers(-50, 50, (100_000, 8)).astype("<i2")
    values.tofile(folder / "values.bin")
    mapped = np.memmap(folder / "values.bin", dtype="<i2", mode="r", shape=values.shape)
    file = NWBFile("none", "of the others", datetime(2026, 1, 2, tzinfo=timezone.utc))
    file.add_acquisition(TimeSeries(name="raw", data=mapped, unit="V", rate=1.0))
    file.add_acquisition(TimeSeries(name="memory", data=values[:50_000], unit="V", rate=1.0))
    file.add_acquisition(TimeSeries(name="stream", data=Stream("<i2", (8,)), unit="V", rate=1.0))
    return file


def write(folder: Path) -> None:
    comm = MPI.COMM_WORLD
    with NWBParallelIO(folder / "out.nwb", "w", comm=comm, compression="auto", progress=False) as io:
        io.write(nwbfile(folder) if comm.rank == 0 else None)
        for _ in range(2):
            io.append("/acquisition/stream/data", np.full((1000, 8), comm.rank, dtype="<i2"))


def convert(folder: Path) -> None:
    from parnwb.cli import main as command

    sys.argv = ["parnwb", "convert", str(folder / "recording"), str(folder / "out.nwb"), "--quiet"]
    with pytest.raises(SystemExit) as ended:
        command()
    assert not ended.value.code


def main(folder: Path, what: str) -> None:
    comm = MPI.COMM_WORLD
    {"write": write, "convert": convert}[what](folder)
    found = comm.gather([name for name in LIBRARIES if name in sys.modules])
    if comm.rank == 0:
        print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
