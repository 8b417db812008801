"""Write a file by ``mpio`` as on Lustre; the root prints what each rank's parallel HDF5 has been told of the open file.

Argument: the output.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from failure.resuming import SETTINGS, session
from mpi4py import MPI

from parnwb import NWBParallelIO
from parnwb.backends import mpio
from parnwb.machine.striping import Striping


class Asking(mpio.MpioFile):
    """Asks HDF5 for the hints of the file as soon as it is open."""

    found: dict[str, str] = {}

    def __init__(self, job: Any, file: Any, **more: Any) -> None:
        _, info = file.id.get_access_plist().get_fapl_mpio()
        Asking.found = {name: info.Get(name) for name in info}
        super().__init__(job, file, **more)


def main() -> None:
    comm = MPI.COMM_WORLD
    warnings.simplefilter("ignore")
    mpio.file_system = lambda folder: "lustre"
    mpio.striping_of = lambda path: Striping(3, 1 << 20)
    mpio.MpioFile = Asking
    with NWBParallelIO(sys.argv[1], "w", comm=comm, backend="mpio", progress=False, **SETTINGS) as io:
        io.write(session(1))
    found = comm.gather(Asking.found)
    if found is not None:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
