"""``AskedAddresses``: addresses for a rank that is not the root, and for those that speak to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from parnwb.backends.addresses import (
    ALL_FINISHED,
    ASK,
    FROM_ROOT,
    GONE,
    HERE,
    MAKE_SAFE,
    SAFE,
    STOP,
    TO_ROOT,
    Inbox,
    message_of,
)
from parnwb.backends.backend import Disk, Job, Portion
from parnwb.backends.encoder import Batch
from parnwb.backends.pens import Pen
from parnwb.backends.requests import REPLY_TAIL, Numbers, Request, packed
from parnwb.backends.route import route_of
from parnwb.backends.stretch import Stretch
from parnwb.commits.journal import StreamState


class AskedAddresses:
    """Addresses from the root, for this rank and, where ranks are many, for those of its node that speak to it.

    A rank has one request under way. One that speaks for others sends what they ask in one message, and the next when
    that is answered; or when all of them wait, because a commit can only begin when the root knows that.
    """

    def __init__(self, job: Job, disk: Disk, pen: Pen) -> None:
        self._ranks, self._interrupts, self._disk, self._pen = job.ranks, job.interrupts, disk, pen
        self._route = route_of(job.ranks.rank, job.ranks.hosts)
        self._told_to_stop = False
        self._asking: set[int] = set()
        self._held: list[Request] = []
        self._ended: list[int] = []
        self._under_way: deque[list[Request]] = deque()
        self._mine: Numbers | None = None
        self._stretch, self._movable = Stretch.nothing(), False
        self._is_to_be_safe = self._is_over = False
        self._inbox = Inbox(job.ranks, self._asked_below, lambda: self._tell(self._route.above, STOP))

    def begin(self, portion: Portion) -> Stretch:
        """Forget whether the root knows of a signal: it has forgotten as well. Expect all of this node to ask."""
        self._told_to_stop = self._is_over = False
        self._asking = {self._ranks.rank, *self._route.below}
        self._inbox.gone.clear()
        self._movable = portion.movable
        own = Stretch.own(portion.plan, self._ranks.rank)
        self._stretch = own.shared() if portion.movable else own
        return self._stretch

    def serve(self) -> bool:
        """Pass a signal on to the root, once; and messages of those who speak to this rank, and to them; and write."""
        if self._interrupts.received and not self._told_to_stop:
            self._told_to_stop = True
            self._tell(self._route.above, STOP)
        heard = self._listen_above()
        while self._route.below and self._inbox.listen():
            heard = True
        self._pass_on()
        return self._pen.serve() or heard

    def attend(self) -> bool:
        """Do as ``serve``: a node of which a rank writes is not asked to make its bytes safe."""
        return self.serve()

    def of(self, batch: Batch) -> Numbers:
        """Ask, and make this rank's bytes safe as often as the root wants it before it answers."""
        reply = self._asked(
            Request(self._ranks.rank, batch.requests, batch.raw_bytes, batch.behind, self._stretch.high)
        )
        self._stretch.go_on(Stretch.of(reply[-REPLY_TAIL:]))
        return reply[:-REPLY_TAIL]

    def more(self) -> Stretch:
        """Ask for it."""
        if not self._movable:
            return Stretch.nothing()
        self._stretch = Stretch.of(self._asked(Request.for_work(self._ranks.rank)))
        return self._stretch

    def _asked(self, request: Request) -> Numbers:
        self._held.append(request)
        self._pass_on()
        self._until(lambda: self._mine is not None)
        mine, self._mine = self._mine, None
        assert mine is not None
        return mine

    def finish(self) -> None:
        """Say so, and wait for the others."""
        self._ended_has(self._ranks.rank)
        self._pass_on()
        self._until(lambda: self._is_over)
        self._ranks.wait_until(lambda: self._inbox.gone == self._route.below, self.serve)
        # A signal may have been passed on too late: it must not reach the next file.
        self._tell(self._route.above, GONE)

    def make_safe(self) -> None:
        """Wait until what this rank has written is on disk."""
        with self._ranks.doing("making written chunks safe (fsync)"), self._ranks.phases("fsync"):
            self._disk.sync()

    def commit(self, streams: Mapping[int, StreamState]) -> None:
        """Do nothing: the root commits."""

    def close(self, streams: Mapping[int, StreamState]) -> None:
        """Do nothing: the root commits."""

    def _until(self, ready: Callable[[], bool]) -> None:
        while True:
            self._ranks.wait_until(lambda: ready() or self._is_to_be_safe, self.serve)
            if not self._is_to_be_safe:
                return
            self._is_to_be_safe = False
            self.make_safe()
            self._ranks.wait_until(lambda: self._inbox.safe == self._route.below, self.serve)
            self._inbox.safe.clear()
            self._tell(self._route.above, SAFE)

    def _pass_on(self) -> None:
        """Send what this node asks, if it is its turn."""
        if not self._held and not self._ended:
            return
        waiting = {request.rank for requests in (*self._under_way, self._held) for request in requests}
        if self._under_way and not self._asking <= waiting:
            return
        held, ended = self._held, self._ended
        self._held, self._ended = [], []
        if held:
            self._under_way.append(held)
        self._tell(self._route.above, ASK, packed(held, ended))

    def _listen_above(self) -> bool:
        message = self._ranks.receive(FROM_ROOT, source=self._route.above)
        if message is None:
            return False
        kind, numbers = int(message[1][0]), message[1][1:]
        if kind == HERE:
            self._spread(numbers)
            return True
        self._is_to_be_safe |= kind == MAKE_SAFE
        self._is_over |= kind == ALL_FINISHED
        for rank in self._route.below:
            self._tell(rank, kind)
        return True

    def _spread(self, addresses: Numbers) -> None:
        """Give each rank the addresses it has asked for, in a reply to the first of the requests under way."""
        low = 0
        for request in self._under_way.popleft():
            found = addresses[low : low + len(request.rows) + REPLY_TAIL]
            low += len(found)
            if request.rank == self._ranks.rank:
                self._mine = found
            else:
                self._tell(request.rank, HERE, found)

    def _asked_below(self, sender: int, requests: list[Request], ended: list[int]) -> None:
        self._held += requests
        for rank in ended:
            self._ended_has(rank)

    def _ended_has(self, rank: int) -> None:
        self._asking.discard(rank)
        self._ended.append(rank)

    def _tell(self, rank: int, kind: int, numbers: Numbers | None = None) -> None:
        tag = TO_ROOT if rank == self._route.above else FROM_ROOT
        self._ranks.send(message_of(kind, numbers), rank, tag)
