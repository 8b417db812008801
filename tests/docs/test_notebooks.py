"""docs/howto/notebooks.md: a notebook with one rank, a pool of workers, and engines of ipyparallel write files."""

from __future__ import annotations

import os
import sys
from datetime import datetime, timezone
from pathlib import Path

import h5py
import numpy as np
import pytest
from docs.blocks import ROOT, the_block
from mpi_launch import launcher_environment, mpi_vendor, run_launcher, run_mpi

nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
pytestmark = [pytest.mark.mpi_skip, pytest.mark.filterwarnings("ignore")]

EXAMPLES = ROOT / "docs" / "examples"
SESSION = """
from datetime import datetime, timezone
import numpy as np
from mpi4py import MPI
from pynwb import NWBFile, TimeSeries
from parnwb import NWBParallelIO, make_report

nwbfile = NWBFile("In a notebook", "notebook", datetime(2024, 3, 5, 10, 15, 30, tzinfo=timezone.utc))
values = np.random.default_rng(0).integers(-99, 99, (50_000, 32), dtype="i2")
nwbfile.add_acquisition(TimeSeries(name="noise", data=values, unit="V", rate=1000.0))
print(MPI.COMM_WORLD.Get_size())
"""
FAIL = """
with NWBParallelIO("out.nwb", "w", comm=MPI.COMM_WORLD) as io:
    io.write(nwbfile)
"""
# The pool of docs/examples out of the ranks of a program; the second time the file is there.
EXECUTOR = """
from mpi4py import MPI
from mpi4py.futures import MPICommExecutor
from pool_of_workers import write

with MPICommExecutor(MPI.COMM_WORLD, root=0) as pool:
    if pool is not None:
        print(sorted(task.result()[0] for task in [pool.submit(write, "out.nwb") for _ in range(2)]))
        failed = [pool.submit(write, "out.nwb").exception for _ in range(2)]
        print([type(error()).__name__ for error in failed])
"""


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Set what programs find first: this interpreter's mpiexec, and this checkout."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    given = {**launcher_environment(), "PATH": path, "PYTHONPATH": str(ROOT)}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    return given


def test_a_notebook_writes_with_one_rank_and_shows_plan_and_report(
    environment: dict[str, str], tmp_path: Path
) -> None:
    *write, report_line = the_block("docs/howto/notebooks.md", "make_report").splitlines()  # cells show their last line
    cells = [nbformat.v4.new_code_cell(code) for code in (SESSION, "\n".join(write), report_line, FAIL)]
    cells[-1].metadata["tags"] = ["raises-exception"]
    book = nbformat.v4.new_notebook(cells=cells)
    where = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(book, kernel_name="python3", timeout=60, resources=where).execute()
    first, written, report, failed = book.cells
    assert first.outputs[0].text == "1\n"
    *shown, plan = written.outputs
    assert "writing out.nwb (direct): 100 % of 3 MB" in "".join(output.text for output in shown)
    assert all(word in plan.data["text/html"] for word in ("/acquisition/noise/data", 'class="box'))
    assert "out.nwb" in report.outputs[0].data["text/html"] and "<svg" in report.outputs[0].data["text/html"]
    (error,) = (output for output in failed.outputs if output.output_type == "error")
    assert (error.ename, "exists and is not replaced" in error.evalue) == ("TargetError", True), "the kernel lives on"
    with h5py.File(tmp_path / "out.nwb") as file:
        expected = np.random.default_rng(0).integers(-99, 99, (50_000, 32), dtype="i2")
        assert np.array_equal(file["/acquisition/noise/data"][()], expected)


CHILD = """
import subprocess, sys
code = sys.argv[1] + "; from mpi4py import MPI; print(MPI.COMM_WORLD.Get_size())"
print(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30).stdout.strip())
"""


def test_a_kernel_that_is_a_child_of_a_rank_must_forget_the_launcher(tmp_path: Path) -> None:
    """As a notebook's is where Jupyter was started by mpiexec."""
    cell = the_block("docs/howto/notebooks.md", "PMI_")
    (tmp_path / "rank.py").write_text(CHILD)
    for code, expected in (("pass", "" if mpi_vendor() == "mpich" else "1"), (f"exec({cell!r})", "1")):
        done = run_mpi(1, [sys.executable, "rank.py", code], timeout=60, cwd=tmp_path)
        assert done.stdout.strip() == expected, done.stderr


def test_a_pool_of_workers_writes_one_file(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "mpi4py.futures", EXAMPLES / "pool_of_workers.py", "out.nwb"]
    done = run_mpi(4, program, timeout=60, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"worker {rank} of 3 took part in writing {3 * 20_000 * 32 * 2} bytes" for rank in range(3)
    ]
    _is_what_was_computed(tmp_path / "out.nwb", 3)


def test_ranks_of_a_program_can_be_the_workers(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(EXECUTOR)
    path = os.pathsep.join([str(ROOT), str(EXAMPLES)])
    done = run_mpi(3, [sys.executable, "program.py"], timeout=60, cwd=tmp_path, env={"PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[0, 1]", "['TargetError', 'TargetError']"]
    _is_what_was_computed(tmp_path / "out.nwb", 2)


def test_engines_write_one_file(environment: dict[str, str], tmp_path: Path) -> None:
    pytest.importorskip("ipyparallel")
    profiles = {"IPYTHONDIR": str(tmp_path / "ipython")}
    command = [sys.executable, str(EXAMPLES / "engines.py"), "out.nwb"]
    done = run_launcher(command, timeout=90, cwd=tmp_path, env={**environment, **profiles})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        f"engine {rank} of 2 took part in writing {2 * 20_000 * 32 * 2} bytes" for rank in range(2)
    ]
    _is_what_was_computed(tmp_path / "out.nwb", 2)


def _is_what_was_computed(path: Path, ranks: int) -> None:
    from pynwb import NWBHDF5IO

    parts = [np.random.default_rng(rank).integers(-500, 500, (20_000, 32), dtype="i2") for rank in range(ranks)]
    with NWBHDF5IO(path, "r") as io:
        nwbfile = io.read()
        assert nwbfile.session_start_time == datetime(2024, 3, 5, 10, 15, 30, tzinfo=timezone.utc)
        assert np.array_equal(nwbfile.acquisition["simulated"].data[()], np.concatenate(parts))
