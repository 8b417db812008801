"""How fast a compressed dataset comes into a new NWB file: by raw chunks, against plain pwrite and pynwb's copy.

    python benchmarks/raw_copy.py [--megabytes 1000] [--ranks 2] [--repeats 5] [--folder FOLDER]

All three are measured in turn, several times; every figure includes fsync and a source in the page cache. Plain pwrite
copies the same stored bytes with the same number of processes; pynwb's is its own serial ``write(link_data=False)``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import h5py
import numpy as np
from launching import launcher
from measure import in_turn

COLUMNS, ROWS = 64, 16384
BLOCK = 2**20


def make(path: Path, megabytes: float) -> int:
    """Write a gzip dataset whose stored chunks take so many MB, and return their bytes."""
    noise = np.random.default_rng(1).normal(0, 40, (ROWS, COLUMNS)).astype("i2")
    with h5py.File(path, "w") as file:
        settings: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True}
        data = file.create_dataset(
            "data", (ROWS, COLUMNS), "i2", maxshape=(None, COLUMNS), chunks=(ROWS, COLUMNS), **settings
        )
        data.attrs.update({"unit": "V", "conversion": 1.0, "resolution": -1.0, "offset": 0.0})
        data[...] = noise
        _, chunk = data.id.read_direct_chunk((0, 0))
        count = max(2, int(megabytes * 10**6 / len(chunk)))
        data.resize(count * ROWS, axis=0)
        for number in range(1, count):
            data.id.write_direct_chunk((number * ROWS, 0), chunk)
        file.flush()
        return count * len(chunk)


def session(path: Path) -> Any:
    from pynwb import H5DataIO, NWBFile, TimeSeries

    nwbfile = NWBFile("a copy", "id", datetime(2024, 1, 1, tzinfo=timezone.utc))
    data = H5DataIO(h5py.File(path, "r")["data"], link_data=False)
    nwbfile.add_acquisition(TimeSeries(name="raw", data=data, unit="V", rate=30000.0))
    return nwbfile


def by_parnwb(source: Path, output: Path, comm: Any) -> None:
    from parnwb import NWBParallelIO

    with NWBParallelIO(output, "w", comm=comm, progress=False) as io:
        io.write(session(source))


def by_pwrite(source: Path, output: Path, comm: Any) -> None:
    """Copy a share of the file."""
    size = source.stat().st_size
    if comm.rank == 0:
        output.touch()
    comm.Barrier()
    share = -(-size // comm.size)
    at, end = comm.rank * share, min(size, (comm.rank + 1) * share)
    reading, writing = os.open(source, os.O_RDONLY), os.open(output, os.O_WRONLY)
    while at < end:
        at += os.pwrite(writing, os.pread(reading, min(BLOCK, end - at), at), at)
    os.fsync(writing)
    os.close(reading)
    os.close(writing)


def by_pynwb(source: Path, output: Path, comm: Any) -> None:
    from pynwb import NWBHDF5IO

    if comm.rank == 0:
        with NWBHDF5IO(output, "w") as io:
            io.write(session(source))
        descriptor = os.open(output, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


WAYS = {"pwrite": by_pwrite, "parnwb": by_parnwb, "pynwb": by_pynwb}


def measure(source: Path, folder: Path, repeats: int) -> None:
    """Run under mpiexec: print the seconds of each way, as JSON."""
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    by_parnwb(source, folder / "warm.nwb", comm)  # imports, and the source into the page cache
    ways = {name: lambda output, way=way: way(source, output, comm) for name, way in WAYS.items()}
    seconds = in_turn(ways, folder, repeats, comm)
    if comm.rank == 0:
        with h5py.File(source) as there, h5py.File(folder / "parnwb.nwb") as here:
            copied = here["/acquisition/raw/data"]
            last = (copied.shape[0] - ROWS, 0)
            assert copied.shape == there["data"].shape
            assert copied.id.read_direct_chunk(last) == there["data"].id.read_direct_chunk(last)
        print(json.dumps(seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=1000)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--measure", type=Path, default=None, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure is not None:
        measure(given.measure, given.folder, given.repeats)
        return
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        source = Path(folder) / "source.h5"
        nbytes = make(source, given.megabytes)
        own = [sys.executable, __file__, "--measure", source, "--folder", folder, "--repeats", str(given.repeats)]
        command = [*launcher(sys.executable, given.ranks), *own]
        done = subprocess.run(command, capture_output=True, text=True, timeout=1200)
        if done.returncode:
            raise SystemExit(done.stderr)
        seconds = json.loads(done.stdout.splitlines()[-1])
    middle = {way: median(times) for way, times in seconds.items()}
    least = {way: min(times) for way, times in seconds.items()}  # what else runs on the machine only adds to it
    print(f"{nbytes / 1e6:.0f} MB of stored chunks, {given.ranks} ranks: median and least of {given.repeats}")
    for way in WAYS:
        shown = (f"{one[way]:7.3f} s {one[way] / one['pwrite']:5.2f} x pwrite" for one in (middle, least))
        print(f"{way:8} {' | '.join(shown)} | {nbytes / 1e6 / least[way]:.0f} MB/s at best")


if __name__ == "__main__":
    main()
