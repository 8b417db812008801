"""Run under mpiexec: converts flat recordings and prints the largest anonymous memory of any rank, in a folder."""

from __future__ import annotations

import json
import sys
import threading
import warnings
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from mpi4py import MPI
from neuroconv.tools.hdmf import SliceableDataChunkIterator
from pynwb import NWBFile, TimeSeries

from parnwb import NWBParallelIO

CHUNK = (78125, 64)
# Channels, megabytes, compression, chunks. Two buffers of what is not encoded are most, and come first: malloc may keep
# some of what threads that encode have freed.
CASES = {
    "as it is": (384, 800, "none", CHUNK),
    "short": (384, 400, "auto", CHUNK),
    "long": (384, 800, "auto", CHUNK),
    "wide": (1536, 400, "auto", CHUNK),
    "wide, read once": (1536, 400, "auto", None),
}


def anonymous() -> int:
    """Bytes of this process that no file backs."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["RssAnon"].split()[0]) * 1024


class Peak(threading.Thread):
    """Looks every few milliseconds until it is told to stop."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.peak, self._done = 0, threading.Event()

    def run(self) -> None:
        while not self._done.wait(0.005):
            self.peak = max(self.peak, anonymous())

    def stop(self) -> int:
        self._done.set()
        self.join()
        return max(self.peak, anonymous())


def make(path: Path, channels: int, megabytes: int) -> None:
    """Noise of few counts, the same again and again at distances that no coder looks back."""
    block = np.random.default_rng(0).normal(0, 6, (30_000, channels)).astype("<i2").tobytes()
    with path.open("wb") as file:
        while file.tell() < megabytes * 10**6:
            file.write(block)


def session(path: Path, channels: int, chunks: tuple[int, int] | None) -> NWBFile:
    file = NWBFile("memory", "memory", datetime(2026, 1, 1, tzinfo=timezone.utc))
    data = np.memmap(path, "<i2", "r").reshape(-1, channels)
    if chunks is not None:
        data = SliceableDataChunkIterator(data=data, chunk_shape=chunks, buffer_gb=0.1)
    file.add_acquisition(TimeSeries("wide", data=data, unit="V", rate=30_000.0))
    return file


def main() -> None:
    warnings.simplefilter("ignore")
    comm, folder, found = MPI.COMM_WORLD, Path(sys.argv[1]), {}
    for name, (channels, megabytes, compression, chunks) in CASES.items():
        settings = {"comm": comm, "compression": compression, "chunks": "auto", "progress": False}
        path = folder / f"{name}.bin"
        if comm.rank == 0:
            make(path, channels, megabytes)
        nwbfile = session(path, channels, chunks) if comm.rank == 0 else None
        peak = Peak()
        peak.start()
        with NWBParallelIO(folder / f"{name}.nwb", "w", **settings) as io:
            io.write(nwbfile)
        found[name] = max(comm.allgather(peak.stop()))
        if comm.rank == 0:
            path.unlink()
            (folder / f"{name}.nwb").unlink()
    if comm.rank == 0:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
