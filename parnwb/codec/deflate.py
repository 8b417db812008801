"""Deflate by several programs. Each writes a zlib stream that every reader's zlib decodes.

A ``Coder`` compresses bytes in the order in which they come; a ``Deflater`` compresses chunks, shuffled or not.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from parnwb.codec.filters import shuffle
from parnwb.codec.planes import PlaneDeflate
from parnwb.errors import CodecError

Bytes = Any  # whatever supports the buffer protocol
PLANES = "planes-1"
"""The coder that needs to know how numbers lie in a chunk, and shuffles by itself."""
MAX_MEM_LEVEL = 9  # of zlib: larger blocks, fewer tables
# Where so many of the places that are looked at begin a run of equal bytes, runs are looked for.
LOOK_EVERY_BYTES, RUN_BYTES, SHARE_OF_RUNS = 4096, 32, 0.02


@dataclass(frozen=True)
class Coder:
    """One program at one of its levels.

    Parameters
    ----------
    name
        ``program-level``.
    level
        What the file's deflate filter records, 0 to 9; readers do not need it.
    """

    name: str
    level: int
    compress: Callable[[Bytes], Bytes]


class Deflater(Protocol):
    """Compresses chunks of one dataset. Independent; one thread at a time."""

    def compress(self, data: npt.NDArray[np.uint8]) -> Bytes:
        """Return a zlib stream of a chunk's bytes; it stays valid after the next call."""


def open_deflater(name: str, *, shuffled_itemsize: int = 1, row: int = 1) -> Deflater:
    """Return what the coder called ``name`` makes of chunks.

    Parameters
    ----------
    name
        As for ``coder``, or ``planes-1``.
    shuffled_itemsize
        Bytes of an element where HDF5's shuffle filter comes first; 1 where it does not.
    row
        Elements from one to its neighbour in the row before; bytes where they are not shuffled.

    Raises
    ------
    CodecError
        There is no such program or level.
    """
    if name == PLANES:
        return PlaneDeflate(shuffled_itemsize, row)
    found = coder(name)
    return found if shuffled_itemsize == 1 else _Shuffled(found, shuffled_itemsize)


class _Shuffled:
    """Shuffles into memory of its own before it compresses."""

    def __init__(self, coder: Coder, itemsize: int) -> None:
        self._coder, self._itemsize = coder, itemsize
        self._planes = np.empty(0, dtype=np.uint8)

    def compress(self, data: npt.NDArray[np.uint8]) -> Bytes:
        if self._planes.size != data.size:
            self._planes = np.empty(data.size, dtype=np.uint8)
        return self._coder.compress(shuffle(data, self._itemsize, self._planes))


def level_of(name: str) -> int:
    """Return the level that the file's deflate filter records for a coder."""
    return 1 if name == PLANES else coder(name).level


@cache
def coder(name: str) -> Coder:
    """Return the coder called ``name``: ``isal-1``, ``huffman-1``, ``libdeflate-4``, ``zlib-6``, ...

    Raises
    ------
    CodecError
        There is no such program or level.
    """
    program, _, digits = name.partition("-")
    if not digits.isdigit() or not 0 <= int(digits) <= 9:
        raise CodecError(f"a deflate coder is named program-level with a level of 0 to 9, got {name!r}")
    level = int(digits)
    if program == "zlib":
        return Coder(name, level, lambda data: zlib.compress(data, level))
    if program == "isal" and level <= 3:
        from isal import isal_zlib

        return Coder(name, level, lambda data: isal_zlib.compress(data, level))
    if program == "libdeflate" and level >= 1:
        import deflate

        return Coder(name, level, lambda data: deflate.zlib_compress(data, level))
    if program == "zlibng" and level >= 2:
        from zlib_ng import zlib_ng

        return Coder(name, level, lambda data: zlib_ng.compress(data, level))
    if name == "huffman-1":
        return Coder(name, level, _huffman_only)
    raise CodecError(
        "deflate coders are isal-0 to -3, huffman-1, libdeflate-1 to -9, zlibng-2 to -9 and zlib-0 to -9, "
        f"got {name!r}"
    )


def _huffman_only(data: Bytes) -> bytes:
    """Give each byte a code by how frequent it is, and look for no repetitions.

    The low bytes of noise have none, the high bytes few values: shuffled first, low-count recordings get as small as
    by zlib's fourth level, in a sixth of the time. Runs of one byte would cost a bit for each: the padding of a chunk
    at the data's end, or channels that are silent, are taken as runs.
    """
    from zlib_ng import zlib_ng

    strategy = zlib_ng.Z_RLE if _has_runs(data) else zlib_ng.Z_HUFFMAN_ONLY
    stream = zlib_ng.compressobj(1, zlib_ng.DEFLATED, zlib.MAX_WBITS, MAX_MEM_LEVEL, strategy)
    return b"".join((stream.compress(data), stream.flush()))


def _has_runs(data: Bytes) -> bool:
    octets = np.frombuffer(data, np.uint8)
    starts = np.arange(0, len(octets) - RUN_BYTES + 1, LOOK_EVERY_BYTES)
    looked_at = octets[starts[:, None] + np.arange(RUN_BYTES)]
    return bool((looked_at == looked_at[:, :1]).all(axis=1).sum() > SHARE_OF_RUNS * len(starts))
