"""Deflate by several programs. Each writes a zlib stream that every reader's zlib decodes."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from parnwb.errors import CodecError

Bytes = Any  # whatever supports the buffer protocol
MAX_MEM_LEVEL = 9  # of zlib: larger blocks, fewer tables


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
    by zlib's fourth level, in a sixth of the time.
    """
    from zlib_ng import zlib_ng

    stream = zlib_ng.compressobj(1, zlib_ng.DEFLATED, zlib.MAX_WBITS, MAX_MEM_LEVEL, zlib_ng.Z_HUFFMAN_ONLY)
    return b"".join((stream.compress(data), stream.flush()))
