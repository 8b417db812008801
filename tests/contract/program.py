"""Run under mpiexec: writes every case by every road that this installation can go. Arguments: INPUTS OUTPUTS.

A file is left as ``OUTPUTS/ROAD/CASE.nwb``; a case that could not be written leaves ``CASE.failed`` with the reason,
and the others are written all the same.
"""

from __future__ import annotations

import sys
import traceback
import warnings
from pathlib import Path

from mpi4py import MPI
from pynwb import get_manager

sys.path.insert(0, str(Path(__file__).parents[1]))

from contract.cases import CASES, build
from contract.roads import Road, roads

from parnwb import NWBParallelIO, plan
from parnwb.site import parallel_hdf5

MANAGER = get_manager()


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
        manager = MANAGER if case.settings else None  # making one takes as long as writing a small file
        settings = {"manager": manager, "progress": False, **road.settings, **case.settings}
        with NWBParallelIO(path, "w", comm=comm, **settings) as io:
            io.write(file, **case.arguments)
    except Exception:
        if comm.rank == 0:
            path.with_suffix(".failed").write_text(traceback.format_exc())


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    plan.READ_GRID_BYTES = 2048  # the data of iterators would be one block, hence one rank's
    for number, case_name in enumerate(CASES):
        for each in roads(number, MPI.COMM_WORLD.size, parallel_hdf5=parallel_hdf5()):
            if each.backend == "direct" or parallel_hdf5():
                write(case_name, each, Path(sys.argv[1]), Path(sys.argv[2]))
