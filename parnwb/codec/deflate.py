"""Deflate by several programs. Each writes a zlib stream that every reader's zlib decodes."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from parnwb.errors import CodecError

Bytes = Any  # whatever supports the buffer protocol
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
