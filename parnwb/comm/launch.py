"""How the job was started: one world of ranks, or something that only looks like it."""

from __future__ import annotations

import faulthandler
import os
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn

from parnwb.errors import LaunchError

if TYPE_CHECKING:
    from mpi4py import MPI


# The number of ranks that each launcher started, as it tells them; a batch step's SLURM_NTASKS is not among
# them, because a serial program in a batch script sees it too.
LAUNCHER_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_SIZE", "SLURM_STEP_NUM_TASKS", "MV2_COMM_WORLD_SIZE")
# What carries MPICH's messages; and how the wheel says in its version where it is from.
NETMOD, FROM_PYPI = "MPIR_CVAR_CH4_NETMOD", "pypi.org"
ABORT_SECONDS = 10.0
LAUNCHER_RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "SLURM_PROCID", "MV2_COMM_WORLD_RANK")


def world() -> MPI.Intracomm:
    """Return ``MPI.COMM_WORLD``, starting MPI if need be. Independent.

    Raises
    ------
    LaunchError
        There is no MPI library, or it is not the launcher's.
    """
    with warnings.catch_warnings():  # mpi4py suspects what is refused below and in check_launch, on every rank
        warnings.filterwarnings("ignore", "suspicious MPI execution environment")
        try:
            _check_library()
            _keep_addresses_short(os.environ)
            import mpi4py
            from mpi4py import MPI

            if mpi4py.rc.initialize and not MPI.Is_initialized():  # only looked at until now, see `library`
                MPI.Init_thread(MPI.THREAD_MULTIPLE)
        except (ImportError, RuntimeError) as error:
            words = "; ".join(str(error).splitlines())
            raise _everywhere(
                LaunchError(
                    f"mpi4py finds no MPI library: {words}",
                    where=f"host {socket.gethostname()}",
                    remedy="Load your site's MPI module, or: pip install 'parnwb[mpich]'",
                )
            ) from error
    return MPI.COMM_WORLD


def alone() -> MPI.Intracomm:
    """Return the communicator of this process by itself, for libraries that insist on one. Independent."""
    from mpi4py import MPI

    return MPI.COMM_SELF


def information(hints: Mapping[str, str]) -> MPI.Info:
    """Return hints as MPI has them. Independent."""
    from mpi4py import MPI

    made = MPI.Info.Create()
    for name, value in hints.items():
        made.Set(name, value)
    return made


def library() -> str:
    """Return name and version of the MPI library, such as ``Open MPI 4.1.4``. Independent; does not start MPI.

    Raises
    ------
    ImportError, RuntimeError
        mpi4py finds no library.
    """
    import mpi4py

    start = mpi4py.rc.initialize
    if "mpi4py.MPI" not in sys.modules:
        mpi4py.rc.initialize, mpi4py.rc.finalize = False, start
    try:
        from mpi4py import MPI
    finally:
        mpi4py.rc.initialize = start
    name, version = MPI.get_vendor()
    return f"{name} {'.'.join(map(str, version))}"


def launched_size() -> int:
    """Return how many ranks the launcher of this process started, 1 if there was none. Independent."""
    return max(_launcher_numbers(LAUNCHER_SIZES), default=1)


def launched_rank() -> int:
    """Return which of the launcher's ranks this process is, 0 if there was none. Independent."""
    return max(_launcher_numbers(LAUNCHER_RANKS), default=0)


def _launcher_numbers(names: tuple[str, ...]) -> list[int]:
    """Return what launchers tell, without SLURM's where another does: that is of its daemons, or of a shell.

    Open MPI's mpirun has daemons that are tasks of an srun, one for each node of the job; a shell in an allocation may
    be one (``srun --pty``). What either has been told of itself the ranks inherit that it starts. Where srun has
    started the ranks themselves and its ``--mpi=`` tells them a number, that is the same.
    """
    told = {name: int(text) for name in names if (text := os.environ.get(name, "")).isdigit()}
    others = [number for name, number in told.items() if not name.startswith("SLURM_")]
    return others or list(told.values())


def _check_library() -> None:
    """Refuse MPICH under Open MPI's launcher before it starts: it would end the process in words of its own."""
    if "mpi4py.MPI" in sys.modules or not os.environ.get("OMPI_COMM_WORLD_SIZE"):
        return
    if not (found := library()).startswith("Open MPI"):
        raise _everywhere(
            LaunchError(
                f"the launcher is Open MPI's, but mpi4py loads another library: {found}",
                where=f"host {socket.gethostname()}",
                remedy=f"Use the mpiexec that belongs to it, such as {Path(sys.executable).parent / 'mpiexec'}",
            )
        )


