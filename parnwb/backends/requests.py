"""``Request``: the chunks for which a rank wants addresses, and how requests of several ranks travel in one message."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from parnwb.backends.encoder import REQUEST_COLUMNS

Numbers = npt.NDArray[np.int64]


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
    """

    rank: int
    rows: Numbers
    raw_bytes: int


def packed(requests: Sequence[Request], finished: Sequence[int]) -> Numbers:
    """Return as integers what some ranks ask, and which ask no more. Independent."""
    heads = [number for r in requests for number in (r.rank, len(r.rows), r.raw_bytes)]
    head = np.array([len(requests), len(finished), *finished, *heads], dtype=np.int64)
    return np.concatenate([head, *(request.rows.reshape(-1) for request in requests)])


def unpacked(numbers: Numbers) -> tuple[list[Request], list[int]]:
    """Return what ``packed`` was given. Independent."""
    count, ended = int(numbers[0]), int(numbers[1])
    heads = numbers[2 + ended : 2 + ended + 3 * count].reshape(-1, 3).tolist()
    rows = numbers[2 + ended + 3 * count :].reshape(-1, REQUEST_COLUMNS)
    requests, low = [], 0
    for rank, chunks, raw_bytes in heads:
        requests.append(Request(rank, rows[low : low + chunks], raw_bytes))
        low += chunks
    return requests, numbers[2 : 2 + ended].tolist()
