"""HDF5's registered filters that parnwb applies by itself."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

DEFLATE = 1
SHUFFLE = 2
FLETCHER32 = 3
NUMCODECS = -1
"""No filter of HDF5 but a codec of numcodecs, in a Zarr array. Its configuration is the filter's name, as JSON."""
WINDOW = 32 * 1024  # how far back deflate may refer
PAIRS_AT_ONCE = 32 * 1024  # they and their bytes stay in the nearest cache


def shuffle(data: npt.NDArray[np.uint8], itemsize: int, out: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Put all first bytes of the elements first, then all second bytes, and so on.

    Parameters
    ----------
    data
        Bytes of whole elements, 1-d.
    itemsize
        Bytes of an element.
    out
        As many bytes, overwritten and returned.
    """
    planes = out.reshape(itemsize, -1)
    if itemsize == 2:
        _split_pairs(data.view("<u2"), planes)
    else:
        np.copyto(planes, data.reshape(-1, itemsize).T)
    return out


def _split_pairs(pairs: npt.NDArray[np.uint16], planes: npt.NDArray[np.uint8]) -> None:
    """Put low bytes and high bytes apart; casting numbers is twice as quick as copying every second byte."""
    for low in range(0, len(pairs), PAIRS_AT_ONCE):
        part = slice(low, low + PAIRS_AT_ONCE)
        np.copyto(planes[0, part], pairs[part], casting="unsafe")
        np.copyto(planes[1, part], pairs[part] >> 8, casting="unsafe")


def unshuffle(data: npt.NDArray[np.uint8], itemsize: int, out: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Undo ``shuffle``; the parameters are the same."""
    planes = data.reshape(itemsize, -1)
    if itemsize == 2:
        _join_pairs(planes, out.view("<u2"))
        return out
    elements = out.reshape(-1, itemsize)
    for low in range(0, len(elements), PAIRS_AT_ONCE):
        part = slice(low, low + PAIRS_AT_ONCE)
        for place in range(itemsize):
            elements[part, place] = planes[place, part]
    return out


def _join_pairs(planes: npt.NDArray[np.uint8], pairs: npt.NDArray[np.uint16]) -> None:
    for low in range(0, len(pairs), PAIRS_AT_ONCE):
        part = slice(low, low + PAIRS_AT_ONCE)
        np.left_shift(planes[1, part], np.uint16(8), out=pairs[part], dtype=np.uint16)
        np.bitwise_or(pairs[part], planes[0, part], out=pairs[part])


def fletcher32(data: Any) -> bytes:
    """Return HDF5's Fletcher checksum of ``data``, the four bytes that the filter appends."""
    from numcodecs.fletcher32 import Fletcher32

    return bytes(Fletcher32().encode(data)[-4:])


def row_length(chunk: tuple[int, ...]) -> int:
    """Return how many elements of a chunk lie between one and its neighbour in the row before, within deflate's reach.

    That is the same channel a sample earlier, or the pixel above.
    """
    length = math.prod(chunk[1:])
    return length if length <= WINDOW else chunk[-1]
