"""``StoreRule``: which data of an NWBFile all ranks fill in a Zarr store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from parnwb.authoring.bulk_rule import BulkRule
from parnwb.builders import unwrapped
from parnwb.element import NUMERIC_KINDS
from parnwb.resident.data import Resident
from parnwb.sources.raw_chunks import is_plain

if TYPE_CHECKING:
    from hdmf.build import DatasetBuilder


@dataclass(frozen=True)
class StoreRule(BulkRule):
    """What is filled by all ranks: numbers and booleans in arrays, iterators and HDF5 datasets.

    hdmf-zarr writes all else, on the root: text, references, compound values, lists. It links to Zarr arrays, or copies
    them.
    """

    def applies(self, builder: DatasetBuilder) -> bool:
        """Tell whether the data of ``builder`` are bulk."""
        import h5py
        from hdmf.data_utils import AbstractDataChunkIterator

        data = unwrapped(builder.data)
        if isinstance(builder.dtype, list):
            return False
        if isinstance(data, Resident):
            return True
        if isinstance(data, AbstractDataChunkIterator):
            return np.dtype(data.dtype).kind in NUMERIC_KINDS
        if isinstance(data, h5py.Dataset):
            return data.dtype.kind in NUMERIC_KINDS and self.is_large(data.shape, data.dtype) and is_plain(data)
        return (
            isinstance(data, np.ndarray)
            and data.dtype.kind in NUMERIC_KINDS
            and self.is_large(data.shape, data.dtype)
        )

    def is_linked(self, builder: DatasetBuilder) -> bool:
        """Tell that no HDF5 dataset is: Zarr cannot link to it."""
        return False
