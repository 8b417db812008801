"""What ends a program: errors that nobody catches, ranks that die, full disks under parallel HDF5, wrong launchers."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import h5py
import mpi_launch
import pytest
from failure.mounts import SMALL_BYTES, mounted
from mpi_launch import run_mpi

pytestmark = pytest.mark.mpi_skip

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).parent / "endings.py"
SECONDS = 60
# What a program may take that fails at once; launchers need some seconds to end what is left.
SOON = 30

parallel = pytest.mark.skipif(not h5py.get_config().mpi, reason="this h5py was built without MPI")
WAYS = [("direct", "independent"), pytest.param("mpio", "collective", marks=parallel)]


@pytest.fixture
def small() -> Iterator[Path]:
    """Return a file system that soon is full."""
    with mounted(f"size={SMALL_BYTES}") as folder:
        if folder is None:
            pytest.skip("mounting a file system is refused here; it needs root")
        yield folder


def ended(ranks: int, way: str, output: Path, backend: str = "direct", transfer: str = "independent") -> str:
    """Run a program that must fail soon, leaving no file, and return what it said."""
    began = time.monotonic()
    argv = [sys.executable, PROGRAM, way, output, backend, transfer]
    done = run_mpi(ranks, argv, timeout=SECONDS, env={"PYTHONPATH": python_path()})
    assert time.monotonic() - began < SOON
    check(done, output)
    return done.stderr


def check(done: CompletedProcess[str], output: Path) -> None:
    assert done.returncode != 0, done.stderr
    assert not output.exists(), done.stderr
    assert "egmentation fault" not in done.stderr and done.returncode != 139, done.stderr


def python_path() -> str:
    return os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))


def told(said: str) -> list[str]:
    """Return the lines that tell of an error: the last of a traceback, or parnwb's own."""
    return [line for line in said.splitlines() if line.startswith(("parnwb.errors.", "parnwb: "))]


@pytest.mark.parametrize(("backend", "transfer"), WAYS)
def test_uncaught_error_is_printed_once(tmp_path: Path, backend: str, transfer: str) -> None:
    lines = told(ended(3, "raises", tmp_path / "out.nwb", backend, transfer))
    assert len(lines) == 1 and "/acquisition/probe/data[" in lines[0] and "midway" in lines[0], lines
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("way", "backend", "transfer"),
    [
        ("killed", "direct", "independent"),
        ("exits", "direct", "independent"),
        pytest.param("killed", "mpio", "collective", marks=parallel),
    ],
)
def test_rank_that_dies_takes_the_job_down(tmp_path: Path, way: str, backend: str, transfer: str) -> None:
    ended(3, way, tmp_path / "out.nwb", backend, transfer)


@pytest.mark.parametrize("way", ["leaves", "leaves_with_error"])
def test_rank_that_leaves_without_closing_takes_the_job_down(tmp_path: Path, way: str) -> None:
    said = ended(3, way, tmp_path / "out.nwb")
    lines = told(said)
    assert len(lines) == 1 and "a rank ended while a file was open" in lines[0] and "with block" in lines[0], lines
    assert said.count("ValueError: between") == (way == "leaves_with_error")


@pytest.mark.parametrize("way", ["no_communicator", "no_communicator_on_one"])
def test_no_communicator_is_told_once(tmp_path: Path, way: str) -> None:
    lines = told(ended(3, way, tmp_path / "out.nwb"))
    assert len(lines) == 1 and "no communicator" in lines[0] and "comm=MPI.COMM_WORLD" in lines[0], lines


@parallel
@pytest.mark.parametrize(
    ("ranks", "way", "transfer"),
    [(2, "full", "independent"), (4, "full", "collective")]
    + [(2, "full_gzip", "independent"), (4, "full_gzip", "independent")],
)
def test_full_disk_under_parallel_hdf5(small: Path, ranks: int, way: str, transfer: str) -> None:
    lines = told(ended(ranks, way, small / "out.nwb", "mpio", transfer))
    assert len(lines) == 1 and "Check the free space" in lines[0], lines


@parallel
@pytest.mark.parametrize(
    ("ranks", "way", "transfer"),
    [(1, "limited", "independent"), (2, "limited", "independent"), (3, "limited_gzip", "independent")],
)
def test_file_size_limit_under_parallel_hdf5(tmp_path: Path, ranks: int, way: str, transfer: str) -> None:
    lines = told(ended(ranks, way, tmp_path / "out.nwb", "mpio", transfer))
    assert len(lines) == 1 and "ulimit -f" in lines[0], lines


# -- the launcher of another MPI -----------------------------------------------------------------------------


def foreign_mpiexec() -> tuple[str, str] | None:
    """Return the vendor and path of an mpiexec that is not of this interpreter's MPI."""
    if mpi_launch.mpi_vendor() == "mpich":
        path = shutil.which("mpiexec.openmpi")
        return ("openmpi", path) if path else None
    wheels = [ROOT / ".venv" / "bin" / "mpiexec.hydra", shutil.which("mpiexec.hydra"), shutil.which("mpiexec.mpich")]
    path = next((str(path) for path in wheels if path and os.access(path, os.X_OK)), None)
    return ("mpich", path) if path else None


@pytest.fixture
def foreign(monkeypatch: pytest.MonkeyPatch) -> None:
    found = foreign_mpiexec()
    if found is None:
        pytest.skip("no mpiexec of another MPI is installed here")
    monkeypatch.setattr(mpi_launch, "mpi_vendor", lambda: found[0])
    monkeypatch.setattr(mpi_launch, "mpiexec_path", lambda: found[1])


def test_foreign_launcher_is_refused(foreign: None, tmp_path: Path) -> None:
    """Every rank would be a world of its own; MPICH under Open MPI's launcher ends the ranks by itself."""
    said = ended(2, "raises", tmp_path / "out.nwb")
    lines = told(said)
    assert "PMI" in said if not lines else len(lines) == 1 and "mpiexec that belongs to" in lines[0], said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", ["convert", "verify"])
def test_foreign_launcher_is_refused_by_commands(foreign: None, tmp_path: Path, command: str) -> None:
    output = tmp_path / "out.nwb"
    argv = [*([tmp_path] if command == "convert" else []), output]
    program = [sys.executable, "-m", "parnwb", command, *argv]
    done = run_mpi(2, program, timeout=SECONDS, env={"PYTHONPATH": python_path()})
    check(done, output)
    lines = told(done.stderr)
    assert len(lines) == 1 and "mpiexec that belongs to" in lines[0], done.stderr
    assert "Traceback" not in done.stderr and "suspicious" not in done.stderr, done.stderr
