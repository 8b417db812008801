"""``Ranks``: a communicator on which errors are agreed on and nobody waits for ever without looking up.

What parnwb needs of MPI, in a few verbs: meet, agree, root first, broadcast, gather, and small messages of integers
that are waited for with open eyes.
"""

from __future__ import annotations

import atexit
import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import numpy as np
import numpy.typing as npt

from parnwb.comm import exchange
from parnwb.comm.launch import alone, check_launch, end_all, may_call_mpi, tell_once
from parnwb.comm.node import Node, distinct_names
from parnwb.comm.roll_call import RollCall
from parnwb.comm.signs import SignsOfLife, Silence
from parnwb.comm.travel import describe, portable, unpacked
from parnwb.comm.watchdog import Lane, Watchdog
from parnwb.errors import AgreementError, ParnwbError
from parnwb.timing import Phases
from parnwb.voice import NOTICE, last_words, say

if TYPE_CHECKING:
    from mpi4py import MPI

Value = TypeVar("Value")
Integers = npt.NDArray[np.int64]
Octets = npt.NDArray[np.uint8]

ALARM_TAG, SIGN_TAG = 11, 12
ROLL_CALL_SECONDS = 3.0
LONGER = (
    "If it only needs longer, pass watchdog=SECONDS (--watchdog), 0 for no limit; what was committed can be resumed"
)
SHORTEST_PAUSE, LONGEST_PAUSE = 20e-6, 1e-3
MEETING = "waiting for other ranks"
_NUMBERS = itertools.count()
_UNFREED: set[Ranks] = set()


class Alarmed(BaseException):
    """Leaves a rank's work because another rank failed; never seen outside ``Ranks.agreed``."""


class FailedElsewhere(ParnwbError):
    """Ends the work of a team because a rank of another team failed, which brings the error that users see."""


