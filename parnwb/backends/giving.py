"""``RootAddresses``: addresses for all who ask, and the commits that ride on them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from parnwb.backends.addresses import (
    ALL_FINISHED,
    FROM_ROOT,
    HERE,
    MAKE_SAFE,
    Inbox,
    message_of,
)
from parnwb.backends.backend import Disk, Job, Portion
from parnwb.backends.balance import Balance
from parnwb.backends.encoder import Batch
from parnwb.backends.pens import Pen
from parnwb.backends.requests import Numbers, Request
from parnwb.backends.route import route_of
from parnwb.backends.stretch import Stretch
from parnwb.backends.tally import Tally
from parnwb.commits.journal import CLOSING, RECORD_COLUMNS, Frame, Records, StreamState, no_records, no_streams
from parnwb.errors import Interrupted
from parnwb.interrupts import ASKED_TO_STOP
from parnwb.layout import FileLayout
from parnwb.progress import Committed, State
from parnwb.target import FileBytes


class Allocation(Protocol):
    """Where chunks go. Independent; on the root."""

    @property
    def layout(self) -> FileLayout:
        """The bulk datasets as they are now."""

    def grow(self, dataset: int, shape: tuple[int, ...]) -> None:
        """Let a dataset have at least this shape."""

    def place_all(self, requests: Numbers) -> Numbers:
        """Place rows that begin with ``(dataset, position, nbytes, mask)`` and return their addresses."""


class RootAddresses:
    """Addresses for this rank and for all that ask; and commits.

    Parameters
    ----------
    job
        What is written.
    disk, pen
        Where this rank's bytes go, and what writes them.
    allocator
        Gives out addresses: HDF5, where it is a file.
    """

    def __init__(self, job: Job, disk: Disk, pen: Pen, allocator: Allocation) -> None:
        self._job, self._ranks, self._disk = job, job.ranks, disk
        self._pen, self._allocator = pen, allocator
        self._speakers = route_of(job.ranks.rank, job.ranks.hosts).below
        self._asking: set[int] = set()
        self._waiting: list[tuple[int, list[Request]]] = []
        self._inbox = Inbox(job.ranks, self._asked, self._asked_to_stop)
        self._placed: list[Records] = []
        self._balance = Balance(job.ranks.size)
        self._stretch, self._movable, self._own_is_movable = Stretch.nothing(), False, False
        self._tally = Tally(job.plan)
        self._stop = False
        self._commits = 0
        self._has_ended = False
        self._in_one_piece = False
        self._shown = False
        self._committed_at = time.monotonic()
        job.progress.watch(self._state)
        if job.journal is not None:
            self._append_frame(job.description)

    @property
    def layout(self) -> FileLayout:
        """The bulk datasets as they are now."""
        return self._allocator.layout

    def begin(self, portion: Portion) -> Stretch:
        """Expect every other rank to ask, and give datasets the room that they need."""
        for number, growth in portion.growth.items():
            self._allocator.grow(number, growth.grid.shape)
        self._in_one_piece = portion.in_one_piece
        self._asking, self._has_ended = set(range(1, self._ranks.size)), False
        self._inbox.gone.clear()
        own = Stretch.own(portion.plan, self._ranks.rank)
        self._balance = Balance(self._ranks.size)
        self._movable = portion.movable
        self._own_is_movable = portion.movable and not any(
            portion.plan.is_kept(share.dataset) for share in portion.plan.shares(self._ranks.rank)
        )
        self._stretch = own.shared() if self._own_is_movable else own
        return self._stretch

    def serve(self) -> bool:
        """Take all messages; commit when it is time and all stand still; then, or else, answer those who wait.

        And write for those who ask for it, before anything else: they stand still only when all of theirs is written.
        """
        heard = self._pen.serve()
        while self._inbox.listen():
            heard = True
        if self._commit_is_due():
            if not self._asking <= {request.rank for _, requests in self._waiting for request in requests}:
                return heard
            self._commit()
            self._answer()
            return True
        return self._answer() or heard

    def attend(self) -> bool:
        """Take messages; answer those who wait, unless it is time for a commit: what the root writes is not safe."""
        heard = self._pen.serve()
        while self._inbox.listen():
            heard = True
        return heard if self._commit_is_due() else self._answer() or heard

    def of(self, batch: Batch) -> Numbers:
        """Place the root's own chunks, after a commit that is due."""
        before = self._commits
        self._ranks.wait_until(lambda: self._commits > before or not self._commit_is_due(), self.serve)
        if self._own_is_movable:
            self._stretch.go_on(self._balance.has_asked(self._ranks.rank, batch.behind, self._stretch.high))
        return self._place(batch.requests, batch.raw_bytes)

    def more(self) -> Stretch:
        """Take it."""
        if not self._movable:
            return Stretch.nothing()
        self._stretch = self._balance.help_for(self._ranks.rank)
        self._own_is_movable = True
        return self._stretch

    def finish(self) -> None:
        """Serve until nobody asks any more, and let all go."""
        self._has_ended = True
        self._ranks.wait_until(lambda: not self._asking and not self._stopping(), self.serve)
        if self._placed and self._commit_is_due():
            self._commit()
        for rank in self._speakers:
            self._tell(rank, ALL_FINISHED)
        self._ranks.wait_until(lambda: self._inbox.gone == self._speakers, self._inbox.listen)

    def make_safe(self) -> None:
        """Wait until what the root has written is on disk."""
        with self._ranks.doing("making written chunks safe (fsync)"), self._ranks.phases("fsync"):
            self._disk.sync()

    def commit(self, streams: Mapping[int, StreamState]) -> None:
        """Append a frame, then write to the file what it holds: whenever the job ends in between, the frame counts."""
        self._job.target.check_ours()
        extents = self._append_frame({}, streams)
        overlay, disk = self._job.hdf5_skeleton.overlay, self._disk
        assert isinstance(disk, FileBytes)
        with self._ranks.doing("writing metadata for readers"):
            for address, data in extents if self._shown else overlay.extents():
                disk.write_at([data], address)
            if disk.status().st_size < overlay.end:
                disk.truncate(overlay.end)
        self._shown = True

    def close(self, streams: Mapping[int, StreamState]) -> None:
        """Append the frame that names the last chunks, all of which are safe."""
        if self._job.journal is not None and (self._placed or streams):
            self._job.target.check_ours()
            self._append_frame(CLOSING, streams)

    def _asked(self, sender: int, requests: list[Request], ended: list[int]) -> None:
        self._asking.difference_update(ended)
        if requests:
            self._waiting.append((sender, requests))

    def _asked_to_stop(self) -> None:
        self._stop = True

    def _answer(self) -> bool:
        """Place what all who wait have asked for, at once: what it costs by chunk is HDF5's part then."""
        if not self._waiting:
            return False
        waiting, self._waiting = self._waiting, []
        everything = [request for _, requests in waiting for request in requests]
        rows = np.concatenate([request.rows for request in everything])
        addresses = self._place(rows, sum(request.raw_bytes for request in everything))
        for request in everything:
            if self._movable and not request.is_for_work:
                self._balance.has_asked(request.rank, request.behind, request.high)
        helping = {request.rank: self._balance.help_for(request.rank) for request in everything if request.is_for_work}
        if self._own_is_movable and helping:
            self._stretch.end_at(self._balance.end_of(self._ranks.rank) or self._stretch.high)
        low = 0
        for sender, requests in waiting:
            reply = []
            for request in requests:
                reply += [addresses[low : low + len(request.rows)], self._told_of(request, helping)]
                low += len(request.rows)
            self._tell(sender, HERE, np.concatenate(reply))
        return True

    def _told_of(self, request: Request, helping: Mapping[int, Stretch]) -> Numbers:
        """Return what stands behind the addresses of a reply: the stretch that one who asks is on, or a new one."""
        if request.rank in helping:
            return helping[request.rank].numbers()
        if self._movable:
            return self._balance.rest_of(request.rank).numbers()
        return Stretch(request.rank, request.behind, request.high, request.high).numbers()

    def _place(self, requests: Numbers, raw_bytes: int) -> Numbers:
        with self._ranks.phases("giving addresses"):
            addresses = self._allocator.place_all(requests)
        records = np.empty((len(requests), RECORD_COLUMNS), dtype=np.int64)
        records[:, [0, 1, 3, 4, 5]] = requests
        records[:, 2] = addresses
        if self._job.journal is not None:
            self._placed.append(records)
        complete = self._tally.add(requests[:, 0], requests[:, 2])
        self._job.progress.advance(raw_bytes, int(requests[:, 2].sum()))
        for dataset in complete:
            self._job.progress.tell(self._tally.done(str(self._job.target.path), dataset))
        return addresses

    def _state(self) -> State:
        """Return how far all datasets are; who asks no more waits for the last, and so does the root in the end."""
        waiting = self._ranks.size - 1 - len(self._asking) + self._has_ended
        return self._tally.state(waiting if waiting < self._ranks.size else 0)

    def _tell(self, rank: int, kind: int, numbers: Numbers | None = None) -> None:
        self._ranks.send(message_of(kind, numbers), rank, FROM_ROOT)

    # -- commits -------------------------------------------------------------------------------------------

    def _stopping(self) -> bool:
        return not self._in_one_piece and (self._stop or self._job.interrupts.received)

    def _commit_is_due(self) -> bool:
        elapsed = time.monotonic() - self._committed_at
        is_time = elapsed >= self._job.commit_interval or self._tally.reached_milestone
        return self._stopping() or (self._job.journal is not None and is_time and not self._in_one_piece)

    def _commit(self) -> None:
        """Make all bytes safe, then record them. All other ranks stand still or have finished."""
        self._job.target.check_ours()
        self.make_safe()
        self._inbox.safe.clear()
        for rank in self._speakers:
            self._tell(rank, MAKE_SAFE)
        self._ranks.wait_until(lambda: self._inbox.safe == self._speakers, self._inbox.listen)
        if self._job.journal is not None:
            self._append_frame({})
        self._tally.committed()
        if self._stopping():
            raise Interrupted(
                ASKED_TO_STOP,
                where=str(self._job.target.partial),
                remedy="What was done is committed: run it again with --resume (mode 'resume')"
                if self._job.journal is not None
                else "The file is as it was: run it again",
            )

    def _append_frame(
        self, description: Mapping[str, Any], streams: Mapping[int, StreamState] | None = None
    ) -> tuple[tuple[int, bytes], ...]:
        assert self._job.journal is not None
        with self._ranks.doing("appending a commit to the journal"), self._ranks.phases("journal"):
            skeleton = self._job.hdf5_skeleton
            skeleton.file.flush()
            records = np.concatenate(self._placed) if self._placed else no_records()
            overlay = skeleton.overlay
            extents = tuple(overlay.take_changes())
            frame = Frame(dict(description), overlay.end, records, extents, streams=streams or no_streams())
            self._job.journal.append(frame)
        if self._commits:  # the first describes what is begun
            told = Committed(str(self._job.target.path), self._commits, len(records), overlay.end)
            self._job.progress.tell(told)
        self._placed.clear()
        self._commits += 1
        self._committed_at = time.monotonic()
        return extents
