"""The ``Source`` protocol: what a dataset's values can be read from, box by box."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from parnwb.errors import ParnwbError, SourceError
from parnwb.hyperslab import Hyperslab
from parnwb.sources.access import Access


@runtime_checkable
class Source(Protocol):
    """Values of one dataset, read by hyperslab and never held whole. All calls are independent.

    A source that should reach ranks which do not build the NWBFile themselves must pickle to a description
    (a path, an offset), never to the values.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the whole, in elements."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values that ``read`` returns."""

    @property
    def access(self) -> Access:
        """What may be asked for, and in which order."""

    def read(self, slab: Hyperslab) -> npt.NDArray[Any]:
        """Return the values of ``slab``, of shape ``slab.count``; ``slab`` is never empty."""


def read_checked(source: Source, slab: Hyperslab, path: str) -> npt.NDArray[Any]:
    """Read ``slab`` and refuse anything but the announced shape and dtype. Independent.

    Raises
    ------
    SourceError
        The source raised, or what it returned has another shape or dtype; the dataset and the hyperslab
        are named.
    """
    where = slab.place(path)
    try:
        values = source.read(slab)
    except ParnwbError as error:
        error.where = f"{where}, {error.where}" if error.where else where
        raise
    except Exception as error:
        raise SourceError(
            f"the source of a dataset failed while it was read: {type(error).__name__}: {error}",
            where=where,
            remedy=f"Check the source ({type(source).__name__}) by reading this part of it alone",
        ) from error
    if not isinstance(values, np.ndarray):
        raise SourceError(
            f"a source must return an array: asked {slab.count}, got {type(values).__name__}",
            where=where,
            remedy="Let the source convert what it reads with numpy.asarray",
        )
    if values.shape != slab.count:
        raise SourceError(
            f"a source must return the shape it is asked for: asked {slab.count}, got {values.shape}",
            where=where,
            remedy="The source may be truncated, or its announced shape may be wrong",
        )
    if values.dtype != source.dtype:
        raise SourceError(
            f"a source must return the dtype it announces: announced {source.dtype}, got {values.dtype}",
            where=where,
            remedy="Let the source convert, or announce the dtype that it returns",
        )
    return values
