"""Deflate by planes of bytes: the one program here that is our own, in ``planes.c``.

Libraries look for repetitions, which measured numbers hardly have. This one sees what each plane of bytes is and does
the least that it needs; on electrophysiology it is about twice as quick as ISA-L, and smaller than zlib's fourth level.
It is there if a C compiler was when parnwb was installed; where it is not, libraries do all.
"""

from __future__ import annotations

import ctypes
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import numpy.typing as npt

from parnwb.errors import CodecError

LIBRARY = "parnwb.codec._planes"


@cache
def _library() -> ctypes.CDLL | None:
    """Return the compiled functions; None where they are not."""
    found = find_spec(LIBRARY)
    if found is None or found.origin is None:
        return None
    library = ctypes.CDLL(found.origin)
    size, pointer = ctypes.c_size_t, ctypes.c_void_p
    library.parnwb_planes_scratch.restype = size
    library.parnwb_planes_scratch.argtypes = []
    library.parnwb_planes_bound.restype = size
    library.parnwb_planes_bound.argtypes = [size, ctypes.c_uint]
    library.parnwb_planes.restype = size
    library.parnwb_planes.argtypes = [pointer, size, ctypes.c_uint, size, pointer, pointer]
    return library


def available() -> bool:
    """Tell whether this installation has it. Independent."""
    return _library() is not None


class PlaneDeflate:
    """Encodes chunks, one after another. Independent; one thread at a time.

    Parameters
    ----------
    itemsize
        Bytes of an element: so many planes. 1 for bytes that stay in the order in which they are.
    row
        Elements from one to its neighbour in the row before.

    Raises
    ------
    CodecError
        It was not compiled.
    """

    def __init__(self, itemsize: int, row: int) -> None:
        library = _library()
        if library is None:
            raise CodecError(
                "deflate by planes was not compiled when parnwb was installed on this host, but was on the root's",
                remedy="Install parnwb alike on all hosts: with a C compiler (gcc), or from the same wheel",
            )
        self._library, self._itemsize, self._row = library, itemsize, row
        self._scratch = np.empty(library.parnwb_planes_scratch(), dtype=np.uint8)
        self._out = np.empty(0, dtype=np.uint8)

    def compress(self, data: npt.NDArray[np.uint8]) -> bytes:
        """Return a zlib stream of the elements' bytes as HDF5's shuffle filter orders them.

        Parameters
        ----------
        data
            Bytes of whole elements as they lie in memory, 1-d and contiguous.
        """
        count, rest = divmod(data.size, self._itemsize)
        assert not rest and data.flags.c_contiguous
        bound = self._library.parnwb_planes_bound(count, self._itemsize)
        if self._out.size < bound:
            self._out = np.empty(bound, dtype=np.uint8)
        length = self._library.parnwb_planes(
            _address(data), count, self._itemsize, self._row, _address(self._scratch), _address(self._out)
        )
        return self._out[:length].tobytes()


def _address(array: npt.NDArray[Any]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address
