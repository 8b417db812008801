"""Ranks: a communicator on which errors are agreed on and nobody waits for ever without looking up.

The only module that imports mpi4py. What parnwb needs of MPI is here, in a few verbs: meet, agree, root first,
broadcast, gather, and small messages of integers that are waited for with open eyes.
"""

from __future__ import annotations

import atexit
import itertools
import os
import pickle
import socket
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NoReturn, TypeVar

import numpy as np
import numpy.typing as npt

from parnwb.errors import AgreementError, LaunchError, ParnwbError, RemoteError

if TYPE_CHECKING:
    from mpi4py import MPI

Value = TypeVar("Value")
Integers = npt.NDArray[np.int64]

ALARM_TAG = 11
# The number of ranks that each launcher started, as it tells them; a batch step's SLURM_NTASKS is not among
# them, because a serial program in a batch script sees it too.
LAUNCHER_SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_SIZE", "SLURM_STEP_NUM_TASKS", "MV2_COMM_WORLD_SIZE")
_NUMBERS = itertools.count()
LAUNCHER_RANKS = ("OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK", "MV2_COMM_WORLD_RANK")


_UNFREED: set[Ranks] = set()


class Alarmed(BaseException):
    """Leaves a rank's work because another rank failed; never seen outside ``Ranks.agreed``."""


def world() -> MPI.Intracomm:
    """Return ``MPI.COMM_WORLD``, starting MPI if need be. Independent."""
    with warnings.catch_warnings():  # mpi4py suspects what is refused below and in check_launch, on every rank
        warnings.filterwarnings("ignore", "suspicious MPI execution environment")
        _check_library()
        from mpi4py import MPI
    return MPI.COMM_WORLD


def _check_library() -> None:
    """Refuse MPICH under Open MPI's launcher before it starts: it would end the process in words of its own."""
    if "mpi4py.MPI" in sys.modules or not os.environ.get("OMPI_COMM_WORLD_SIZE"):
        return
    import mpi4py

    start = mpi4py.rc.initialize
    mpi4py.rc.initialize, mpi4py.rc.finalize = False, start
    from mpi4py import MPI

    library = " ".join(MPI.Get_library_version().split("\n")[0].split())
    if "Open MPI" not in library:
        raise _everywhere(
            LaunchError(
                f"the launcher is Open MPI's, but mpi4py loads another library: {library}",
                where=f"host {socket.gethostname()}",
                remedy=f"Use the mpiexec that belongs to it, such as {Path(sys.executable).parent / 'mpiexec'}",
            )
        )
    if start:
        MPI.Init_thread(MPI.THREAD_MULTIPLE)


def alone() -> MPI.Intracomm:
    """Return the communicator of this process by itself, for libraries that insist on one. Independent."""
    from mpi4py import MPI

    return MPI.COMM_SELF


def launched_size() -> int:
    """Return how many ranks the launcher of this process started, 1 if there was none. Independent."""
    return max(_launcher_numbers(LAUNCHER_SIZES), default=1)


def launched_rank() -> int:
    """Return which of the launcher's ranks this process is, 0 if there was none. Independent."""
    return max(_launcher_numbers(LAUNCHER_RANKS), default=0)


def _launcher_numbers(names: tuple[str, ...]) -> list[int]:
    texts = (os.environ.get(name, "") for name in names)
    return [int(text) for text in texts if text.isdigit()]


