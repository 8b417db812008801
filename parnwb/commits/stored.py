"""The stored bytes of chunks, read back and compared with their checksums by all ranks, each its share."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from parnwb.comm import Ranks
from parnwb.commits.journal import Records, crc32c, no_records
from parnwb.errors import StorageError
from parnwb.progress import Counting

PIECE_BYTES = 4 * 1024 * 1024  # read at once
SENT_ROWS = 1 << 16  # records that are sent at once: 3 MiB


def own_share(ranks: Ranks, records: Records) -> Records:
    """Return this rank's part of the root's records: a run of the file, with as many bytes as the others'. Collective.

    They are sent in pieces, so that no rank but the root ever holds all of them.

    Parameters
    ----------
    records
        As the journal has them, in any order; looked at on the root only.
    """
    ordered = records[np.argsort(records[:, 2], kind="stable")]
    ends = np.cumsum(ordered[:, 3])
    total = int(ends[-1]) if len(ends) else 0
    limits = [total * rank // ranks.size for rank in range(ranks.size)]
    bounds = ranks.broadcast([*np.searchsorted(ends - ordered[:, 3], limits).tolist(), len(ordered)])
    low, high = bounds[ranks.rank], bounds[ranks.rank + 1]
    own = [no_records()]
    for begin in range(0, bounds[-1], SENT_ROWS):
        piece = ranks.broadcast(ordered[begin : begin + SENT_ROWS])
        own.append(piece[max(0, low - begin) : max(0, high - begin)].copy())
    return np.concatenate(own)


def damaged(path: Path, records: Records, look_up: Callable[[], None], told: Counting) -> Records:
    """Return the records whose bytes in the file are not those that were written. Independent.

    The kernel's copy is dropped first as far as it is clean, and the disk is read, some MiB at once.

    Parameters
    ----------
    records
        As the journal has them: dataset, position, address, stored bytes, filter mask, CRC-32C.
    look_up
        Called between reads; may raise.
    told
        Is told of the bytes that were read.

    Raises
    ------
    StorageError
        The file cannot be opened or read; the address and the reason are named.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise _unreadable(path, "opening", error) from error
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        wrong = []
        for number, (address, nbytes, checksum) in enumerate(records[:, [2, 3, 5]]):
            look_up()
            if _checksum(path, descriptor, int(address), int(nbytes)) != checksum:
                wrong.append(number)
            told.advance(int(nbytes), 0)
        return records[wrong]
    finally:
        os.close(descriptor)


def _checksum(path: Path, descriptor: int, address: int, nbytes: int) -> int | None:
    """Return the CRC-32C of a run of the file; None if the file ends within it."""
    checksum, end = 0, address + nbytes
    while address < end:
        try:
            piece = os.pread(descriptor, min(PIECE_BYTES, end - address), address)
        except OSError as error:
            raise _unreadable(path, f"reading at byte {address}", error) from error
        if not piece:
            return None
        checksum = crc32c(piece, checksum)
        address += len(piece)
    return checksum


def _unreadable(path: Path, doing: str, error: OSError) -> StorageError:
    return StorageError(f"{doing} failed: {error.strerror}", where=str(path), remedy="Check the file system")
