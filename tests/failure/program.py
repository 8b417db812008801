"""Run many faults in turn on all ranks; rank 0 prints what each rank caught, as one line of JSON per fault.

Arguments: folder, backend, transfer, names of the faults.
"""

from __future__ import annotations

import faulthandler
import hashlib
import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from failure.faults import (  # noqa: F401
    in_appends,
    in_calls,
    in_content,
    in_copies,
    in_growth,
    in_links,
    in_movies,
    in_other_files,
    in_places,
    in_pynwb,
    in_rank_data,
    in_sources,
    in_target,
)
from failure.faults.fault import FAULTS, Fault, Place
from failure.faults.material import SETTINGS
from mpi4py import MPI

from parnwb.planning import plan


def listing(folder: Path) -> dict[str, str]:
    """Return every file below a folder with a digest of its bytes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


def outcome(fault: Fault, place: Place) -> dict[str, Any]:
    """Run a fault and return what this rank caught."""
    began = time.monotonic()
    kind, text = None, ""
    try:
        fault.run(place)
    except BaseException as error:
        kind = type(error).__name__
        try:
            text = str(error)
        except Exception as mute:
            text = f"(no text: {mute})"
    return {"kind": kind, "text": text[:5000], "seconds": time.monotonic() - began, "length": len(text)}


def run(fault: Fault, folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Run one fault on all ranks and return what they all caught, and the folder before and after."""
    comm = MPI.COMM_WORLD.Dup()
    place = Place(comm, settings, folder, folder / "out.nwb")
    if comm.rank == 0:
        print(f"fault {fault.name}", file=sys.stderr, flush=True)
        folder.mkdir(parents=True)
        if fault.prepare is not None:
            fault.prepare(place)
    before = comm.bcast(listing(folder) if comm.rank == 0 else None)
    outcomes = MPI.COMM_WORLD.gather(outcome(fault, place))
    after = listing(folder) if comm.rank == 0 else {}
    return {"name": fault.name, "outcomes": outcomes, "before": before, "after": after}


def main() -> None:
    folder, backend, transfer, *names = sys.argv[1:]
    warnings.simplefilter("ignore")
    plan.READ_GRID_BYTES = int(SETTINGS["buffer_mb"] * plan.MiB)  # data of iterators would be read in one piece
    faulthandler.dump_traceback_later(float(os.environ["PARNWB_TEST_SECONDS"]), exit=False)
    settings = {**SETTINGS, "backend": backend, "transfer": transfer}
    for name in names:
        result = run(FAULTS[name], Path(folder) / name, dict(settings))
        if MPI.COMM_WORLD.Get_rank() == 0:
            print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
