"""How every test starts an MPI program: under a clock that ends all of its processes.

A hang is the normal failure of MPI code, and only a clock outside the program catches it. What is started
here is gone when `run_mpi` returns, however it returns.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import lru_cache
from pathlib import Path
from typing import IO

# Set to a fresh value for each launch, and found again in /proc/PID/environ of all that it started: launchers
# put their ranks into sessions and process groups of their own, so that killing one group is not enough.
MARK = "PARNWB_TEST_LAUNCH"

# Variables that ranks do not inherit: traces of a launch that this process is itself part of, which a second
# mpiexec would take for its own; and unbuffered output, which tears the lines of different ranks to pieces.
LEFT_OUT = ("OMPI_COMM_", "OMPI_MCA_ess", "OMPI_MCA_orte", "PMI_", "PMIX_", "PRTE_", "SLURM_")
LEFT_OUT += ("PYTHONUNBUFFERED",)

# Shared memory, which ranks leave behind when they are killed or abort: some MB each time, and containers
# have 64 MB of it.
SHARED_MEMORY = Path("/dev/shm")
SEGMENTS = ("mpich_shm_*", "vader_segment.*", "sm_segment.*")

ENVIRONMENT = {
    "openmpi": {
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
        # More ranks than cores: waiting ranks give way instead of spinning.
        "OMPI_MCA_mpi_yield_when_idle": "1",
        # Containers forbid one process to read another's memory; without this, warnings on standard error.
        "OMPI_MCA_btl_vader_single_copy_mechanism": "none",
    },
    "mpich": {},
}
# Unbound: ranks of programs that run side by side would all be bound to the same first cores.
FLAGS = {"openmpi": ["--oversubscribe", "--bind-to", "none"], "mpich": []}


@lru_cache
def mpiexec_path() -> str:
    """Return the mpiexec of this interpreter: the one beside it, else the first one on PATH."""
    beside = Path(sys.executable).parent / "mpiexec"
    path = str(beside) if os.access(beside, os.X_OK) else shutil.which("mpiexec")
    if path is None:
        raise FileNotFoundError(f"no mpiexec beside {sys.executable} nor on PATH: install parnwb[mpich]")
    return path


@lru_cache
def mpi_vendor() -> str:
    """Return 'openmpi' or 'mpich', from what `mpiexec --version` says."""
    command = [mpiexec_path(), "--version"]
    environment = {**os.environ, **ENVIRONMENT["openmpi"]}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    said = done.stdout + done.stderr
    if "Open MPI" in said or "OpenRTE" in said:
        return "openmpi"
    if "HYDRA" in said or "MPICH" in said:
        return "mpich"
    raise RuntimeError(f"{' '.join(command)}: neither Open MPI nor MPICH: {said[:500]}")


def run_mpi(
    n: int,
    argv: Sequence[str | os.PathLike[str]],
    *,
    timeout: float = 120,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    input: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a program on `n` MPI ranks and return what it wrote and its exit status.

    Parameters
    ----------
    n
        Number of ranks; may exceed the number of cores.
    argv
        The program and its arguments, most often beginning with `sys.executable`.
    timeout
        Seconds after which all of it is killed.
    env
        Variables to set in addition to those of this process.
    cwd
        Working folder of every rank.
    input
        Text for the standard input of rank 0; without it, standard input is empty.

    Returns
    -------
    subprocess.CompletedProcess
        With `returncode` not zero if a rank failed, and `stdout` and `stderr` of all ranks as text.

    Raises
    ------
    AssertionError
        When the time is over. Its message holds what the ranks wrote until then.
    """
    command = [mpiexec_path(), *FLAGS[mpi_vendor()], "-n", str(n), *map(os.fspath, argv)]
    return run_launcher(command, timeout=timeout, env=env, cwd=cwd, input=input)


def run_launcher(
    command: Sequence[str],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
    cwd: str | os.PathLike[str] | None = None,
    input: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command that starts MPI ranks, wherever, under the same clock as ``run_mpi``, which see."""
    mark = uuid.uuid4().hex
    start = time.time()
    # Files, not pipes: a rank that outlives its launcher holds a pipe open, and reading it would never end.
    with ExitStack() as files:
        stdin, stdout, stderr = (files.enter_context(tempfile.TemporaryFile()) for _ in range(3))
        stdin.write((input or "").encode())
        stdin.seek(0)
        process = subprocess.Popen(
            command,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env={**_inherited(), **launcher_environment(), **(env or {}), MARK: mark},
            cwd=cwd,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        try:
            returncode = process.wait(timeout)
        except subprocess.TimeoutExpired:
            _kill(process, mark)
            raise AssertionError(
                f"still running after {timeout} s, killed: {' '.join(command)}\n"
                f"--- standard output so far\n{_text(stdout)}\n--- standard error so far\n{_text(stderr)}"
            ) from None
        finally:
            _kill(process, mark)
            if process.returncode:
                _unlink_segments(start)
        return subprocess.CompletedProcess(command, returncode, _text(stdout), _text(stderr))


def processes_of_launch(mark: str) -> list[int]:
    """Return the ids of the running processes whose environment carries `mark`."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue  # ended meanwhile, or another user's
    return found


def launcher_environment() -> dict[str, str]:
    """Return the variables that this interpreter's MPI needs on machines such as those that run tests."""
    return ENVIRONMENT[mpi_vendor()]


def _inherited() -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(LEFT_OUT)}
    return {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", **inherited}


def die_with_parent() -> None:
    """Have the launcher killed when the tests are: runs in the child, before it becomes mpiexec."""
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _kill(process: subprocess.Popen[bytes], mark: str) -> None:
    """Kill the launcher, its process group and every stray rank; return when none is left."""
    # Until it has been waited for, its id, and so its group's, cannot have been given to another process.
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    deadline = time.monotonic() + 10
    while (strays := processes_of_launch(mark)) and time.monotonic() < deadline:
        for stray in strays:
            try:
                os.kill(stray, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.05)


def _unlink_segments(start: float) -> None:
    """Remove shared memory made since `start` that no process has mapped; other programs may be running."""
    segments = [path for pattern in SEGMENTS for path in SHARED_MEMORY.glob(pattern)]
    mapped = mapped_files() if segments else ""
    for path in segments:
        try:
            status = path.stat()
            if status.st_uid == os.getuid() and status.st_ctime >= start - 1 and str(path) not in mapped:
                path.unlink()
        except FileNotFoundError:
            continue  # its program, or another test, was quicker


def mapped_files() -> str:
    """Return the memory maps of all processes that may be looked at."""
    maps = []
    for file in Path("/proc").glob("[0-9]*/maps"):
        try:
            maps.append(file.read_text(errors="replace"))
        except OSError:
            continue
    return "".join(maps)


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
