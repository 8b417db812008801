"""What the processes of one run execute: ``python job.py JSON``. The root prints one line of JSON."""

from __future__ import annotations

import json
import sys
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

from cases import Task
from recordings import Recording


def main(text: str) -> None:
    """Run a case's ``write`` and print what it returns."""
    warnings.simplefilter("ignore")
    job: dict[str, Any] = json.loads(text)
    comm = None
    if job["launch"] == "mpi":
        from mpi4py import MPI

        comm = MPI.COMM_WORLD
    recording = Recording.from_json(job["recording"])
    task = Task(recording, Path(job["output"]), job["processes"], job["options"])
    result = import_module(job["module"]).write(task, comm)
    if comm is None or comm.rank == 0:
        from provenance import versions

        print("\n" + json.dumps({**result, "versions": versions(with_mpi=comm is not None)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
