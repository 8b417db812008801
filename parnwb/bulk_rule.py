"""``BulkRule``: which data of an NWBFile all ranks fill. Ranks that have no NWBFile import it without hdmf."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from parnwb.element import NUMERIC_KINDS, is_self_contained
from parnwb.errors import ParnwbError
from parnwb.resident import Resident
from parnwb.sources.raw_chunks import is_plain
from parnwb.sources.zarr import is_zarr_array

if TYPE_CHECKING:
    import h5py
    from hdmf.build import Builder, DatasetBuilder

DEFAULT_THRESHOLD_BYTES = 64 * 1024


@dataclass(frozen=True)
class BulkRule:
    """What is filled by all ranks instead of riding with the skeleton.

    Parameters
    ----------
    threshold
        Arrays (of numpy or Zarr), lists and copied HDF5 datasets of at least so many bytes in the file are bulk if each
        element is all there is to write (``parnwb.element.is_self_contained``): numbers, booleans, compound values of
        these. Iterators over such elements, and data that are spread over ranks, always are. Text and references, which
        only HDF5 can place, never are.
    link_data
        What becomes of an ``h5py.Dataset`` that is not wrapped: True links to it, False copies it.
    export_source
        The file that is exported: its datasets are copied all the same where they keep their place.
    """

    threshold: int = DEFAULT_THRESHOLD_BYTES
    link_data: bool = True
    export_source: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.threshold, bool) or not isinstance(self.threshold, int) or self.threshold < 0:
            raise ParnwbError(f"bulk_threshold must be a number of bytes, 0 or more, got {self.threshold!r}")

    def applies(self, builder: DatasetBuilder) -> bool:
        """Tell whether the data of ``builder`` are bulk."""
        import h5py
        from hdmf.data_utils import AbstractDataChunkIterator

        data = unwrapped(builder.data)
        if isinstance(data, Resident):
            return True
        if isinstance(data, AbstractDataChunkIterator):  # those of text, say, are drained where metadata are written
            return is_self_contained(np.dtype(data.dtype))
        if isinstance(data, h5py.Dataset):
            is_copied = not self._is_linked(builder) or self._is_exported(builder, data)
            return is_copied and self._is_large(data.shape, data.dtype) and is_plain(data)
        if is_array(data):
            return _is_array_of_its_elements(data, builder.dtype) and self._is_large(data.shape, data.dtype)
        if isinstance(data, list | tuple):
            dtype = listed_dtype(data, builder.dtype)
            return dtype is not None and self._is_large(listed_shape(data, dtype), dtype)
        return False

    def _is_linked(self, builder: DatasetBuilder) -> bool:
        from hdmf.data_utils import DataIO

        own = getattr(builder.data, "link_data", None) if isinstance(builder.data, DataIO) else None
        return self.link_data if own is None else bool(own)

    def _is_exported(self, builder: DatasetBuilder, data: h5py.Dataset) -> bool:
        """Tell whether a dataset is copied by an export, as hdmf decides it."""
        if self.export_source is None or os.path.abspath(data.file.filename) != self.export_source:
            return False
        return (location(builder).rpartition("/")[0] or "/") == data.parent.name

    def _is_large(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
        large = math.prod(shape) * dtype.itemsize >= self.threshold
        return large and len(shape) > 0 and is_self_contained(dtype)


def _is_array_of_its_elements(array: npt.NDArray[Any], dtype: Any) -> bool:
    """Tell whether hdmf writes an array element by element: a plain one, or compound values to a compound type.

    It makes text of variable length of fixed-length text; a plain array becomes something else in a compound type.
    """
    is_compound = isinstance(dtype, list) or getattr(dtype, "names", None) is not None
    return array.dtype.names is not None if is_compound else array.dtype.kind in NUMERIC_KINDS


def listed_dtype(items: Sequence[Any], dtype: Any) -> np.dtype[Any] | None:
    """Return the type that hdmf gives to the dataset of a list; None where it finds none. Independent.

    Parameters
    ----------
    items
        The list.
    dtype
        Of its builder.
    """
    from hdmf.backends.hdf5 import HDF5IO

    try:
        # hdmf looks at the first item where the schema says nothing.
        return np.dtype(dtype if isinstance(dtype, type) else HDF5IO.__resolve_dtype__(dtype, items))
    except (TypeError, ValueError):
        return None


def listed_shape(items: Sequence[Any], dtype: np.dtype[Any]) -> tuple[int, ...]:
    """Return the shape of the dataset of a list; a tuple in it may be one compound value. Independent."""
    from hdmf.utils import get_data_shape

    return (len(items),) if dtype.names is not None else tuple(get_data_shape(items))


def is_array(data: Any) -> bool:
    """Tell whether hdmf converts the dtype of such data, where they are bare, as numpy does. Independent."""
    return isinstance(data, np.ndarray) or is_zarr_array(data)


def location(builder: Builder) -> str:
    """Return the path that a builder's object gets in the file."""
    names = []
    current: Any = builder
    while current.parent is not None:
        names.append(current.name)
        current = current.parent
    return "/" + "/".join(reversed(names))


def unwrapped(data: Any) -> Any:
    """Return the data inside a ``DataIO``, or the data themselves."""
    from hdmf.data_utils import DataIO

    return data.data if isinstance(data, DataIO) else data
