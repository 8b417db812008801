"""Write drawn files on all ranks. Arguments: a folder, and a file with the drawn ones as JSON.

File K becomes ``K.nwb``; where it cannot be written ``K.failed`` says why, and the others are written all the same.
"""

from __future__ import annotations

import json
import sys
import traceback
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from failure.fuzz.drawn import DrawnFile
from mpi4py import MPI
from pynwb import get_manager

from parnwb import NWBParallelIO


def main() -> None:
    warnings.simplefilter("ignore")
    folder, comm, manager = Path(sys.argv[1]), MPI.COMM_WORLD, get_manager()
    for number, given in enumerate(json.loads(Path(sys.argv[2]).read_text())):
        file = DrawnFile.from_json(given)
        path = folder / f"{number}.nwb"
        if comm.rank == 0:
            print(f"file {number}", flush=True)  # the last of these lines tells where a launch hung
        try:
            with NWBParallelIO(path, comm=comm, manager=manager, progress=False, **file.settings) as io:
                io.write(file.nwbfile(), cache_spec=False)
        except Exception:
            if comm.rank == 0:
                path.with_suffix(".failed").write_text(traceback.format_exc())


if __name__ == "__main__":
    main()
