"""The launcher itself: one world of ranks, honest exit status, and nothing left behind after a hang."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import mpi_launch
import pytest

# Says where it is, then leaves rank 0 alone in a barrier.
HANG = """
import os, time
from mpi4py import MPI
print("rank", MPI.COMM_WORLD.rank, "launch", os.environ["PARNWB_TEST_LAUNCH"], flush=True)
if MPI.COMM_WORLD.rank == 0:
    MPI.COMM_WORLD.Barrier()
time.sleep(600)
"""


# These start MPI programs and must not run within one.
pytestmark = pytest.mark.mpi_skip


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def test_four_ranks_are_one_world(mpiexec):
    program = "from mpi4py.MPI import COMM_WORLD as c; print(f'{c.rank}/{c.size}', c.allreduce(1))"
    done = mpiexec(4, python(program))
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == ["0/4 4", "1/4 4", "2/4 4", "3/4 4"]
    assert done.stderr == ""


def test_library_is_the_launchers(mpiexec):
    done = mpiexec(1, python("from mpi4py import MPI; print(MPI.Get_library_version())"))
    expected = {"openmpi": "Open MPI", "mpich": "MPICH"}[mpi_launch.mpi_vendor()]
    assert done.stdout.startswith(expected)


def test_pypis_mpich_is_told_what_carries_messages_where_srun_starts_it(monkeypatch):
    """By its plugin pmi2; an mpiexec within the job inherits SLURM's word, but not the name of the step."""
    for name in ("SLURM_MPI_TYPE", "PMI_JOBID", "MPIR_CVAR_CH4_NETMOD"):
        monkeypatch.delenv(name, raising=False)
    by_srun = {"SLURM_MPI_TYPE": "pmi2", "PMI_JOBID": "17.0"}
    starts = [by_srun, {"SLURM_MPI_TYPE": "pmi2"}, {"SLURM_MPI_TYPE": "pmix", "PMI_JOBID": "17.0"}]
    starts += [{**by_srun, "MPIR_CVAR_CH4_NETMOD": "ucx"}]
    program = f"""
from parnwb.comm import launch
for start in {starts}:
    launch._keep_addresses_short(start)
    print(start.get("MPIR_CVAR_CH4_NETMOD"))
import mpi4py.MPI as MPI
if not MPI.Is_initialized():
    MPI.Init()
launch._keep_addresses_short(start := {by_srun})
print(start.get("MPIR_CVAR_CH4_NETMOD"))
"""
    said = subprocess.run(python(program), capture_output=True, text=True, timeout=60, check=True).stdout.split()
    assert said == ["ofi" if mpi_launch.mpi_vendor() == "mpich" else "None", "None", "None", "ucx", "None"]


def test_hang_is_killed_with_all_its_ranks(mpiexec):
    start = time.monotonic()
    with pytest.raises(AssertionError, match="still running after 6 s") as caught:
        mpiexec(3, python(HANG), timeout=6)
    assert time.monotonic() - start < 20
    said = [line.split() for line in str(caught.value).splitlines() if line.startswith("rank ")]
    assert len(said) == 3, caught.value
    assert mpi_launch.processes_of_launch(said[0][-1]) == []


def is_there_since(path: Path, start: float) -> bool:
    """Tell whether a file is younger; one that another program takes away meanwhile is not there."""
    try:
        return path.stat().st_ctime > start
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("end", ["comm.Abort(5)", "os.kill(os.getpid(), signal.SIGKILL)", "time.sleep(600)"])
def test_no_shared_memory_is_left(mpiexec, end):
    program = f"""
import os, signal, time
from mpi4py.MPI import COMM_WORLD as comm
comm.Barrier()
if comm.rank == 1:
    {end}
time.sleep(600)
"""
    start = time.time()
    with contextlib.suppress(AssertionError):
        assert mpiexec(2, python(program), timeout=5).returncode
    segments = [path for pattern in mpi_launch.SEGMENTS for path in mpi_launch.SHARED_MEMORY.glob(pattern)]
    mapped = mpi_launch.mapped_files()
    assert [path for path in segments if is_there_since(path, start) and str(path) not in mapped] == []


def test_failing_rank_fails_the_program(mpiexec):
    program = "import sys; from mpi4py.MPI import COMM_WORLD as c; sys.exit(3 if c.rank == 1 else 0)"
    assert mpiexec(3, python(program)).returncode != 0


def test_killed_rank_fails_the_program(mpiexec):
    program = """
import os, signal
from mpi4py.MPI import COMM_WORLD as comm
if comm.rank == 2:
    os.kill(os.getpid(), signal.SIGKILL)
comm.Barrier()
"""
    assert mpiexec(3, python(program), timeout=60).returncode != 0


def test_input_environment_and_folder_reach_the_ranks(mpiexec, tmp_path):
    program = """
import os
from mpi4py.MPI import COMM_WORLD as comm
print(comm.rank, os.getcwd(), os.environ["OF_THIS_TEST"], input() if comm.rank == 0 else "")
"""
    done = mpiexec(2, python(program), env={"OF_THIS_TEST": "set"}, cwd=tmp_path, input="a line\n")
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [f"0 {tmp_path} set a line", f"1 {tmp_path} set "]


def test_outer_launch_does_not_leak_into_an_inner_one(mpiexec, monkeypatch):
    for name in ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_NTASKS"):
        monkeypatch.setenv(name, "7")
    done = mpiexec(2, python("from mpi4py.MPI import COMM_WORLD as c; print(c.size)"))
    assert done.stdout.split() == ["2", "2"], done.stderr
    assert os.environ["PMI_SIZE"] == "7"
