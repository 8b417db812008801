"""Addresses by request and reply, and the commits that ride on them.

A rank asks for addresses when it has written all that it asked for before; so a rank that waits for a reply stands
still, and when all do, or have finished, what has been placed has been written. The root answers also while it writes
itself, in a thread, but commits only when it does not. A commit waits for that moment, lets
every rank make its bytes safe, appends a frame to the journal, and only then answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from parnwb.backends.backend import Portion
from parnwb.backends.encoder import Batch
from parnwb.backends.requests import Numbers, Request, unpacked
from parnwb.backends.stretch import Stretch
from parnwb.comm import Ranks
from parnwb.commits.journal import StreamState

TO_ROOT, FROM_ROOT = 1, 2  # tags
ASK, SAFE, STOP, GONE = 0, 1, 2, 3  # first number of a message to the root
HERE, MAKE_SAFE, ALL_FINISHED = 0, 1, 2  # first number of a message from the root


def message_of(kind: int, numbers: Numbers | None = None) -> Numbers:
    """Return a message: its kind, and what belongs to it. Independent."""
    rest = np.empty(0, dtype=np.int64) if numbers is None else numbers
    return np.concatenate([np.array([kind], dtype=np.int64), rest])


class Inbox:
    """What ranks say to one that they speak to, the root or a rank that speaks for its node. Independent.

    Parameters
    ----------
    ranks
        Who takes part.
    asked
        Is told who sent them, what ranks ask, and which ask no more.
    stop
        Is called when a rank was asked to stop.
    """

    def __init__(
        self, ranks: Ranks, asked: Callable[[int, list[Request], list[int]], None], stop: Callable[[], None]
    ) -> None:
        self._ranks, self._asked, self._stop = ranks, asked, stop
        self.safe: set[int] = set()
        """Who has made its bytes safe."""
        self.gone: set[int] = set()
        """Who has nothing more to say."""

    def listen(self) -> bool:
        """Take one message, if there is one; tell whether there was."""
        message = self._ranks.receive(TO_ROOT)
        if message is None:
            return False
        sender, numbers = message
        kind = int(numbers[0])
        if kind == ASK:
            self._asked(sender, *unpacked(numbers[1:]))
        elif kind == SAFE:
            self.safe.add(sender)
        elif kind == GONE:
            self.gone.add(sender)
        else:
            self._stop()
        return True


class Places(Protocol):
    """Where encoded chunks go, for one rank. Independent; each portion is between ``begin`` and ``finish``."""

    def begin(self, portion: Portion) -> Stretch:
        """Expect that ranks ask for the chunks of a portion; return this rank's part."""

    def serve(self) -> bool:
        """Do something for others, if there is anything to do; tell whether there was."""

    def attend(self) -> bool:
        """Do as ``serve`` while this rank writes: nothing is committed."""

    def of(self, batch: Batch) -> Numbers:
        """Return where the batch's chunks go, and let the stretch that it is of end where others go on with it."""

    def more(self) -> Stretch:
        """Return what this rank, which has done all of its own, can do for another; an empty stretch if nothing."""

    def finish(self) -> None:
        """Return when no rank asks any more, and what was to be committed is."""


class Addresses(Places, Protocol):
    """Places in one file for all ranks, and its commits. Independent."""

    def make_safe(self) -> None:
        """Make this rank's bytes safe."""

    def commit(self, streams: Mapping[int, StreamState]) -> None:
        """Commit what is safe on all ranks, and let others read it."""

    def close(self, streams: Mapping[int, StreamState]) -> None:
        """Commit what is safe on all ranks; nothing is asked for after this."""
