"""Addresses by request and reply, and the commits that ride on them.

A rank asks for addresses when it has written all that it asked for before; so a rank that waits for a reply stands
still, and when all do, or have finished, what has been placed has been written. A commit waits for that moment, lets
every rank make its bytes safe, appends a frame to the journal, and only then answers.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from parnwb.allocator import Allocator
from parnwb.backends.backend import Fill
from parnwb.backends.encoder import REQUEST_COLUMNS, Batch
from parnwb.backends.tally import Tally
from parnwb.commits.journal import CLOSING, RECORD_COLUMNS, Frame, Records, no_records
from parnwb.errors import Interrupted
from parnwb.interrupts import ASKED_TO_STOP
from parnwb.target import FileBytes

TO_ROOT, FROM_ROOT = 1, 2  # tags
ASK, FINISHED, SAFE, STOP, GONE = 0, 1, 2, 3, 4  # first number of a message to the root
HERE, MAKE_SAFE, ALL_FINISHED = 0, 1, 2  # first number of a message from the root

Numbers = npt.NDArray[np.int64]


class Addresses(Protocol):
    """Where encoded chunks go, for one rank. Independent."""

    def serve(self) -> bool:
        """Do something for others, if there is anything to do; tell whether there was."""

    def of(self, batch: Batch) -> Numbers:
        """Return where the batch's chunks go."""

    def finish(self) -> None:
        """Return when this rank's bytes are safe and no rank asks any more."""


class AskedAddresses:
    """Addresses from the root; at most one request is under way."""

    def __init__(self, work: Fill, disk: FileBytes) -> None:
        self._ranks, self._interrupts, self._disk = work.ranks, work.interrupts, disk
        self._told_to_stop = False

    def serve(self) -> bool:
        """Pass a signal on to the root, once."""
        if self._interrupts.received and not self._told_to_stop:
            self._told_to_stop = True
            self._tell(STOP)
        return False

    def of(self, batch: Batch) -> Numbers:
        """Ask, and make this rank's bytes safe as often as the root wants it before it answers."""
        self._tell(ASK, np.append(batch.requests.reshape(-1), batch.raw_bytes))
        return self._until(HERE)

    def finish(self) -> None:
        """Make safe, say so, and wait for the others."""
        self._make_safe()
        self._tell(FINISHED)
        self._until(ALL_FINISHED)
        self._tell(GONE)  # a signal may have been passed on too late: it must not reach the next file

    def _until(self, wanted: int) -> Numbers:
        while True:
            kind, numbers = self._reply()
            if kind == wanted:
                return numbers
            self._make_safe()
            self._tell(SAFE)

    def _make_safe(self) -> None:
        with self._ranks.doing("making written chunks safe (fsync)"):
            self._disk.sync()

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

    def __init__(self, work: Fill, disk: FileBytes) -> None:
        assert work.skeleton is not None
        self._work, self._ranks, self._skeleton, self._disk = work, work.ranks, work.skeleton, disk
        self._allocator = Allocator(work.skeleton.file, work.skeleton.overlay, work.plan.layout, work.skeleton.lowest)
        self._asking = set(range(1, work.ranks.size))
        self._waiting: dict[int, Numbers] = {}
        self._safe: set[int] = set()
        self._gone: set[int] = set()
        self._placed: list[Records] = []
        self._tally = Tally(work.plan)
        self._stop = False
        self._commits = 0
        self._committed_at = time.monotonic()
        if work.journal is not None:
            self._append_frame(work.description)

    def serve(self) -> bool:
        """Take one message; commit when it is time and all stand still; then, or else, answer those who wait."""
        heard = self._listen()
        if self._commit_is_due():
            if not self._asking <= set(self._waiting):
                return heard
            self._commit()
            self._answer()
            return True
        return self._answer() or heard

    def of(self, batch: Batch) -> Numbers:
        """Place the root's own chunks, after a commit that is due."""
        before = self._commits
        self._ranks.wait_until(lambda: self._commits > before or not self._commit_is_due(), self.serve)
        return self._place(batch.requests, batch.raw_bytes)

    def finish(self) -> None:
        """Serve until nobody asks any more, and let all go."""
        self._make_safe()
        self._ranks.wait_until(lambda: not self._asking and not self._stopping(), self.serve)
        if self._work.journal is not None and self._placed:
            self._work.target.check_ours()
            self._append_frame(CLOSING)
        for rank in range(1, self._ranks.size):
            self._tell(rank, ALL_FINISHED)
        self._ranks.wait_until(lambda: len(self._gone) == self._ranks.size - 1, self._listen)

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
        addresses = self._allocator.place_all(requests)
        records = np.empty((len(requests), RECORD_COLUMNS), dtype=np.int64)
        records[:, [0, 1, 3, 4, 5]] = requests
        records[:, 2] = addresses
        if self._work.journal is not None:
            self._placed.append(records)
        self._tally.add(requests[:, 0])
        self._work.progress.advance(raw_bytes, int(requests[:, 2].sum()))
        if len(requests):
            self._work.progress.show(self._tally.tell(int(requests[0, 0])))
        return addresses

    def _tell(self, rank: int, kind: int, numbers: Numbers | None = None) -> None:
        rest = np.empty(0, dtype=np.int64) if numbers is None else numbers
        self._ranks.send(np.concatenate([np.array([kind], dtype=np.int64), rest]), rank, FROM_ROOT)

    # -- commits -------------------------------------------------------------------------------------------

    def _make_safe(self) -> None:
        with self._ranks.doing("making written chunks safe (fsync)"):
            self._disk.sync()

    def _stopping(self) -> bool:
        return self._stop or self._work.interrupts.received

    def _commit_is_due(self) -> bool:
        elapsed = time.monotonic() - self._committed_at
        is_time = elapsed >= self._work.commit_interval or self._tally.reached_milestone
        return self._stopping() or (self._work.journal is not None and is_time)

    def _commit(self) -> None:
        """Make all bytes safe, then record them. All other ranks stand still or have finished."""
        self._work.target.check_ours()
        self._make_safe()
        asked = set(self._waiting)
        self._safe.clear()
        for rank in asked:
            self._tell(rank, MAKE_SAFE)
        self._ranks.wait_until(lambda: asked <= self._safe, self._listen)
        if self._work.journal is not None:
            self._append_frame({})
        if self._stopping():
            raise Interrupted(
                ASKED_TO_STOP,
                where=str(self._work.target.partial),
                remedy="What was done is committed: run it again with --resume (mode 'resume')"
                if self._work.journal is not None
                else "The file is as it was: run it again",
            )

    def _append_frame(self, description: Mapping[str, Any]) -> None:
        assert self._work.journal is not None
        with self._ranks.doing("appending a commit to the journal"):
            self._skeleton.file.flush()
            records = np.concatenate(self._placed) if self._placed else no_records()
            overlay = self._skeleton.overlay
            self._work.journal.append(Frame(dict(description), overlay.end, records, tuple(overlay.take_changes())))
        self._placed.clear()
        self._tally.committed()
        self._commits += 1
        self._committed_at = time.monotonic()
