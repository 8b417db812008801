"""Agreement of ranks: one launch of four for all cases, and the check that they are one world."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mpi_launch import LEFT_OUT, mpi_vendor, run_mpi

from parnwb import comm
from parnwb.comm import Ranks, check_launch, describe, launched_rank, launched_size, portable, unpacked
from parnwb.errors import LaunchError, ParnwbError, RemoteError, SourceError

# These start MPI programs and must not run within one.
pytestmark = pytest.mark.mpi_skip
PROGRAM = Path(__file__).with_name("comm_program.py")
CASES = [
    node.name
    for node in ast.parse(PROGRAM.read_text()).body
    if isinstance(node, ast.FunctionDef) and node.name.startswith("case_")
]


@pytest.fixture(scope="module")
def results() -> dict[str, list[str]]:
    """Return the failures of each case, by its name."""
    done = run_mpi(4, [sys.executable, str(PROGRAM)], timeout=90)
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = (line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    found: dict[str, list[str]] = json.loads(line.removeprefix("RESULT "))
    return found


@pytest.mark.parametrize("case", CASES)
def test_on_four_ranks(results, case):
    assert results[case] == [], "\n".join(results[case])


# -- how a program ends --------------------------------------------------------------------------------------

UNCAUGHT = """
import sys
from mpi4py import MPI
from parnwb.comm import Ranks
ranks = Ranks(MPI.COMM_WORLD)
with ranks.agreed("writing"):
    if ranks.rank == 1:
        raise ValueError("only here")
"""

ABORT = """
from mpi4py import MPI
from parnwb.comm import Ranks
ranks = Ranks(MPI.COMM_WORLD)
if ranks.rank == 1:
    ranks.abort(ValueError("cannot go on"))
ranks.comm.Barrier()
"""

EXIT = """
import sys
from mpi4py import MPI
from parnwb.comm import Ranks
ranks = Ranks(MPI.COMM_WORLD)
with ranks.agreed("writing"):
    if ranks.rank == 1:
        sys.exit(0)
"""

ENDS_EARLY = """
import sys
from mpi4py import MPI
from parnwb.comm import Ranks
ranks = Ranks(MPI.COMM_WORLD)
ranks.must_be_freed()
if ranks.rank == 1:
    sys.exit(0)
ranks.meet("writing")
"""

FREED = """
from mpi4py import MPI
from parnwb.comm import Ranks
ranks = Ranks(MPI.COMM_WORLD)
ranks.must_be_freed()
ranks.free()
"""


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def test_uncaught_error_is_printed_once_and_ends_all():
    done = run_mpi(3, python(UNCAUGHT), timeout=60)
    assert done.returncode != 0
    assert done.stderr.count("ValueError: only here") == 1, done.stderr


def test_abort_ends_ranks_that_wait_in_mpi_itself():
    done = run_mpi(3, python(ABORT), timeout=60)
    assert done.returncode != 0
    assert "parnwb: ValueError: cannot go on (rank 1 on " in done.stderr


def test_exit_of_one_rank_is_no_success():
    done = run_mpi(3, python(EXIT), timeout=60)
    assert done.returncode != 0
    assert "RemoteError" in done.stderr and "SystemExit" in done.stderr


def test_rank_that_ends_while_others_count_on_it_ends_all():
    done = run_mpi(3, python(ENDS_EARLY), timeout=60)
    assert done.returncode != 0
    assert "a rank ended while a file was open" in done.stderr


def test_ranks_that_were_freed_end_in_peace():
    done = run_mpi(3, python(FREED), timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


# -- one world -----------------------------------------------------------------------------------------------

START = """
import sys
from parnwb.comm import Ranks, world
from parnwb.errors import LaunchError
try:
    Ranks(world() if sys.argv[1] == "world" else None)
except LaunchError as error:
    sys.exit(f"LaunchError: {error}")
print("started")
"""


def start(how: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Start one process without a launcher, with the variables that one would have set."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(LEFT_OUT)}
    command = [sys.executable, "-W", "ignore", "-c", START, how]
    return subprocess.run(command, env={**clean, **variables}, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("variable", ["PMI_SIZE", "PMIX_SIZE", "SLURM_STEP_NUM_TASKS"])
def test_many_worlds_of_one_rank_are_refused(variable):
    done = start("world", **{variable: "4"})
    assert done.returncode != 0
    assert "the launcher started 4 ranks, but MPI sees 1: every rank is a world of its own" in done.stderr
    assert "Use the mpiexec that belongs to the MPI library" in done.stderr
    assert "in an interactive srun with several tasks: unset SLURM_STEP_NUM_TASKS" in done.stderr


def test_open_mpis_launcher_with_a_world_of_one_rank_is_refused():
    """MPICH under Open MPI's mpiexec is noticed before it starts; Open MPI sees one rank."""
    done = start("world", OMPI_COMM_WORLD_SIZE="4")
    assert done.returncode != 0 and "LaunchError" in done.stderr
    words = {"mpich": "the launcher is Open MPI's, but mpi4py loads another library: MPICH"}
    assert words.get(mpi_vendor(), "the launcher started 4 ranks, but MPI sees 1") in done.stderr


