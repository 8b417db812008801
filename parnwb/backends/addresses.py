"""Addresses by request and reply, and the commits that ride on them.

A rank asks for addresses when it has written all that it asked for before; so a rank that waits for a reply stands
still, and when all do, or have finished, what has been placed has been written. The root answers also while it writes
itself, in a thread, but commits only when it does not. A commit waits for that moment, lets
every rank make its bytes safe, appends a frame to the journal, and only then answers.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from parnwb.allocator import Allocator
from parnwb.backends.backend import Job, Portion
from parnwb.backends.encoder import REQUEST_COLUMNS, Batch
from parnwb.backends.pens import Pen
from parnwb.backends.tally import Tally
from parnwb.commits.journal import CLOSING, RECORD_COLUMNS, Frame, Records, StreamState, no_records, no_streams
from parnwb.errors import Interrupted
from parnwb.interrupts import ASKED_TO_STOP
from parnwb.layout import FileLayout
from parnwb.target import FileBytes

TO_ROOT, FROM_ROOT = 1, 2  # tags
ASK, FINISHED, SAFE, STOP, GONE = 0, 1, 2, 3, 4  # first number of a message to the root
HERE, MAKE_SAFE, ALL_FINISHED = 0, 1, 2  # first number of a message from the root

Numbers = npt.NDArray[np.int64]


class Addresses(Protocol):
    """Where encoded chunks go, for one rank. Independent; each portion is between ``begin`` and ``finish``."""

    def begin(self, portion: Portion) -> None:
        """Expect that ranks ask for the chunks of a portion."""

    def serve(self) -> bool:
        """Do something for others, if there is anything to do; tell whether there was."""

    def attend(self) -> bool:
        """Do as ``serve`` while this rank writes: nothing is committed."""

    def of(self, batch: Batch) -> Numbers:
        """Return where the batch's chunks go."""

    def finish(self) -> None:
        """Return when no rank asks any more, and what was to be committed is."""

    def make_safe(self) -> None:
        """Make this rank's bytes safe."""

    def commit(self, streams: Mapping[int, StreamState]) -> None:
        """Commit what is safe on all ranks, and let others read it."""

    def close(self, streams: Mapping[int, StreamState]) -> None:
        """Commit what is safe on all ranks; nothing is asked for after this."""


class AskedAddresses:
    """Addresses from the root; at most one request is under way."""

    def __init__(self, job: Job, disk: FileBytes, pen: Pen) -> None:
        self._ranks, self._interrupts, self._disk, self._pen = job.ranks, job.interrupts, disk, pen
        self._told_to_stop = False

    def begin(self, portion: Portion) -> None:
        """Forget whether the root knows of a signal: it has forgotten as well."""
        self._told_to_stop = False

    def serve(self) -> bool:
        """Pass a signal on to the root, once; and write for others."""
        if self._interrupts.received and not self._told_to_stop:
            self._told_to_stop = True
            self._tell(STOP)
        return self._pen.serve()

    def attend(self) -> bool:
        """Pass a signal on to the root, once."""
        return self.serve()

    def of(self, batch: Batch) -> Numbers:
        """Ask, and make this rank's bytes safe as often as the root wants it before it answers."""
        self._tell(ASK, np.append(batch.requests.reshape(-1), batch.raw_bytes))
        return self._until(HERE)

    def finish(self) -> None:
        """Say so, and wait for the others."""
        self._tell(FINISHED)
        self._until(ALL_FINISHED)
        self._tell(GONE)  # a signal may have been passed on too late: it must not reach the next file

    def make_safe(self) -> None:
        """Wait until what this rank has written is on disk."""
        with self._ranks.doing("making written chunks safe (fsync)"), self._ranks.phases("fsync"):
            self._disk.sync()

    def commit(self, streams: Mapping[int, StreamState]) -> None:
        """Do nothing: the root commits."""

    def close(self, streams: Mapping[int, StreamState]) -> None:
        """Do nothing: the root commits."""

    def _until(self, wanted: int) -> Numbers:
        while True:
            kind, numbers = self._reply()
            if kind == wanted:
                return numbers
            self.make_safe()
            self._tell(SAFE)

    def _reply(self) -> tuple[int, Numbers]:
        replies: list[Numbers] = []

        def replied() -> bool:
            message = self._ranks.receive(FROM_ROOT, source=0)
            if message is not None:
                replies.append(message[1])
            return bool(replies)

        self._ranks.wait_until(replied, self.serve)
        return int(replies[0][0]), replies[0][1:]

    def _tell(self, kind: int, numbers: Numbers | None = None) -> None:
        rest = np.empty(0, dtype=np.int64) if numbers is None else numbers
        self._ranks.send(np.concatenate([np.array([kind], dtype=np.int64), rest]), 0, TO_ROOT)


