"""Run under mpiexec: the root has more in memory than is sent to the others, writes it and compares it. In a folder."""

from __future__ import annotations

import json
import sys
import warnings
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from mpi4py import MPI
from pynwb import NWBFile, TimeSeries

from parnwb import NWBParallelIO
from parnwb.verification import verify


def session() -> NWBFile:
    """As large as the spike times of a long sorting, which neuroconv gives as one array."""
    file = NWBFile("kept", "kept", datetime(2026, 1, 1, tzinfo=timezone.utc))
    file.add_acquisition(TimeSeries("large", data=np.random.default_rng(0).random(9_500_000), unit="s", rate=1.0))
    file.add_acquisition(TimeSeries("small", data=np.arange(50_000.0), unit="s", rate=1.0))
    return file


def main() -> None:
    comm, folder = MPI.COMM_WORLD, Path(sys.argv[1])
    nwbfile = session() if comm.rank == 0 else None
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        with NWBParallelIO(folder / "out.nwb", "w", comm=comm, compression="auto", progress=False) as io:
            io.write(nwbfile)
    verdict = verify(folder / "out.nwb", against=nwbfile, comm=comm)
    chunks = comm.gather(io.written.plan.count_chunks(comm.rank, 0))
    if comm.rank == 0:
        words = [str(item.message) for item in told if "rank 0 alone" in str(item.message)]
        findings = [str(item) for item in verdict.findings]
        print(json.dumps({"told": words, "findings": findings, "compared": verdict.compared, "chunks": chunks}))


if __name__ == "__main__":
    main()