@pytest.mark.parametrize("variable", ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"])
def test_many_ranks_without_a_communicator_are_refused(variable):
    done = start("alone", **{variable: "4"})
    assert done.returncode != 0
    assert "4 ranks were started but no communicator was given" in done.stderr
    assert "Pass comm=MPI.COMM_WORLD" in done.stderr


@pytest.mark.parametrize("how", ["world", "alone"])
def test_serial_program_in_a_batch_script_starts(how):
    """Sbatch tells the number of tasks of the job to a script that runs once."""
    done = start(how, SLURM_NTASKS="8", SLURM_NPROCS="8", SLURM_JOB_ID="77", SLURM_TASKS_PER_NODE="8")
    assert (done.returncode, done.stdout) == (0, "started\n"), done.stderr


@pytest.mark.parametrize("how", ["world", "alone"])
@pytest.mark.parametrize(
    "variables", [{}, {"SLURM_STEP_NUM_TASKS": "1"}, {"PMIX_SIZE": ""}, {"PMIX_SIZE": "many"}]
)
def test_one_process_starts(how, variables):
    assert start(how, **variables).stdout == "started\n"


def test_launched_size_is_the_largest_that_is_told(monkeypatch):
    for name in comm.LAUNCHER_SIZES:
        monkeypatch.delenv(name, raising=False)
    assert launched_size() == 1
    monkeypatch.setenv("PMI_SIZE", "1")
    monkeypatch.setenv("PMIX_SIZE", "6")
    assert launched_size() == 6
    with pytest.raises(LaunchError, match="6 ranks were started"):
        check_launch(None)


def test_ranks_of_open_mpis_daemons_are_not_counted_as_slurm_counts_these(monkeypatch):
    """From ``salloc -N4``, ``mpirun -n 1`` has four daemons; its only rank may inherit what the third is told."""
    for name in (*comm.LAUNCHER_SIZES, *comm.LAUNCHER_RANKS):
        monkeypatch.delenv(name, raising=False)
    inherited = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "2"}
    for name, value in {"OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0", **inherited}.items():
        monkeypatch.setenv(name, value)
    assert (launched_size(), launched_rank()) == (1, 0)


def test_ranks_of_an_mpiexec_in_an_interactive_srun_are_not_counted_as_slurm_counts_shells(monkeypatch):
    """Of ``srun --pty -n 8 bash``: MPICH's mpiexec tells its ranks how many there are; SLURM has told the shell."""
    for name in (*comm.LAUNCHER_SIZES, *comm.LAUNCHER_RANKS):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "0", "PMI_SIZE": "2", "PMI_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert (launched_size(), launched_rank()) == (2, 1)
    for name in ("PMI_SIZE", "PMI_RANK"):
        monkeypatch.delenv(name)
    assert launched_size() == 8  # srun --mpi=none


@pytest.mark.parametrize(
    ("variables", "refused"), [({"PMI_SIZE": "1"}, False), ({"PMI_SIZE": "8"}, True), ({"PMI_SIZE": ""}, True)]
)
def test_one_rank_of_an_mpiexec_in_an_interactive_srun_starts(variables, refused):
    done = start("world", SLURM_STEP_NUM_TASKS="8", **variables)
    assert (done.stdout == "started\n") is not refused, done.stderr
    assert ("the launcher started 8 ranks, but MPI sees 1" in done.stderr) is refused


# -- one process alone ---------------------------------------------------------------------------------------


@pytest.fixture
def single(monkeypatch) -> Ranks:
    for name in comm.LAUNCHER_SIZES:
        monkeypatch.delenv(name, raising=False)
    return Ranks(None)


def test_alone_needs_no_mpi():
    program = (
        "import sys; from parnwb.comm import Ranks; Ranks(None).meet('x'); sys.exit('mpi4py' in sys.modules)"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith(LEFT_OUT)}
    assert subprocess.run(python(program), env=clean, timeout=60).returncode == 0


def test_alone_everything_is_itself(single):
    assert (single.rank, single.size, single.is_root, single.comm) == (0, 1, True, None)
    single.meet("x")
    single.same({"a": 1}, "remedy")
    single.look_up()
    single.fail(ValueError("x"))
    assert single.broadcast(5) == 5
    assert single.gather_all(5) == [5]
    assert single.on_root("x", lambda: 6) == 6
    assert (single.any_failed(False), single.any_failed(True)) == (False, True)
    assert single.receive(1) is None
    single.free()


def test_alone_errors_are_raised_as_they_are(single):
    error = ValueError("x")
    with pytest.raises(ValueError) as caught, single.agreed("x"):
        raise error
    assert caught.value is error


def test_alone_waiting_serves_meanwhile(single):
    done: list[int] = []

    def work() -> bool:
        done.append(1)
        return len(done) % 2 == 0

    single.wait_until(lambda: len(done) >= 5, work)
    assert len(done) == 5


def test_alone_abort_ends_the_program(single, capsys):
    with pytest.raises(SystemExit) as caught:
        single.abort(SourceError("broken", where="/x"))
    assert caught.value.code == 1
    assert "parnwb: broken [at /x] (rank 0 on " in capsys.readouterr().err


# -- errors on their way -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a", 1),
        OSError(2, "no"),
        ParnwbError("m", where="w"),
        KeyError("k"),
        np.exceptions.AxisError("axis 3"),
    ],
)
def test_errors_arrive_as_themselves(error):
    arrived = unpacked(*portable(error, 2))
    assert type(arrived) is type(error) and str(arrived) == str(error)


def test_error_that_changes_on_its_way_arrives_as_text():
    class Changing(Exception):
        def __reduce__(self) -> tuple[object, ...]:
            return ValueError, ("something else",)

    arrived = unpacked(*portable(Changing("x"), 2))
    assert type(arrived) is RemoteError and "Changing: x (rank 2 on " in str(arrived)


def test_description_is_one_line_with_kind_rank_and_host():
    assert describe(ValueError("x"), 3).startswith("ValueError: x (rank 3 on ")
    assert describe(SourceError("x", where="/y"), 3).startswith("x [at /y] (rank 3 on ")