class RootAddresses:
    """Addresses from HDF5, for this rank and for all that ask; and commits."""

    def __init__(self, job: Job, disk: FileBytes, pen: Pen) -> None:
        assert job.skeleton is not None
        self._job, self._ranks, self._skeleton, self._disk = job, job.ranks, job.skeleton, disk
        self._pen = pen
        self._allocator = Allocator(job.skeleton.file, job.skeleton.overlay, job.layout, job.skeleton.lowest)
        self._others = frozenset(range(1, job.ranks.size))
        self._asking: set[int] = set()
        self._waiting: dict[int, Numbers] = {}
        self._safe: set[int] = set()
        self._gone: set[int] = set()
        self._placed: list[Records] = []
        self._tally = Tally(job.plan)
        self._stop = False
        self._commits = 0
        self._in_one_piece = False
        self._shown = False
        self._committed_at = time.monotonic()
        if job.journal is not None:
            self._append_frame(job.description)

    @property
    def layout(self) -> FileLayout:
        """The bulk datasets as they are now."""
        return self._allocator.layout

    def begin(self, portion: Portion) -> None:
        """Expect every other rank to ask, and give datasets the room that they need."""
        for number, growth in portion.growth.items():
            self._allocator.grow(number, growth.grid.shape)
        self._in_one_piece = portion.in_one_piece
        self._asking = set(self._others)
        self._gone.clear()

    def serve(self) -> bool:
        """Take one message; commit when it is time and all stand still; then, or else, answer those who wait.

        And write for those who ask for it, before anything else: they stand still only when all of theirs is written.
        """
        heard = self._pen.serve() or self._listen()
        if self._commit_is_due():
            if not self._asking <= set(self._waiting):
                return heard
            self._commit()
            self._answer()
            return True
        return self._answer() or heard

    def attend(self) -> bool:
        """Take one message; answer those who wait, unless it is time for a commit: what the root writes is not safe."""
        heard = self._pen.serve() or self._listen()
        return heard if self._commit_is_due() else self._answer() or heard

    def of(self, batch: Batch) -> Numbers:
        """Place the root's own chunks, after a commit that is due."""
        before = self._commits
        self._ranks.wait_until(lambda: self._commits > before or not self._commit_is_due(), self.serve)
        return self._place(batch.requests, batch.raw_bytes)

    def finish(self) -> None:
        """Serve until nobody asks any more, and let all go."""
        self._ranks.wait_until(lambda: not self._asking and not self._stopping(), self.serve)
        if self._placed and self._commit_is_due():
            self._commit()
        for rank in self._others:
            self._tell(rank, ALL_FINISHED)
        self._ranks.wait_until(lambda: self._gone == self._others, self._listen)

    def make_safe(self) -> None:
        """Wait until what the root has written is on disk."""
        with self._ranks.doing("making written chunks safe (fsync)"), self._ranks.phases("fsync"):
            self._disk.sync()

    def commit(self, streams: Mapping[int, StreamState]) -> None:
        """Append a frame, then write to the file what it holds: whenever the job ends in between, the frame counts."""
        self._job.target.check_ours()
        extents = self._append_frame({}, streams)
        overlay = self._skeleton.overlay
        with self._ranks.doing("writing metadata for readers"):
            for address, data in extents if self._shown else overlay.extents():
                self._disk.write_at([data], address)
            if self._disk.status().st_size < overlay.end:
                self._disk.truncate(overlay.end)
        self._shown = True

    def close(self, streams: Mapping[int, StreamState]) -> None:
        """Append the frame that names the last chunks, all of which are safe."""
        if self._job.journal is not None and (self._placed or streams):
            self._job.target.check_ours()
            self._append_frame(CLOSING, streams)

    def _listen(self) -> bool:
        message = self._ranks.receive(TO_ROOT)
        if message is None:
            return False
        sender, numbers = message
        kind = int(numbers[0])
        if kind == ASK:
            self._waiting[sender] = numbers[1:]
        elif kind == FINISHED:
            self._asking.discard(sender)
        elif kind == SAFE:
            self._safe.add(sender)
        elif kind == GONE:
            self._gone.add(sender)
        else:
            self._stop = True
        return True

    def _answer(self) -> bool:
        answered = bool(self._waiting)
        for sender, numbers in self._waiting.items():
            requests = numbers[:-1].reshape(-1, REQUEST_COLUMNS)
            self._tell(sender, HERE, self._place(requests, int(numbers[-1])))
        self._waiting.clear()
        return answered

    def _place(self, requests: Numbers, raw_bytes: int) -> Numbers:
        with self._ranks.phases("giving addresses"):
            addresses = self._allocator.place_all(requests)
        records = np.empty((len(requests), RECORD_COLUMNS), dtype=np.int64)
        records[:, [0, 1, 3, 4, 5]] = requests
        records[:, 2] = addresses
        if self._job.journal is not None:
            self._placed.append(records)
        self._tally.add(requests[:, 0])
        self._job.progress.advance(raw_bytes, int(requests[:, 2].sum()))
        if len(requests):
            self._job.progress.show(self._tally.tell(int(requests[0, 0])))
        return addresses

    def _tell(self, rank: int, kind: int, numbers: Numbers | None = None) -> None:
        rest = np.empty(0, dtype=np.int64) if numbers is None else numbers
        self._ranks.send(np.concatenate([np.array([kind], dtype=np.int64), rest]), rank, FROM_ROOT)

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
        self._safe.clear()
        for rank in self._others:
            self._tell(rank, MAKE_SAFE)
        self._ranks.wait_until(lambda: self._safe == self._others, self._listen)
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
            self._skeleton.file.flush()
            records = np.concatenate(self._placed) if self._placed else no_records()
            overlay = self._skeleton.overlay
            extents = tuple(overlay.take_changes())
            frame = Frame(dict(description), overlay.end, records, extents, streams=streams or no_streams())
            self._job.journal.append(frame)
        self._placed.clear()
        self._commits += 1
        self._committed_at = time.monotonic()
        return extents
