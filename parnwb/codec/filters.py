"""HDF5's registered filters that parnwb applies by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

DEFLATE = 1
SHUFFLE = 2
FLETCHER32 = 3


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
    np.copyto(out.reshape(itemsize, -1), data.reshape(-1, itemsize).T)
    return out


def fletcher32(data: Any) -> bytes:
    """Return HDF5's Fletcher checksum of ``data``, the four bytes that the filter appends."""
    from numcodecs.fletcher32 import Fletcher32

    return bytes(Fletcher32().encode(data)[-4:])
