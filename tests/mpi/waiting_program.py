"""Writes with one rank held up at one place after another, and prints each rank's seconds by phase."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from mpi4py import MPI

import parnwb
from parnwb import agreement, building
from parnwb.target import Target

HELD_UP = 1.0
EVERY = "every rank has the NWBFile"
PLACES: dict[str, tuple[int, Any, str]] = {
    "building": (0, building, "_authored"),
    f"building, {EVERY}": (1, building, "_catalogue"),
    f"sampling, {EVERY}": (0, agreement, "fingerprints"),
    "the end": (0, Target, "publish"),
}
"""By what is done there: the rank that is held up, and the function in which it is."""


def nwbfile(rank: int, *, spread: bool) -> Any:
    from pynwb import NWBFile, TimeSeries

    values: Any = np.full((20_000, 2), rank if spread else 0, dtype="<i2")
    file = NWBFile("waiting", "waiting", datetime(2026, 1, 2, tzinfo=timezone.utc))
    data = parnwb.Distributed(values, axis=0, comm=MPI.COMM_WORLD) if spread else values
    file.add_acquisition(TimeSeries(name="raw", data=data, unit="V", rate=1.0))
    return file


@contextmanager
def held_up(place: Any, name: str) -> Iterator[None]:
    function = getattr(place, name)

    def later(*arguments: Any, **keywords: Any) -> Any:
        time.sleep(HELD_UP)
        return function(*arguments, **keywords)

    with mock.patch.object(place, name, later):
        yield


def write(path: Path, *, everywhere: bool) -> dict[str, float]:
    """Return the seconds of this rank. Collective."""
    comm = MPI.COMM_WORLD
    content = nwbfile(comm.rank, spread=everywhere) if everywhere or comm.rank == 0 else None
    with parnwb.NWBParallelIO(path, "w", comm=comm, progress=False, bulk_threshold=0) as io:
        io.write(content)
    return dict(io.written.phases)


def main(folder: Path) -> None:
    comm = MPI.COMM_WORLD
    for name, everywhere in (("first", False), ("first of all", True)):  # imports count for whoever comes first
        write(folder / f"{name}.nwb", everywhere=everywhere)
    told = {}
    for number, (case, (rank, place, name)) in enumerate(PLACES.items()):
        path, everywhere = folder / f"{number}.nwb", case.endswith(EVERY)
        if comm.rank == rank:
            with held_up(place, name):
                seconds = write(path, everywhere=everywhere)
        else:
            seconds = write(path, everywhere=everywhere)
        told[case] = comm.gather(seconds)
    if comm.rank == 0:
        print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
