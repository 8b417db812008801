"""How the benchmarks start MPI programs, and how long they wait for them."""

from __future__ import annotations

import shutil
from pathlib import Path

from parnwb.recordings.demo import mpi_flags

TIMEOUT_SECONDS = 1800


def launcher(python: str, ranks: int) -> list[str]:
    """Return the mpiexec that belongs to a Python, with its flags; Open MPI's root must be told that it may."""
    beside = Path(python).parent / "mpiexec"
    mpiexec = str(beside) if beside.exists() else shutil.which("mpiexec")
    if mpiexec is None:
        raise SystemExit(f"no mpiexec beside {python} nor on PATH: pip install 'parnwb[mpich]'")
    return [mpiexec, *mpi_flags(mpiexec), "-n", str(ranks)]
