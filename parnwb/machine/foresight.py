"""``Foresight``: the kernel is told which parts of files will be read next, and fetches them meanwhile."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue

STEP_BYTES = 128 * 1024
"""What one call announces. Of more, Linux fetches no more than the larger of a device's largest request and its own
read-ahead, and forgets the rest without a word; 128 KiB is the usual read-ahead, the least of those in use."""


@dataclass(frozen=True)
class FileRange:
    """A run of bytes of an open file.

    Parameters
    ----------
    descriptor
        Of the file.
    offset
        Of the first byte.
    nbytes
        How many.
    """

    descriptor: int
    offset: int
    nbytes: int

    def steps(self) -> Iterable[FileRange]:
        """Iterate over pieces of which each can be announced by one call. Independent."""
        end = self.offset + self.nbytes
        for begin in range(self.offset, end, STEP_BYTES):
            yield FileRange(self.descriptor, begin, min(STEP_BYTES, end - begin))


def first_bytes(ranges: Iterable[FileRange], limit: int) -> Iterator[FileRange]:
    """Iterate over the first ``limit`` bytes of ranges. Independent."""
    for item in ranges:
        nbytes = min(item.nbytes, limit)
        if nbytes:
            yield FileRange(item.descriptor, item.offset, nbytes)
        limit -= nbytes


class Foresight:
    """Announces in a thread, so that nobody waits where a device's queue is full. Independent.

    Use as a context manager. What is fetched lies in the kernel's cache of pages, which it drops where memory is short.
    File systems that keep no pages, or none ahead, ignore it. A call that hangs, because a file server does not answer,
    may outlast the context and its descriptors: it is advice, and does no harm to another file of that number.
    """

    def __init__(self) -> None:
        self._coming: SimpleQueue[Sequence[FileRange] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="parnwb-foresight", daemon=True)

    def __enter__(self) -> Foresight:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._coming.put(None)
        self._thread.join(timeout=1)  # a file server that answers no more must not hold a job that fails for it

    def announce(self, ranges: Sequence[FileRange]) -> None:
        """Say what will be read next; whatever is left of the announcement before is dropped."""
        if ranges:
            self._coming.put(ranges)

    def _run(self) -> None:
        while (ranges := self._coming.get()) is not None:
            for step in (step for item in ranges for step in item.steps()):
                if not self._coming.empty():  # reading has passed these
                    break
                fetch(step)


def fetch(step: FileRange) -> None:
    """Ask the kernel to fetch bytes, which it does on its own. Independent; never an error: reading finds those."""
    if hasattr(os, "posix_fadvise"):
        try:
            os.posix_fadvise(step.descriptor, step.offset, step.nbytes, os.POSIX_FADV_WILLNEED)
        except OSError:
            pass
