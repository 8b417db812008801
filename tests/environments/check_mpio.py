"""Check that two ranks of this environment write one HDF5 file through MPI-IO, with Open MPI."""

import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from mpi_launch import run_mpi

PROGRAM = """
import sys, h5py
from mpi4py import MPI
comm = MPI.COMM_WORLD
assert comm.size == 2, f"{comm.size} rank(s) in this world instead of 2: mpiexec and libmpi do not match"
assert h5py.get_config().mpi, "h5py is a serial build"
library = MPI.Get_library_version()
assert library.startswith("Open MPI"), f"mpi4py has loaded {library}"
with h5py.File(sys.argv[1], "w", driver="mpio", comm=comm) as file:
    dataset = file.create_dataset("ranks", (comm.size,), "i4")
    dataset[comm.rank] = comm.rank
with h5py.File(sys.argv[1], "r") as file:
    assert list(file["ranks"]) == [0, 1]
"""

with tempfile.TemporaryDirectory() as folder:
    done = run_mpi(2, [sys.executable, "-c", PROGRAM, f"{folder}/check.h5"], timeout=60)
if done.returncode:
    sys.exit(f"parnwb: parallel HDF5 does not work in {sys.prefix}:\n{done.stdout}{done.stderr}")
