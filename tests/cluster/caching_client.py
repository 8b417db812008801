"""A client of a network file system, as careless as one may be: it keeps whole pages of a file, and writes whole pages.

Each process is a client of its own. A page is read when its first byte is written, and written whole by fsync or close;
what others have put beside those bytes meanwhile is lost.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

PAGE = 65536
pwritev, pread, fsync, close, ftruncate = os.pwritev, os.pread, os.fsync, os.close, os.ftruncate
_pages: dict[int, bytearray] = {}
_partial = ""


def install(output: Path) -> None:
    """Be such a client for the partial file of an output."""
    global _partial
    _partial = str(output) + ".partial"
    os.pwritev, os.pread, os.fsync, os.close, os.ftruncate = _pwritev, _pread, _fsync, _close, _ftruncate


def _is_cached(descriptor: int) -> bool:
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}") == _partial
    except OSError:
        return False


def _page(descriptor: int, number: int) -> bytearray:
    if number not in _pages:
        data = pread(descriptor, PAGE, number * PAGE)
        _pages[number] = bytearray(data + bytes(PAGE - len(data)))
    return _pages[number]


def _pwritev(descriptor: int, pieces: Sequence[Any], address: int) -> int:
    if not _is_cached(descriptor):
        return pwritev(descriptor, pieces, address)
    data = b"".join(bytes(piece) for piece in pieces)
    done = 0
    while done < len(data):
        number, begin = divmod(address + done, PAGE)
        part = data[done : done + PAGE - begin]
        _page(descriptor, number)[begin : begin + len(part)] = part
        done += len(part)
    return len(data)


def _pread(descriptor: int, count: int, address: int) -> bytes:
    if _is_cached(descriptor):
        _flush(descriptor)
    return pread(descriptor, count, address)


def _flush(descriptor: int) -> None:
    for number, page in sorted(_pages.items()):
        pwritev(descriptor, [page], number * PAGE)
    _pages.clear()


def _fsync(descriptor: int) -> None:
    if _is_cached(descriptor):
        _flush(descriptor)
    fsync(descriptor)


def _close(descriptor: int) -> None:
    if _is_cached(descriptor):
        _flush(descriptor)
    close(descriptor)


def _ftruncate(descriptor: int, size: int) -> None:
    if _is_cached(descriptor):
        _flush(descriptor)
    ftruncate(descriptor, size)
