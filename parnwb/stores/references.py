"""References in stores, which hdmf-zarr pickles: read without running what a store says should be run.

numcodecs refuses to decode pickles unless a process opts in, because they can execute any code. Nothing is opted into
here: while a store is read its pickles are decoded by an unpickler that can make arrays and references, nothing else.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numcodecs.pickles import Pickle

MODULES = ("numpy", "numpy.core.multiarray", "numpy._core.multiarray", "numpy._core.numeric", "numpy.core.numeric")
NAMES = ("ndarray", "dtype", "_reconstruct", "scalar", "_frombuffer")
REFERENCE = ("hdmf_zarr.utils", "ZarrReference")


class KnownThings(pickle.Unpickler):
    """Makes numpy's arrays and hdmf-zarr's references, which are dictionaries of text."""

    def find_class(self, module: str, name: str) -> Any:
        """Return one of the classes and functions that these are made by.

        Raises
        ------
        pickle.UnpicklingError
            It is another one.
        """
        if (module in MODULES and name in NAMES) or (module, name) == REFERENCE:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"a store holds arrays and references, and this pickle wants {module}.{name}")


@contextmanager
def known_pickles() -> Iterator[None]:
    """Let the pickles of stores be decoded by ``KnownThings``. Independent; for all threads meanwhile."""
    original = Pickle.decode
    Pickle.decode = _decode
    try:
        yield
    finally:
        Pickle.decode = original


def _decode(codec: Pickle, buf: Any, out: Any = None) -> Any:
    decoded = KnownThings(io.BytesIO(memoryview(buf).cast("B"))).load()
    if out is None:
        return decoded
    np.copyto(out, decoded)
    return out
