"""Run under mpiexec: writes every case by every road of this installation. Arguments: INPUTS OUTPUTS.

A file is left as ``OUTPUTS/ROAD/CASE.nwb``; a case that could not be written leaves ``CASE.failed`` with the reason,
and the others are written all the same.
"""

from __future__ import annotations

import sys
import traceback
import warnings
from pathlib import Path

from mpi4py import MPI

sys.path.insert(0, str(Path(__file__).parents[1]))

from contract.cases import CASES, build
from contract.roads import Road, all_roads

from parnwb import NWBParallelIO
from parnwb.site import parallel_hdf5


def write(name: str, road: Road, inputs: Path, outputs: Path) -> None:
    """Write one case by one road. Collective."""
    comm, case = MPI.COMM_WORLD, CASES[name]
    path = outputs / str(road) / f"{name}.nwb"
    if comm.rank == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        print(f"{name} by {road}", flush=True)  # the last of these lines tells where a launch hung
    comm.Barrier()
    try:
        file = build(name, inputs, rank=comm.rank) if comm.rank == 0 or case.everywhere else None
        with NWBParallelIO(path, "w", comm=comm, progress=False, **road.settings, **case.settings) as io:
            io.write(file, **case.arguments)
    except Exception:  # noqa: BLE001 - parnwb raises it on all ranks: they go on together
        if comm.rank == 0:
            path.with_suffix(".failed").write_text(traceback.format_exc())


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for each in all_roads():
        if each.backend == "direct" or parallel_hdf5():
            for case_name in CASES:
                write(case_name, each, Path(sys.argv[1]), Path(sys.argv[2]))
