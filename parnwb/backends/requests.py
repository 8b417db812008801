"""``Request``: the chunks for which a rank wants addresses, and how requests of several ranks travel in one message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from parnwb.backends.encoder import REQUEST_COLUMNS

Numbers = npt.NDArray[np.int64]
HEAD_COLUMNS = 5


@dataclass(frozen=True, eq=False)
class Request:
    """What one rank asks.

    Parameters
    ----------
    rank
        Who asks.
    rows
        A row of ``REQUEST_COLUMNS`` numbers for each chunk.
    raw_bytes
        Uncompressed bytes of these chunks.
    behind
        Number of the first part of a buffer behind these; below zero for who has done all and asks for more.
    high
        Where this stretch ends, as far as who asks knows.
    """

    rank: int
    rows: Numbers
    raw_bytes: int
    behind: int
    high: int

    @classmethod
    def for_work(cls, rank: int) -> Request:
        """Return what a rank asks that has nothing left to do."""
        return cls(rank, np.empty((0, REQUEST_COLUMNS), dtype=np.int64), 0, -1, 0)

    @property
    def is_for_work(self) -> bool:
        """Whether it asks for something to do, and not for addresses."""
        return self.behind < 0


REPLY_TAIL = 5
"""Numbers behind the addresses of a reply: the rest of the stretch that the asking rank is on, or a new one."""


def packed(requests: Sequence[Request], finished: Sequence[int]) -> Numbers:
    """Return as integers what some ranks ask, and which ask no more. Independent."""
    heads = [number for r in requests for number in (r.rank, len(r.rows), r.raw_bytes, r.behind, r.high)]
    head = np.array([len(requests), len(finished), *finished, *heads], dtype=np.int64)
    return np.concatenate([head, *(request.rows.reshape(-1) for request in requests)])


def unpacked(numbers: Numbers) -> tuple[list[Request], list[int]]:
    """Return what ``packed`` was given. Independent."""
    count, ended = int(numbers[0]), int(numbers[1])
    begin = 2 + ended + HEAD_COLUMNS * count
    heads = numbers[2 + ended : begin].reshape(-1, HEAD_COLUMNS).tolist()
    rows = numbers[begin:].reshape(-1, REQUEST_COLUMNS)
    requests, low = [], 0
    for rank, chunks, *others in heads:
        requests.append(Request(rank, rows[low : low + chunks], *others))
        low += chunks
    return requests, numbers[2 : 2 + ended].tolist()