class Ranks:
    """A private duplicate of a communicator, or one process alone.

    Parameters
    ----------
    comm
        Intracommunicator whose ranks take part; None is this process alone and needs no MPI.

    Raises
    ------
    LaunchError
        The launcher started more ranks than this world has: each would write the whole file by itself.
    """

    def __init__(self, comm: MPI.Intracomm | None = None) -> None:
        check_launch(comm)
        self._number = next(_NUMBERS)
        self._comm = comm.Dup() if comm is not None and comm.Get_size() > 1 else None
        self.rank = self._comm.Get_rank() if self._comm is not None else 0
        self.size = self._comm.Get_size() if self._comm is not None else 1
        # Messages to and from each rank; and sends that a failed block left unfinished, with their buffers.
        self._sent, self._received = [0] * self.size, [0] * self.size
        self._unfinished: list[tuple[MPI.Request, Integers]] = []
        if self.size > 1:
            tell_once(self.rank)

    @property
    def is_root(self) -> bool:
        """True on the rank that authors metadata and prints messages."""
        return self.rank == 0

    @property
    def comm(self) -> MPI.Intracomm | None:
        """The duplicate, for libraries that take a communicator; None for one process."""
        return self._comm

    def must_be_freed(self) -> None:
        """From here on, end the whole job if this process ends without ``free``: others would wait for ever."""
        if self._comm is not None:
            _UNFREED.add(self)

    def free(self) -> None:
        """Give the duplicate back. Collective."""
        _UNFREED.discard(self)
        if self._comm is not None:
            self._comm.Free()
            self._comm = None

    # -- agreement -----------------------------------------------------------------------------------------

    @contextmanager
    def agreed(self, doing: str) -> Iterator[None]:
        """Run a block on every rank; an exception on one becomes the same exception on all. Collective.

        A rank that fails rings at the others, who leave the block at their next ``look_up``.

        Parameters
        ----------
        doing
            Name of the block. Ranks that meet here under different names were not in the same call.
        """
        error: BaseException | None = None
        try:
            yield
        except Alarmed:
            pass  # the rank that rang brings its error to the meeting below
        except BaseException as caught:  # noqa: BLE001 - a rank that exits would leave the others waiting
            error = caught
        if self._comm is None:
            if error is not None:
                raise error
            return
        if error is not None:
            self._ring()
        self._conclude(doing, error)

    def _conclude(self, doing: str, error: BaseException | None) -> None:
        assert self._comm is not None
        self._await_all()
        verdicts = self._comm.allgather((doing, None if error is None else portable(error, self.rank)))
        failed = [rank for rank, (_, failure) in enumerate(verdicts) if failure is not None]
        calls = {name for name, _ in verdicts}
        if failed or len(calls) > 1:
            self._drain()
        if failed:
            if failed[0] == self.rank and error is not None and not isinstance(error, SystemExit):
                raise self.known_to_all(error, self.rank)
            raise self.known_to_all(unpacked(*verdicts[failed[0]][1]), failed[0])
        if len(calls) > 1:
            other = next(rank for rank, (name, _) in enumerate(verdicts) if name != verdicts[0][0])
            raise self.known_to_all(
                AgreementError(
                    f"all ranks must make the same collective calls: rank 0 is in '{verdicts[0][0]}', "
                    f"rank {other} in '{verdicts[other][0]}'",
                    remedy="Call parnwb's collective methods on every rank, in the same order",
                )
            )

    def meet(self, call: str) -> None:
        """Check that every rank is in the same collective call and none has failed. Collective."""
        with self.agreed(call):
            pass

    def fail(self, error: BaseException) -> None:
        """Tell the others, at their next meeting, that this rank leaves with ``error``. Collective."""
        if self._comm is not None:
            try:
                with self.agreed("leaving with an error"):
                    raise error
            except BaseException:  # noqa: BLE001 - the caller raises its own error, and every rank has one now
                return

    def known_to_all(self, error: BaseException, rank: int = 0) -> BaseException:
        """Mark an error that all of these ranks raise, so that only ``rank`` prints it. Independent."""
        error.parnwb_rank, error.parnwb_ranks = rank, self._number  # type: ignore[attr-defined]
        return error

    def all_know(self, error: BaseException) -> bool:
        """Tell whether all of these ranks raise this error. Independent."""
        return getattr(error, "parnwb_ranks", None) == self._number

    def same(self, values: Mapping[str, object], remedy: str) -> None:
        """Check that small values, which have a telling ``repr``, are the same on all ranks. Collective.

        Raises
        ------
        AgreementError
            Names the first rank and the first value that differ from the root's, and both values.
        """
        texts = self.gather_all({name: repr(value) for name, value in values.items()})
        for rank, other in enumerate(texts):
            for name in (name for name in {**texts[0], **other} if texts[0].get(name) != other.get(name)):
                raise self.known_to_all(
                    AgreementError(
                        f"{name} must be the same on all ranks: rank 0 has {texts[0].get(name, 'none')}, "
                        f"rank {rank} has {other.get(name, 'none')}",
                        remedy=remedy,
                    )
                )

    # -- values --------------------------------------------------------------------------------------------

    def broadcast(self, value: Value | None = None) -> Value:
        """Return the root's value everywhere. Collective."""
        if self._comm is None:
            return value  # type: ignore[return-value]
        return self._comm.bcast(value, root=0)

    def gather_all(self, value: Value) -> list[Value]:
        """Return the list of all ranks' values on every rank. Collective."""
        return [value] if self._comm is None else self._comm.allgather(value)

    def on_root(self, doing: str, function: Callable[[], Value]) -> Value:
        """Run ``function`` on the root alone and return its value everywhere. Collective."""
        value: Value | None = None
        with self.agreed(doing):
            if self.is_root:
                value = function()
        return self.broadcast(value)

    def any_failed(self, failed: bool) -> bool:
        """Tell whether any rank says that it failed. Collective; for lockstep loops."""
        if self._comm is None:
            return failed
        return bool(self._comm.allreduce(int(failed)))

    # -- messages ------------------------------------------------------------------------------------------

    def send(self, numbers: Integers, to: int, tag: int) -> None:
        """Send integers; looks up while the receiver is busy. Independent."""
        assert self._comm is not None
        request = self._comm.Isend(numbers, dest=to, tag=tag)
        self._sent[to] += 1
        try:
            self.wait_until(request.Test)
        except BaseException:
            self._unfinished.append((request, numbers))
            raise

    def receive(self, tag: int, source: int | None = None) -> tuple[int, Integers] | None:
        """Return ``(sender, integers)`` if a message is there, else None. Independent."""
        if self._comm is None:
            return None
        from mpi4py import MPI

        status = MPI.Status()
        if not self._comm.Iprobe(source=MPI.ANY_SOURCE if source is None else source, tag=tag, status=status):
            return None
        numbers = np.empty(status.Get_count(MPI.INT64_T), dtype=np.int64)
        self._comm.Recv(numbers, source=status.Get_source(), tag=tag)
        self._received[status.Get_source()] += 1
        return status.Get_source(), numbers

    def look_up(self) -> None:
        """Leave the enclosing ``agreed`` block if another rank has failed. Independent, cheap."""
        if self._comm is not None:
            from mpi4py import MPI

            if self._comm.Iprobe(source=MPI.ANY_SOURCE, tag=ALARM_TAG):
                raise Alarmed

    def wait_until(self, ready: Callable[[], bool], meanwhile: Callable[[], bool] | None = None) -> None:
        """Wait for ``ready()`` without burning the core, serving ``meanwhile`` and looking up. Independent.

        Parameters
        ----------
        ready
            Ends the wait when true.
        meanwhile
            Work for others; returns whether it did any.
        """
        pause = 20e-6
        while not ready():
            if meanwhile is not None and meanwhile():
                pause = 20e-6
                continue
            self.look_up()
            time.sleep(pause)
            pause = min(2 * pause, 1e-3)

    def _ring(self) -> None:
        assert self._comm is not None
        nothing = np.empty(0, dtype=np.int64)
        for other in range(self.size):
            if other != self.rank:
                self._unfinished.append((self._comm.Isend(nothing, dest=other, tag=ALARM_TAG), nothing))
                self._sent[other] += 1

    def _drain(self) -> None:
        """Receive everything that was sent and not received, alarms included. Collective.

        A block that ended early leaves messages behind. MPI gives a freed communicator's context to the next
        one, which would then receive them: the addresses of one file for the chunks of another.
        """
        assert self._comm is not None
        from mpi4py import MPI

        owed = self._comm.alltoall(self._sent)
        for source in range(self.size):
            while self._received[source] < owed[source]:
                status = MPI.Status()
                message = self._comm.Mprobe(source=source, tag=MPI.ANY_TAG, status=status)
                message.Recv(bytearray(status.Get_count(MPI.BYTE)))
                self._received[source] += 1
        for request, _ in self._unfinished:
            request.Wait()
        self._unfinished.clear()

    def _await_all(self) -> None:
        """Wait for all ranks as ``MPI_Barrier`` does, but asleep: early ranks leave the cores to the others."""
        assert self._comm is not None
        request = self._comm.Ibarrier()
        pause = 20e-6
        while not request.Test():
            time.sleep(pause)
            pause = min(2 * pause, 1e-3)

    def abort(self, error: BaseException) -> NoReturn:
        """End the whole job at once because this rank cannot take part any longer. Independent."""
        if self.rank != getattr(error, "parnwb_rank", 0):
            time.sleep(2)  # where that rank fails as well, it speaks, and ends this one
        print(f"parnwb: {describe(error, getattr(error, 'parnwb_rank', self.rank))}", file=sys.stderr, flush=True)
        if self._comm is None:
            raise SystemExit(1)
        _abort(self._comm)


