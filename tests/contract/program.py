"""Run under mpiexec: writes cases by every road that this installation can go. Arguments: INPUTS OUTPUTS cases|types.

A file is left as ``OUTPUTS/ROAD/CASE.nwb``; a case that could not be written leaves ``CASE.failed`` with the reason,
and the others are written all the same.
"""

from __future__ import annotations

import sys
import traceback
import warnings
from pathlib import Path

from mpi4py import MPI
from pynwb import get_class, get_manager

sys.path.insert(0, str(Path(__file__).parents[1]))

from contract.cases import CASES, SMALL_BUFFERS, TYPES, Case, build, filled
from contract.contents.types.extended import GIVEN, register, types_of, unregistered
from contract.roads import UNREGISTERED_RANKS, Road, roads, type_roads

from parnwb import NWBParallelIO
from parnwb.planning import plan
from parnwb.site import parallel_hdf5

COMM = MPI.COMM_WORLD


def write(name: str, case: Case, road: Road, outputs: Path, *, everywhere: bool) -> None:
    """Write one case by one road. Collective."""
    path = outputs / str(road) / f"{name}.nwb"
    if COMM.rank == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        print(f"{name} by {road}", flush=True)  # the last of these lines tells where a launch hung
    COMM.Barrier()
    try:
        file = build(name, INPUTS, rank=COMM.rank) if COMM.rank == 0 or everywhere else None
        manager = MANAGER if case.settings else None  # making one takes as long as writing a small file
        settings = {"manager": manager, "progress": False, **road.settings, **case.settings}
        with NWBParallelIO(path, "w", comm=COMM, **settings) as io:
            io.write(file, **case.arguments)
    except Exception:
        if COMM.rank == 0:
            path.with_suffix(".failed").write_text(traceback.format_exc())


def write_cases(outputs: Path) -> None:
    """Write what is about arrays, settings and sessions. Collective."""
    for number, (name, case) in enumerate(CASES.items()):
        for road in roads(number, COMM.size, parallel_hdf5=parallel_hdf5()):
            write(name, case, road, outputs, everywhere=case.everywhere)


def write_types(outputs: Path) -> None:
    """Write what is about neurodata types. Collective."""
    for number, (name, case) in enumerate(TYPES.items()):
        for road, everywhere in type_roads(number, COMM.size, parallel_hdf5=parallel_hdf5()).items():
            write(name, case, road, outputs, everywhere=everywhere)


def write_unregistered(outputs: Path) -> None:
    """Write an extension that pynwb does not know, given in each way; in the last the root alone has it. Collective."""
    if COMM.size != UNREGISTERED_RANKS:
        return
    for given, keyword in GIVEN.items():
        path, types = outputs / f"{given}.nwb", types_of(INPUTS)
        if COMM.rank == 0:
            path.parent.mkdir(parents=True, exist_ok=True)
            print(f"extension by {given}", flush=True)
        COMM.Barrier()
        file = filled(unregistered(types), "extension", INPUTS, rank=COMM.rank)
        settings = {**SMALL_BUFFERS, "progress": False, **keyword(types)}
        try:
            with NWBParallelIO(path, "w", comm=COMM, **settings) as io:
                io.write(file if COMM.rank == 0 or given != "list" else None)
        except Exception:
            if COMM.rank == 0:
                path.with_suffix(".failed").write_text(traceback.format_exc())


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    INPUTS, what = Path(sys.argv[1]), sys.argv[3]
    if what == "types":  # before there is a manager, which knows what is registered now
        write_unregistered(Path(sys.argv[2]))
        register(INPUTS)
        get_class("ImagingRetinotopy", "core")
    MANAGER = get_manager()
    plan.READ_GRID_BYTES = 2048  # the data of iterators would be one block, hence one rank's
    {"cases": write_cases, "types": write_types}[what](Path(sys.argv[2]))
