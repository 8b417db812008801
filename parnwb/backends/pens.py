"""Who writes encoded chunks to the file: the rank itself, or another one to which it sends them.

A rank that sends waits until they are written, so that whoever waits for addresses has nothing under way: commits rely
on that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from parnwb.backends.backend import Job
from parnwb.backends.encoder import Batch
from parnwb.comm import Aside
from parnwb.target import FileBytes

PAYLOAD, WRITTEN = 3, 4  # tags
LETTER_BYTES = 16 * 1024 * 1024
"""Sent at once, at most, beside their addresses."""

Numbers = npt.NDArray[np.int64]
Piece = tuple[int, Any]  # address and bytes


class Pen(Protocol):
    """Writes this rank's chunks. Independent."""

    def write(self, batch: Batch, addresses: Numbers, aside: Aside, meanwhile: Callable[[], bool]) -> None:
        """Return when they are in the file, though perhaps not safe yet.

        Parameters
        ----------
        aside
            The thread that writes to the file, while this one does ``meanwhile``.
        """

    def serve(self) -> bool:
        """Write for another rank, if one asks; tell whether one has."""


class OwnPen:
    """Writes to the file, and for others where this rank does.

    Parameters
    ----------
    job
        What is written, and who writes.
    disk
        The file.
    """

    def __init__(self, job: Job, disk: FileBytes) -> None:
        self._ranks, self._target, self._disk = job.ranks, job.target, disk
        self._serves = job.writers is not None and job.writers.served_by(job.ranks.rank)

    def write(self, batch: Batch, addresses: Numbers, aside: Aside, meanwhile: Callable[[], bool]) -> None:
        """Write with as few calls as can be."""
        self._target.check_now_and_then()
        aside.do(f"writing {batch.place}", lambda: write_pieces(_by_address(batch, addresses), self._disk), meanwhile)

    def serve(self) -> bool:
        """Write one letter, and say that it is written."""
        if not self._serves or (letter := self._ranks.receive(PAYLOAD, dtype=np.uint8)) is None:
            return False
        sender, data = letter
        with self._ranks.doing(f"writing for rank {sender}"):
            self._target.check_now_and_then()
            write_pieces(_opened(data), self._disk)
        self._ranks.send(np.zeros(1, dtype=np.int64), sender, WRITTEN)
        return True


class LentPen:
    """Has another rank write.

    Parameters
    ----------
    job
        What is written, and who writes.
    """

    def __init__(self, job: Job) -> None:
        assert job.writers is not None
        self._ranks, self._writer = job.ranks, job.writers.of[job.ranks.rank]

    def write(self, batch: Batch, addresses: Numbers, aside: Aside, meanwhile: Callable[[], bool]) -> None:
        """Send letter after letter, each when the last one is written."""
        for letter in _letters(_by_address(batch, addresses)):
            self._ranks.step(f"sending {batch.place} to rank {self._writer}")
            self._ranks.send(letter, self._writer, PAYLOAD)
            self._ranks.wait_until(lambda: self._ranks.receive(WRITTEN, source=self._writer) is not None, meanwhile)

    def serve(self) -> bool:
        """Do nothing."""
        return False


def pen_of(job: Job, disk: FileBytes) -> Pen:
    """Return what this rank writes with. Independent."""
    lent = job.writers is not None and job.writers.of[job.ranks.rank] != job.ranks.rank
    return LentPen(job) if lent else OwnPen(job, disk)


def write_pieces(pieces: Iterable[Piece], disk: FileBytes) -> None:
    """Write pieces that come by address, neighbours in the file with one call. Independent."""
    run: list[Any] = []
    begin = end = 0
    for address, data in pieces:
        if run and address != end:
            disk.write_at(run, begin)
            run = []
        if not run:
            begin = address
        run.append(data)
        end = address + len(data)
    if run:
        disk.write_at(run, begin)


def _by_address(batch: Batch, addresses: Numbers) -> Iterator[Piece]:
    for number in np.argsort(addresses, kind="stable"):
        yield int(addresses[number]), memoryview(batch.payloads[number]).cast("B")


def _letters(pieces: Iterator[Piece]) -> Iterator[npt.NDArray[np.uint8]]:
    """Put pieces together, and cut those that are too long."""
    cut = (
        (address + begin, data[begin : begin + LETTER_BYTES])
        for address, data in pieces
        for begin in range(0, len(data), LETTER_BYTES)
    )
    held: list[Piece] = []
    size = 0
    for address, data in cut:
        if held and size + len(data) > LETTER_BYTES:
            yield _closed(held, size)
            held, size = [], 0
        held.append((address, data))
        size += len(data)
    if held:
        yield _closed(held, size)


def _closed(pieces: Sequence[Piece], size: int) -> npt.NDArray[np.uint8]:
    """Return pieces as bytes: their number, address and length of each, and what is in them."""
    numbers = [len(pieces), *chain.from_iterable((address, len(data)) for address, data in pieces)]
    head = np.array(numbers, dtype=np.int64).view(np.uint8)
    letter = np.empty(len(head) + size, dtype=np.uint8)
    letter[: len(head)] = head
    place = len(head)
    for _, data in pieces:
        letter[place : place + len(data)] = np.frombuffer(data, dtype=np.uint8)
        place += len(data)
    return letter


def _opened(letter: npt.NDArray[np.uint8]) -> list[Piece]:
    count = int(letter[:8].view(np.int64)[0])
    head = letter[8 : 8 + 16 * count].view(np.int64).reshape(count, 2)
    pieces, place = [], 8 + 16 * count
    for address, length in head.tolist():
        pieces.append((address, letter[place : place + length].data))
        place += length
    return pieces