@atexit.register
def _end_all() -> None:
    """Take the job down where a rank ends, by an uncaught error or ``sys.exit``, in the midst of a collective task."""
    for ranks in _UNFREED:
        ranks.abort(
            AgreementError(
                "a rank ended while a file was open, and the others cannot go on without it",
                remedy="Use NWBParallelIO in a with block, which tells the others. The file did not get its name",
            )
        )


def check_launch(comm: MPI.Intracomm | None) -> None:
    """Refuse N worlds of one rank, as a mismatched mpiexec and libmpi start them. Independent."""
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
                remedy="Use the mpiexec that belongs to the MPI library which mpi4py loads, or another srun --mpi=",
            )
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
            _abort(world())
        if getattr(error, "parnwb_rank", rank) == rank:
            previous(kind, error, trace)

    hook.parnwb_rank = rank  # type: ignore[attr-defined]
    sys.excepthook = hook


def _abort(comm: MPI.Intracomm) -> NoReturn:
    """End all ranks. Independent."""
    time.sleep(0.2)  # MPICH's launcher drops what it has not yet read of this rank's last words
    end: Callable[[int], object] = comm.Abort
    end(1)
    time.sleep(10)  # MPICH's call returns while its launcher is still at it
    os._exit(1)


def _others_may_wait() -> bool:
    if "mpi4py.MPI" not in sys.modules:
        return False
    from mpi4py import MPI

    return MPI.Is_initialized() and not MPI.Is_finalized() and MPI.COMM_WORLD.Get_size() > 1


