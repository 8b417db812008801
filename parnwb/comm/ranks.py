"""``Ranks``: a communicator on which errors are agreed on and nobody waits for ever without looking up.

What parnwb needs of MPI, in a few verbs: meet, agree, root first, broadcast, gather, and small messages of integers
that are waited for with open eyes.
"""

from __future__ import annotations

import atexit
import itertools
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn, TypeVar

import numpy as np
import numpy.typing as npt

from parnwb.comm.launch import check_launch, end_all, tell_once
from parnwb.comm.travel import describe, portable, unpacked
from parnwb.errors import AgreementError

if TYPE_CHECKING:
    from mpi4py import MPI

Value = TypeVar("Value")
Integers = npt.NDArray[np.int64]

ALARM_TAG = 11
_NUMBERS = itertools.count()
_UNFREED: set[Ranks] = set()


class Alarmed(BaseException):
    """Leaves a rank's work because another rank failed; never seen outside ``Ranks.agreed``."""


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
        end_all(self._comm)


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