def _keep_addresses_short(environ: MutableMapping[str, str]) -> None:
    """Let PyPI's MPICH, started by ``srun --mpi=pmi2``, tell SLURM addresses that it can read.

    Those of UCX, as it tells them, are what lies in memory there for 4096 bytes, in lines that may be longer than the
    1024 bytes in which SLURM takes a line. Those of libfabric are some 20 bytes.
    """
    by_slurm = environ.get("SLURM_MPI_TYPE") == "pmi2" and "PMI_JOBID" in environ  # not by an mpiexec within the job
    if not by_slurm or NETMOD in environ:
        return
    library()
    from mpi4py import MPI

    if not MPI.Is_initialized() and FROM_PYPI in MPI.Get_library_version():
        environ[NETMOD] = "ofi"


def check_launch(comm: MPI.Intracomm | None) -> None:
    """Refuse N worlds of one rank, as a mismatched mpiexec and libmpi start them, and what is no communicator of ranks.

    Independent.
    """
    _check_communicator(comm)
    expected = launched_size()
    if comm is None and expected > 1:
        raise _everywhere(
            LaunchError(
                f"{expected} ranks were started but no communicator was given: each would write the whole file",
                where=f"host {socket.gethostname()}",
                remedy="Pass comm=MPI.COMM_WORLD",
            )
        )
    if comm is None:
        return
    actual = world().Get_size()
    if expected > 1 and actual == 1:
        raise _everywhere(
            LaunchError(
                f"the launcher started {expected} ranks, but MPI sees {actual}: every rank is a world of its own",
                where=f"host {socket.gethostname()}",
                remedy="Use the mpiexec that belongs to the MPI library which mpi4py loads, or another srun --mpi= "
                "(parnwb doctor says which); for one process in an interactive srun with several tasks: "
                "unset SLURM_STEP_NUM_TASKS, or srun --pty -n 1",
            )
        )


def _check_communicator(comm: object) -> None:
    """Refuse what is no intracommunicator; what this rank was given others may not have been given."""
    if comm is None:
        return
    world()
    from mpi4py import MPI

    if isinstance(comm, MPI.Intracomm) and comm != MPI.COMM_NULL:
        return
    is_null = isinstance(comm, MPI.Comm) and comm == MPI.COMM_NULL
    got = f"one of type {type(comm).__name__}" if isinstance(comm, MPI.Comm) else repr(comm)
    raise LaunchError(
        f"comm must be an intracommunicator of mpi4py, such as MPI.COMM_WORLD, or None, "
        f"got {'MPI.COMM_NULL' if is_null else got}",
        remedy="A rank that takes no part must not call it" if is_null else None,
    )


def _everywhere(error: LaunchError) -> LaunchError:
    """Mark an error that every process meets which the launcher started, and prints once."""
    tell_once(launched_rank())
    error.parnwb_rank = 0  # type: ignore[attr-defined]
    return error


def tell_once(rank: int) -> None:
    """Let only the rank where an agreed error arose print it, should nobody catch it. Independent."""
    if getattr(sys.excepthook, "parnwb_rank", None) is not None:
        return
    previous = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, LaunchError) and _others_may_wait():
            time.sleep(3 if rank else 0)  # if all ranks are here, the root speaks and ends them
            previous(kind, error, trace)
            sys.stderr.flush()
            end_all(world())
        if getattr(error, "parnwb_rank", rank) == rank:
            previous(kind, error, trace)

    hook.parnwb_rank = rank  # type: ignore[attr-defined]
    sys.excepthook = hook


def _others_may_wait() -> bool:
    if "mpi4py.MPI" not in sys.modules:
        return False
    from mpi4py import MPI

    return MPI.Is_initialized() and not MPI.Is_finalized() and MPI.COMM_WORLD.Get_size() > 1


def may_call_mpi() -> bool:
    """Tell whether this thread may call MPI while others do. Independent."""
    from mpi4py import MPI

    return threading.current_thread() is threading.main_thread() or MPI.Query_thread() == MPI.THREAD_MULTIPLE


def end_all(comm: MPI.Intracomm) -> NoReturn:
    """End all ranks, from any thread. Independent."""
    time.sleep(0.2)  # MPICH's launcher drops what it has not yet read of this rank's last words
    if not may_call_mpi():
        os._exit(1)  # the launcher ends the others
    # Abort may wait for ever, for a lock of MPI's or a launcher that hangs, and hold the interpreter meanwhile.
    with open(os.devnull, "w") as nothing:
        faulthandler.dump_traceback_later(ABORT_SECONDS, exit=True, file=nothing)
        end: Callable[[int], object] = comm.Abort
        end(1)
        time.sleep(ABORT_SECONDS)  # MPICH's call returns while its launcher is still at it
        os._exit(1)