def describe(error: BaseException, rank: int) -> str:
    """Return one line for an error: its text, the rank and the host."""
    kind = "" if isinstance(error, ParnwbError) else f"{type(error).__name__}: "
    return f"{kind}{error} (rank {rank} on {socket.gethostname()})"


def portable(error: BaseException, rank: int) -> tuple[bytes | None, str]:
    """Return an exception as bytes that load on another rank, None where it cannot be sent, and as text.

    ``SystemExit`` and its like are not sent as themselves: a rank that exits with 0 must not let all succeed. Nor is
    ``StopIteration``, which Python makes into another error where a generator such as ``agreed`` raises it.
    """
    try:
        text = describe(error, rank)
    except Exception:  # noqa: BLE001 - an error whose text fails is an error all the same
        text = f"{type(error).__name__} (rank {rank} on {socket.gethostname()})"
    try:
        raw = pickle.dumps(error)
        sendable = isinstance(error, Exception) and not isinstance(error, StopIteration)
        if sendable and type(pickle.loads(raw)) is type(error):
            return raw, text
    except Exception:  # noqa: BLE001 - whatever goes wrong here, the text of the error still travels
        pass
    return None, text


def unpacked(raw: bytes | None, text: str) -> BaseException:
    """Return the exception of another rank, as itself or as a ``RemoteError``."""
    try:
        if raw is not None:
            error: BaseException = pickle.loads(raw)
            return error
    except Exception:  # noqa: BLE001 - its class is not known here
        pass
    return RemoteError(text)
