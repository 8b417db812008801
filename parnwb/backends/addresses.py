"""Addresses by request and reply, and the commits that ride on them.

A rank asks for addresses when it has written all that it asked for before; so a rank that waits for a reply stands
still, and when all do, or have finished, what has been placed has been written. The root answers also while it writes
itself, in a thread, but commits only when it does not. A commit waits for that moment, lets
every rank make its bytes safe, appends a frame to the journal, and only then answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np

from parnwb.backends.backend import Portion
from parnwb.backends.encoder import Batch
from parnwb.backends.requests import Numbers
from parnwb.backends.stretch import Stretch
from parnwb.commits.journal import StreamState

TO_ROOT, FROM_ROOT = 1, 2  # tags
ASK, SAFE, STOP, GONE = 0, 1, 2, 3  # first number of a message to the root
HERE, MAKE_SAFE, ALL_FINISHED = 0, 1, 2  # first number of a message from the root


def message_of(kind: int, numbers: Numbers | None = None) -> Numbers:
    """Return a message: its kind, and what belongs to it. Independent."""
    rest = np.empty(0, dtype=np.int64) if numbers is None else numbers
    return np.concatenate([np.array([kind], dtype=np.int64), rest])


class Addresses(Protocol):
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

    def make_safe(self) -> None:
        """Make this rank's bytes safe."""

    def commit(self, streams: Mapping[int, StreamState]) -> None:
        """Commit what is safe on all ranks, and let others read it."""

    def close(self, streams: Mapping[int, StreamState]) -> None:
        """Commit what is safe on all ranks; nothing is asked for after this."""