class Ranks:
    """A private duplicate of a communicator, or one process alone.

    Parameters
    ----------
    comm
        Intracommunicator whose ranks take part; None is this process alone and needs no MPI.
    watchdog
        Seconds for which one of several ranks may be at one step, or may not be heard of by those who wait for it,
        before it ends the job; None or 0 for ever.
    call
        What all ranks must do to come here, for the message where one does not.
    within
        Of a team: the ranks of all teams. Where one of those fails in an ``agreed`` block of theirs, this team leaves
        its own work at its next ``look_up``, with ``FailedElsewhere``.

    Raises
    ------
    LaunchError
        The launcher started more ranks than this world has: each would write the whole file by itself.
    """

    def __init__(
        self,
        comm: MPI.Intracomm | None = None,
        watchdog: float | None = None,
        call: str = "construct NWBParallelIO",
        within: Ranks | None = None,
    ) -> None:
        check_launch(comm)
        self._call, self._within = call, within
        self.phases = Phases()
        self._number = next(_NUMBERS)
        several = comm is not None and comm.Get_size() > 1
        self._watchdog = Watchdog(watchdog if several else None)
        self._watchdog.start(self._stuck)
        self._signs: SignsOfLife | None = None
        self._comm = self._duplicate(comm) if comm is not None and several else None
        self.rank = self._comm.Get_rank() if self._comm is not None else 0
        self.size = self._comm.Get_size() if self._comm is not None else 1
        # Messages to and from each rank; and sends that nobody waits for, with their buffers.
        self._sent, self._received = [0] * self.size, [0] * self.size
        self._unfinished: list[tuple[MPI.Request, npt.NDArray[Any]]] = []
        nodes: tuple[Node, ...] = (Node.here(),)
        self._hosts = distinct_names(nodes)
        if self._comm is not None:
            tell_once(self.rank)
            nodes, watch = zip(*self.gather_all((*nodes, self._watchdog.active)), strict=True)
            self._hosts = distinct_names(nodes)
            self._roll_call = RollCall(self._comm)
            if all(watch):  # where some have no watchdog, by mistake, nobody counts on signs of theirs
                self._signs = SignsOfLife(self.rank, self.size, self._watchdog, self._post_sign, self._collect_signs)

    @property
    def is_root(self) -> bool:
        """True on the rank that authors metadata and prints messages."""
        return self.rank == 0

    @property
    def hosts(self) -> tuple[str, ...]:
        """The host of each rank: its name, and a number where several hosts have that name."""
        return self._hosts

    @property
    def host(self) -> str:
        """The host of this rank."""
        return self._hosts[self.rank]

    @property
    def host_names(self) -> tuple[str, ...]:
        """The hosts, each once, in the order of their first ranks."""
        return tuple(dict.fromkeys(self._hosts))

    @property
    def leads_host(self) -> bool:
        """True on the first rank of each host."""
        return self._hosts.index(self._hosts[self.rank]) == self.rank

    @property
    def comm(self) -> MPI.Intracomm | None:
        """The duplicate, for libraries that take a communicator; None for one process."""
        return self._comm

    def divided(self, team: int, place: int) -> MPI.Intracomm:
        """Return a communicator of the ranks that name the same team, in the order of their places. Collective.

        The caller frees it. Of one process alone it is MPI's own.
        """
        self.meet("dividing the ranks into teams")
        comm = self._comm if self._comm is not None else alone()
        made: Any = comm.Split(team, place)
        return made

    def say(self, part: str, text: str, level: int = NOTICE) -> None:
        """Log a text as ``parnwb.PART``, once for all of these ranks: the root speaks. Independent."""
        if self.is_root:
            say(level, part, text, self.rank, self.host)

    def must_be_freed(self) -> None:
        """From here on, end the whole job if this process ends without ``free``: others would wait for ever."""
        if self._comm is not None:
            _UNFREED.add(self)

    def free(self) -> None:
        """Give the duplicate back. Collective."""
        if self._comm is not None:
            if self._signs is not None:
                self._drain()
            _UNFREED.discard(self)
            self._comm.Free()
            self._comm = None
        self._watchdog.stop()

    # -- agreement -----------------------------------------------------------------------------------------

    @contextmanager
    def agreed(self, doing: str, phase: str | None = None) -> Iterator[None]:
        """Run a block on every rank; an exception on one becomes the same exception on all. Collective.

        A rank that fails rings at the others, who leave the block at their next ``look_up``.

        Parameters
        ----------
        doing
            Name of the block. Ranks that meet here under different names were not in the same call.
        phase
            As what its seconds count, where ``doing`` names more than a kind of work.
        """
        error: BaseException | None = None
        try:
            with self._watchdog.main.at(doing), self.phases(phase or doing):
                yield
        except Alarmed:
            pass  # the rank that rang brings its error to the meeting below
        except BaseException as caught:  # noqa: BLE001 - a rank that exits would leave the others waiting
            error = caught
        self._conclude(doing, error, None)

    def gather_agreed(self, doing: str, function: Callable[[], Value]) -> list[Value]:
        """Run ``function`` on every rank and return what it returned on each; exceptions as in ``agreed``. Collective.

        As cheap as ``agreed`` alone.
        """
        value: Value | None = None
        error: BaseException | None = None
        try:
            with self._watchdog.main.at(doing):
                value = function()
        except Alarmed:
            pass
        except BaseException as caught:  # noqa: BLE001 - a rank that exits would leave the others waiting
            error = caught
        return self._conclude(doing, error, value)

    def _conclude(self, doing: str, error: BaseException | None, value: Any) -> list[Any]:
        if self._comm is None:
            if error is not None:
                raise error
            return [value]
        if error is not None:
            self._ring()
        failure = None if error is None else portable(error, self.rank)
        verdicts: list[Any] = self.gather_all((doing, failure, value))
        failed = [rank for rank, (_, failure, _) in enumerate(verdicts) if failure is not None]
        calls = {name for name, _, _ in verdicts}
        if failed or len(calls) > 1:
            self._drain()
            if self._signs is not None:
                self._signs.muted = False
        if failed:
            if failed[0] == self.rank and error is not None and not isinstance(error, SystemExit):
                raise self.known_to_all(error, self.rank)
            raise self.known_to_all(unpacked(*verdicts[failed[0]][1]), failed[0])
        if len(calls) > 1:
            other = next(rank for rank, (name, _, _) in enumerate(verdicts) if name != verdicts[0][0])
            raise self.known_to_all(
                AgreementError(
                    f"all ranks must make the same collective calls: rank 0 is in '{verdicts[0][0]}', "
                    f"rank {other} in '{verdicts[other][0]}'",
                    remedy="Call parnwb's collective methods on every rank, in the same order",
                )
            )
        return [value for _, _, value in verdicts]

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
        error.parnwb_host = self._hosts[rank]  # type: ignore[attr-defined]
        return error

    def all_know(self, error: BaseException) -> bool:
        """Tell whether all of these ranks raise this error. Independent."""
        return getattr(error, "parnwb_ranks", None) == self._number

    def same(self, values: Mapping[str, object], remedy: str) -> None:
        """Check that small values, which have a telling ``repr``, are the same on all ranks. Collective.

        A rank that gives ``...`` does not know, and agrees with all.

        Raises
        ------
        AgreementError
            Names the first rank and the first value that differ from the root's, and both values.
        """
        texts = self.gather_all({name: repr(value) for name, value in values.items()})
        for rank, other in enumerate(texts):
            for name in (name for name in {**texts[0], **other} if not _agree(texts[0].get(name), other.get(name))):
                raise self.known_to_all(
                    AgreementError(
                        f"{name} must be the same on all ranks: rank 0 has {texts[0].get(name, 'none')}, "
                        f"{self._rank_elsewhere(rank)} has {other.get(name, 'none')}",
                        remedy=remedy,
                    )
                )

    # -- values --------------------------------------------------------------------------------------------

    def broadcast(self, value: Value | None = None) -> Value:
        """Return the root's value everywhere. Collective."""
        if self._comm is None:
            return value  # type: ignore[return-value]
        received: Value = exchange.broadcast(self._comm, value, self._wait)
        return received

    def gather_all(self, value: Value) -> list[Value]:
        """Return the list of all ranks' values on every rank. Collective."""
        return [value] if self._comm is None else exchange.gathered(self._comm, value, self._wait)

    def gather(self, value: Value) -> list[Value] | None:
        """Return the list of all ranks' values on the root, None elsewhere: for what is large. Collective."""
        return [value] if self._comm is None else exchange.gathered_on_root(self._comm, value, self._wait)

    def exchange_bytes(self, parts: list[Octets]) -> list[Octets]:
        """Give each rank its part and return what each has for this one. Collective."""
        return parts if self._comm is None else exchange.exchanged_bytes(self._comm, parts, self._wait)

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
        return bool(exchange.largest(self._comm, int(failed), self._wait))

    def exchange(
        self, data: npt.NDArray[Any], counts: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
        """Send each rank its run of ``data`` and return the runs that all have for this one. Collective.

        Parameters
        ----------
        data
            One-dimensional, contiguous, of the same dtype on all ranks.
        counts
            Elements for each rank, in their order.

        Returns
        -------
        data, counts
            What was received, and how many elements of it from each rank, in their order.
        """
        if self._comm is None:
            return data, np.asarray(counts, dtype=np.int64)
        return exchange.sorted_out(self._comm, data, counts, self._wait_for_bulk)

    # -- messages ------------------------------------------------------------------------------------------

    def send(self, numbers: npt.NDArray[Any], to: int, tag: int) -> None:
        """Send integers or bytes, which must stay as they are; does not wait for the receiver. Independent.

        Two ranks may send to each other at the same time: who waited would not receive.
        """
        self._post(numbers, to, tag)

    def _post(self, data: npt.NDArray[Any], to: int, tag: int) -> None:
        """Begin to send, and let go of what has been sent meanwhile."""
        assert self._comm is not None
        self._unfinished = [item for item in self._unfinished if not item[0].Test()]
        self._unfinished.append((self._comm.Isend(data, dest=to, tag=tag), data))
        self._sent[to] += 1

    def receive(
        self, tag: int, source: int | None = None, dtype: npt.DTypeLike = np.int64
    ) -> tuple[int, npt.NDArray[Any]] | None:
        """Return ``(sender, numbers)`` if a message is there, else None. Independent.

        Parameters
        ----------
        dtype
            Of the numbers, as they were sent.
        """
        if self._comm is None:
            return None
        from mpi4py import MPI

        status = MPI.Status()
        if not self._comm.Iprobe(source=MPI.ANY_SOURCE if source is None else source, tag=tag, status=status):
            return None
        sender, numbers = status.Get_source(), np.empty(status.Get_count(MPI.BYTE) // np.dtype(dtype).itemsize, dtype)
        self._wait(self._comm.Irecv(numbers, source=sender, tag=tag))
        self._received[sender] += 1
        if self._signs is not None:
            self._signs.heard(sender)
        return sender, numbers

    def look_up(self) -> None:
        """Leave the enclosing ``agreed`` block if another rank has failed. Independent, cheap."""
        if self._comm is not None:
            self._watchdog.main.moved()
            self._look_for_silence()
            if self._is_alarmed():
                raise Alarmed
        if self._within is not None and self._within._is_alarmed():
            raise FailedElsewhere("another team of ranks has failed", remedy="Its error says why")

    @contextmanager
    def in_teams(self) -> Iterator[None]:
        """Leave it to those who failed to say why, where teams of these ranks work. Within ``agreed``; independent."""
        try:
            yield
        except FailedElsewhere as error:
            raise Alarmed from error

    def _is_alarmed(self) -> bool:
        """Tell whether a rank has rung."""
        if self._comm is None:
            return False
        from mpi4py import MPI

        return bool(self._comm.Iprobe(source=MPI.ANY_SOURCE, tag=ALARM_TAG))

    def wait_until(self, ready: Callable[[], bool], meanwhile: Callable[[], bool] | None = None) -> None:
        """Wait for ``ready()`` without burning the core, serving ``meanwhile`` and looking up. Independent.

        Parameters
        ----------
        ready
            Ends the wait when true.
        meanwhile
            Work for others; returns whether it did any.
        """
        with self._watchdog.main.resting():
            pause = SHORTEST_PAUSE
            while not ready():
                if meanwhile is not None and meanwhile():
                    pause = SHORTEST_PAUSE
                    continue
                self.look_up()
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def _wait(self, request: MPI.Request) -> None:
        """Wait for a request without looking up."""
        self._until(request.Test)

    def _wait_for_bulk(self, request: MPI.Request) -> None:
        """Wait for a request that moves much: MPI moves it in small pieces, and only when it is called."""
        self._until(request.Test, longest=SHORTEST_PAUSE)

    def _until(self, ready: Callable[[], bool], longest: float = LONGEST_PAUSE) -> None:
        """Wait asleep, which leaves the cores to those who are waited for."""
        with self._watchdog.main.resting(), self.phases(MEETING):
            pause = SHORTEST_PAUSE
            while not ready():
                self._look_for_silence()
                time.sleep(pause)
                pause = min(2 * pause, longest)

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

        if self._signs is not None:
            self._signs.muted = True
        owed = exchange.exchanged(self._comm, self._sent, self._wait)
        status = MPI.Status()
        for source in range(self.size):
            while self._received[source] < owed[source]:
                self._until(partial(self._comm.Iprobe, source, MPI.ANY_TAG, status))
                content = bytearray(status.Get_count(MPI.BYTE))
                self._wait(self._comm.Irecv(content, source=source, tag=status.Get_tag()))
                self._received[source] += 1
        for request, _ in self._unfinished:
            self._wait(request)
        self._unfinished.clear()

    def abort(self, error: BaseException) -> NoReturn:
        """End the whole job at once because this rank cannot take part any longer. Independent."""
        if self.rank != getattr(error, "parnwb_rank", 0):
            time.sleep(2)  # where that rank fails as well, it speaks, and ends this one
        culprit = getattr(error, "parnwb_rank", self.rank)
        last_words(describe(error, culprit), culprit, getattr(error, "parnwb_host", self.host))
        if self._comm is None:
            raise SystemExit(1)
        end_all(self._comm)

    # -- watchdog ------------------------------------------------------------------------------------------

    def step(self, text: str) -> None:
        """Name what comes next within an ``agreed`` block. Independent."""
        self._watchdog.main.step(text)

    def going_on(self, text: str) -> None:
        """Do as ``step`` and let the others hear of it, where this rank does not leave if another has failed.

        Independent.
        """
        self._watchdog.main.step(text)
        if self._comm is not None:
            self._look_for_silence()

    def doing(self, text: str, *, together: bool = False) -> AbstractContextManager[None]:
        """Be at a step for a while; ``together`` where all ranks are inside one call. Independent."""
        return self._watchdog.main.at(text, together=together)

    def another_thread(self) -> AbstractContextManager[Lane]:
        """Let the watchdog look after the steps of another thread of this rank. Independent."""
        return self._watchdog.lane()

    def _duplicate(self, comm: MPI.Intracomm) -> MPI.Intracomm:
        """Duplicate a communicator; end the job where a rank does not come. Collective."""
        made, request = comm.Idup()
        roll_call, began, watchdog = RollCall(comm), 0, self._watchdog

        def ready() -> bool:
            nonlocal began
            if request.Test():
                return True
            if watchdog.active and roll_call.is_due(watchdog.ticks):
                roll_call.answer()
                if (watchdog.ticks - began) * watchdog.tick >= watchdog.limit:
                    found = roll_call.call(ROLL_CALL_SECONDS)
                    began = watchdog.ticks
                    if found.missing and not request.Test():
                        self._end(comm, found.first, _missing(found.missing, watchdog.limit, self._call))
            return False

        self._until(ready)
        return made

    def _post_sign(self, to: int, text: str) -> None:
        self._post(np.frombuffer(text.encode(), dtype=np.uint8), to, SIGN_TAG)

    def _collect_signs(self) -> Iterator[tuple[int, str]]:
        assert self._comm is not None
        from mpi4py import MPI

        status = MPI.Status()
        while self._comm.Iprobe(source=MPI.ANY_SOURCE, tag=SIGN_TAG, status=status):
            sender, data = status.Get_source(), bytearray(status.Get_count(MPI.BYTE))
            self._comm.Recv(data, source=sender, tag=SIGN_TAG)
            self._received[sender] += 1
            yield sender, data.decode()

    def _look_for_silence(self) -> None:
        """End the job if a rank that this one listens to is silent for too long. Independent; cheap."""
        if self._signs is None or not self._signs.due:
            return
        assert self._comm is not None
        self._roll_call.answer()
        silence = self._signs.exchange()
        if silence is not None:
            self._end(self._comm, self.rank, self._silent(silence))

    def _silent(self, silence: Silence) -> ParnwbError:
        return ParnwbError(
            f"{self._name(silence.rank)} has given no sign of life for {silence.seconds:.0f} s; the last "
            f"it said: {silence.said}",
            remedy="It was stopped or killed, it or its host hangs, or it is in the program's own code between two "
            f"calls of parnwb. {LONGER}",
        )

    def _stuck(self, lane: Lane) -> None:
        """End the job because this rank is at one step for too long. In the watchdog's thread."""
        comm, place, first = self._comm, lane.text, self.rank
        missing: tuple[int, ...] = ()
        if comm is None:
            return
        if lane.together and may_call_mpi():
            found = self._roll_call.call(ROLL_CALL_SECONDS)
            first, missing = found.first, found.missing
        else:
            time.sleep(min(self.rank, 5))  # where others are stuck as well the first of them speaks, and ends this one
        if lane.working and lane.seconds >= self._watchdog.limit:
            who = "A step of all ranks" if lane.together else "A step"
            message = f"{who} takes longer than the watchdog's {self._watchdog.limit:g} s"
            if missing:
                message += f", and no answer comes from {', '.join(map(self._name, missing))}"
            self._end(comm, first, ParnwbError(message, where=place, remedy=LONGER))

    def _rank_elsewhere(self, rank: int) -> str:
        return f"rank {rank}" if self._hosts[rank] == self._hosts[0] else self._name(rank)

    def _name(self, rank: int) -> str:
        return f"rank {rank} on {self._hosts[rank]}"

    def _end(self, comm: MPI.Intracomm, speaker: int, error: ParnwbError) -> NoReturn:
        """End the job; only one rank says why, but if that does not help the others end themselves. Independent."""
        rank = comm.Get_rank()
        if rank == speaker:
            last_words(describe(error, rank), rank)
        else:
            time.sleep(10)
        end_all(comm)


def _agree(one: str | None, other: str | None) -> bool:
    """Tell whether two values, given by their ``repr``, are the same, or one of them is not known."""
    return one == other or repr(...) in (one, other)


def _missing(ranks: tuple[int, ...], limit: float, call: str) -> ParnwbError:
    names = ", ".join(map(str, ranks))
    return ParnwbError(
        f"all ranks must {call}, within the watchdog's {limit:g} s of the first: rank {names} did not",
        remedy=f"See whether it has failed, ended or taken another way before. {LONGER.partition(';')[0]}",
    )


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
