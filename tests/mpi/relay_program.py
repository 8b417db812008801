"""Writes a file on ranks of made-up nodes, with commits all the while, and tells how many speak to the root."""

from __future__ import annotations

import json
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from hdmf.backends.hdf5 import H5DataIO
from mpi4py import MPI
from pynwb import NWBFile, TimeSeries

from parnwb import NWBParallelIO
from parnwb.backends.asking import AskedAddresses
from parnwb.backends.giving import RootAddresses

SHAPE, CHUNKS = (64_000, 8), (500, 4)


def values() -> np.ndarray:
    return np.random.default_rng(0).integers(-50, 50, SHAPE).astype("<i2")


def nwbfile() -> NWBFile:
    file = NWBFile("relays", "relays", datetime(2026, 1, 2, tzinfo=timezone.utc))
    for name in ("one", "two"):
        data = H5DataIO(values(), chunks=CHUNKS, compression="gzip")
        file.add_acquisition(TimeSeries(name=name, data=data, unit="V", rate=1.0))
    return file


def asked_at_its_third_request(of: Any) -> Any:
    requests = 0

    def asked(self: AskedAddresses, batch: Any) -> Any:
        nonlocal requests
        requests += 1
        self._interrupts.received |= requests == 3
        return of(self, batch)

    return asked


def main(folder: Path) -> None:
    comm = MPI.COMM_WORLD
    senders: set[int] = set()
    commits = 0
    take, append = RootAddresses._asked, RootAddresses._append_frame

    def asked(self: RootAddresses, sender: int, *arguments: Any) -> None:
        senders.add(sender)
        take(self, sender, *arguments)

    def appended(self: RootAddresses, *arguments: object) -> object:
        nonlocal commits
        commits += 1
        return append(self, *arguments)

    RootAddresses._asked, RootAddresses._append_frame = asked, appended
    settings = {"comm": comm, "progress": False, "buffer_mb": 0.02, "commit_interval": 0.02, "watchdog": 30}
    with NWBParallelIO(folder / "whole.nwb", "w", **settings) as io:
        io.write(nwbfile())
    asked_to_stop = 0
    if comm.rank == comm.size - 1:  # one that speaks to the root through another
        AskedAddresses.of = asked_at_its_third_request(AskedAddresses.of)
    try:
        with NWBParallelIO(folder / "stopped.nwb", "w", **settings) as io:
            io.write(nwbfile())
    except SystemExit as error:
        asked_to_stop = int(error.code or 0)
    with NWBParallelIO(folder / "stopped.nwb", "resume", **settings) as io:
        io.write(nwbfile())
    codes = comm.gather(asked_to_stop)
    if comm.rank == 0:
        print(json.dumps({"senders": sorted(senders), "commits": commits, "codes": codes}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
