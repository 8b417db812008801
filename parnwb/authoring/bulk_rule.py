"""``BulkRule``: which data of an NWBFile all ranks fill. Ranks that have no NWBFile import it without hdmf."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from parnwb.builders import found_at, location, root_of, unwrapped
from parnwb.element import NUMERIC_KINDS, is_self_contained
from parnwb.errors import ParnwbError
from parnwb.links.policy import check_policy
from parnwb.resident.data import Resident
from parnwb.sources.raw_chunks import is_outside, is_plain
from parnwb.sources.zarr import is_zarr_array

if TYPE_CHECKING:
    import h5py
    from hdmf.build import DatasetBuilder

    from parnwb.sources.binary import BinarySource

DEFAULT_THRESHOLD_BYTES = 64 * 1024


@dataclass(frozen=True)
class BulkRule:
    """What is filled by all ranks instead of riding with the skeleton.

    Parameters
    ----------
    threshold
        Arrays (of numpy or Zarr), lists and copied HDF5 datasets of at least so many bytes in the file are bulk if each
        element is all there is to write (``parnwb.element.is_self_contained``): numbers, booleans, compound values of
        these. Iterators over such elements, data that are spread over ranks, and copied HDF5 datasets whose values are
        in other files, always are. Text and references, which only HDF5 can place, never are.
    link_data
        What becomes of an ``h5py.Dataset`` that is not wrapped: True links to it, False copies it.
    export_source
        The file that is exported: its datasets are copied all the same where they keep their place, or where nothing
        keeps it.
    on_mismatch
        What becomes of links to datasets that are not what the container says: ``'raise'``, ``'warn'`` or ``'copy'``.
    no_copy
        Whether data in flat binary files stay there, as HDF5's external storage.
    """

    threshold: int = DEFAULT_THRESHOLD_BYTES
    link_data: bool = True
    export_source: str | None = None
    on_mismatch: str = "raise"
    no_copy: bool = False

    def __post_init__(self) -> None:
        check_policy(self.on_mismatch)
        for name in ("link_data", "no_copy"):
            if not isinstance(getattr(self, name), bool):
                raise ParnwbError(f"{name} must be True or False, got {getattr(self, name)!r}")
        if isinstance(self.threshold, bool) or not isinstance(self.threshold, int) or self.threshold < 0:
            raise ParnwbError(f"bulk_threshold must be a number of bytes, 0 or more, got {self.threshold!r}")

    def applies(self, builder: DatasetBuilder) -> bool:
        """Tell whether the data of ``builder`` are bulk."""
        import h5py
        from hdmf.data_utils import AbstractDataChunkIterator

        data = unwrapped(builder.data)
        if self.left_in_place(builder) is not None:
            return False
        if isinstance(data, Resident):
            return True
        if isinstance(data, AbstractDataChunkIterator):  # those of text, say, are drained where metadata are written
            return is_self_contained(np.dtype(data.dtype))
        if isinstance(data, h5py.Dataset):
            if not self.is_copied(builder):
                return False
            # HDF5 would copy none of these as they must be: with other settings, another type, or from other files.
            is_anew = is_outside(data) or bool(self.asked_settings(builder)) or self.is_mended(builder)
            is_fillable = is_outside(data) or is_plain(data)
            return self._is_large(data.shape, data.dtype, 0 if is_anew else None) and is_fillable
        if is_array(data):
            return _is_array_of_its_elements(data, builder.dtype) and self._is_large(data.shape, data.dtype)
        if isinstance(data, list | tuple):
            dtype = listed_dtype(data, builder.dtype)
            return dtype is not None and self._is_large(listed_shape(data, dtype), dtype)
        return False

    def left_in_place(self, builder: DatasetBuilder) -> BinarySource | None:
        """Return the flat file in which data stay; None if they do not."""
        from parnwb.links.raw import flat_file

        source = flat_file(builder) if self.no_copy else None
        return source if source is not None and self._is_large(source.shape, source.dtype) else None

    def is_linked(self, builder: DatasetBuilder) -> bool:
        """Tell whether hdmf makes a link of a dataset, as it was asked to."""
        import h5py
        from hdmf.data_utils import DataIO

        data = unwrapped(builder.data)
        if not isinstance(data, h5py.Dataset) or self._is_exported(builder, data):
            return False
        own = getattr(builder.data, "link_data", None) if isinstance(builder.data, DataIO) else None
        return self.link_data if own is None else bool(own)

    def is_copied(self, builder: DatasetBuilder) -> bool:
        """Tell whether the values of an HDF5 dataset come into the file."""
        import h5py

        is_dataset = isinstance(unwrapped(builder.data), h5py.Dataset)
        return is_dataset and (not self.is_linked(builder) or self.is_mended(builder))

    @staticmethod
    def asked_settings(builder: DatasetBuilder) -> dict[str, Any]:
        """Return with which settings an HDF5 dataset is to be written anew; nothing for one that is as it is."""
        import h5py
        from hdmf.data_utils import DataIO

        if not isinstance(builder.data, DataIO) or not isinstance(unwrapped(builder.data), h5py.Dataset):
            return {}
        return {name: value for name, value in builder.data.io_settings.items() if value is not None}

    def is_mended(self, builder: DatasetBuilder) -> bool:
        """Tell whether a dataset is copied because a link to it would not be what the container says."""
        if self.on_mismatch != "copy":
            return False
        from parnwb.links.attributes import mismatches

        return self.is_linked(builder) and bool(mismatches(builder))

    def has_lost_its_place(self, builder: DatasetBuilder) -> bool:
        """Tell whether a dataset of the exported file is copied because a link within the new one would not find it.

        hdmf links to the place that a dataset had, whatever is there now.
        """
        import h5py

        data = unwrapped(builder.data)
        if not isinstance(data, h5py.Dataset) or not self._is_of_source(data) or _keeps_its_place(builder, data):
            return False
        there = found_at(root_of(builder), str(data.name))
        inner = unwrapped(getattr(there, "data", None))
        return not isinstance(inner, h5py.Dataset) or inner != data or not _keeps_its_place(there, inner)

    def _is_exported(self, builder: DatasetBuilder, data: h5py.Dataset) -> bool:
        """Tell whether an export copies a dataset: where it keeps its place, as hdmf decides it, or has lost it."""
        return self._is_of_source(data) and (_keeps_its_place(builder, data) or self.has_lost_its_place(builder))

    def _is_of_source(self, data: h5py.Dataset) -> bool:
        return self.export_source is not None and os.path.abspath(data.file.filename) == self.export_source

    def is_large(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> bool:
        """Tell whether an HDF5 dataset that is copied has so many bytes, and elements that any rank can place."""
        return math.prod(shape) > 0 and self._is_large(shape, dtype)

    def _is_large(self, shape: tuple[int, ...], dtype: np.dtype[Any], threshold: int | None = None) -> bool:
        large = math.prod(shape) * dtype.itemsize >= (self.threshold if threshold is None else threshold)
        return large and len(shape) > 0 and is_self_contained(dtype)


def _keeps_its_place(builder: DatasetBuilder, data: h5py.Dataset) -> bool:
    return bool((location(builder).rpartition("/")[0] or "/") == data.parent.name)


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
