"""Run under mpiexec: writes the cases of Zarr stores. Arguments: the folder with inputs, one for the output."""

from __future__ import annotations

import json
import sys
import traceback
import warnings
from pathlib import Path

from mpi4py import MPI

sys.path.insert(0, str(Path(__file__).parents[1]))

from contract.store_cases import CASES, RECODED, SMALL, build

from parnwb import NWBParallelIO
from parnwb.planning import plan
from parnwb.repacking import repack
from parnwb.stores.rule import StoreRule
from parnwb.verification import verify

COMM = MPI.COMM_WORLD


def main(folder: Path, outputs: Path) -> None:
    for number, (name, (_, settings, arguments, _)) in enumerate(CASES.items()):
        if COMM.rank == 0:
            print(name, flush=True)
        # What cannot be sent must be everywhere.
        everywhere = name == "iterators" or ((number + COMM.size) % 2 == 0 and name != "copies")
        try:
            file = build(name, folder, rank=COMM.rank) if COMM.rank == 0 or everywhere else None
            if file is not None and COMM.rank and everywhere:
                file.fields["identifier"] = "made on rank 0"
            with NWBParallelIO(outputs / f"{name}.nwb.zarr", "w", comm=COMM, **SMALL | settings) as io:
                io.write(file, **arguments)
        except Exception:
            if COMM.rank == 0:
                (outputs / f"{name}.failed").write_text(traceback.format_exc())
    cross(folder, outputs)


def cross(folder: Path, outputs: Path) -> None:
    """Write an HDF5 file once more as a store, and that as an HDF5 file; and once more with other settings."""
    there, back = outputs / "crossed.nwb.zarr", outputs / "crossed.nwb"
    other, other_back = outputs / "recoded.nwb.zarr", outputs / "recoded.nwb"
    try:
        repack(folder / "session.nwb", there, COMM, **SMALL)
        repack(there, back, COMM, **SMALL)
        repack(folder / "session.nwb", other, COMM, chunks="auto", compression="zstd-2", datasets=RECODED, **SMALL)
        repack(other, other_back, COMM, datasets=RECODED, **SMALL)
        against = {"against": build("session", folder, rank=COMM.rank), "rule": StoreRule(threshold=0)}
        verdicts = [
            verify(there, comm=COMM, buffer_mb=0.02),
            verify(back, comm=COMM, buffer_mb=0.02),
            verify(outputs / "session.nwb.zarr", **against, comm=COMM, buffer_mb=0.02),
        ]
        if COMM.rank == 0:
            told = [[str(finding) for finding in verdict.findings] for verdict in verdicts]
            compared = list(verdicts[-1].compared)
            (outputs / "verdicts.json").write_text(json.dumps({"findings": told, "compared": compared}))
    except Exception:
        if COMM.rank == 0:
            (outputs / "crossed.failed").write_text(traceback.format_exc())


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    plan.READ_GRID_BYTES = 2048  # the data of iterators would be one block, hence one rank's
    main(Path(sys.argv[1]), Path(sys.argv[2]))
