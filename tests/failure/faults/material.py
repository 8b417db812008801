"""NWBFiles and iterators that faults are made of."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

import numpy as np
from hdmf.data_utils import GenericDataChunkIterator
from pynwb import H5DataIO, NWBFile, TimeSeries

START = datetime(2024, 3, 5, 10, 15, 30, tzinfo=timezone.utc)
SHAPE = (4000, 8)
CHUNK = (100, 8)
# Three chunks are read at once, of forty: every rank has several steps to fail in.
SETTINGS: dict[str, Any] = {"bulk_threshold": 1024, "buffer_mb": 3 * 100 * 8 * 2 / 2**20}


def values(shape: tuple[int, ...] = SHAPE, dtype: str = "i2") -> np.ndarray[Any, Any]:
    return (np.arange(int(np.prod(shape))) % 251).reshape(shape).astype(dtype)


def noise(nbytes: int) -> np.ndarray[Any, Any]:
    """Return samples that no filter makes smaller."""
    rows = nbytes // 16
    return np.random.default_rng(1).integers(-(2**15), 2**15, (rows, 8), dtype="i2")


def session(data: Any = None, *, rate: float = 30.0, name: str = "probe", **keywords: Any) -> NWBFile:
    """Return a file with one series, bulk data in chunks."""
    start = keywords.pop("start", START)
    nwbfile = NWBFile(
        session_description=keywords.pop("description", "a fault"), identifier="id", session_start_time=start
    )
    data = H5DataIO(values(), chunks=CHUNK) if data is None else data
    nwbfile.add_acquisition(TimeSeries(name=name, data=data, unit="V", rate=rate, **keywords))
    return nwbfile


class Asked(GenericDataChunkIterator):
    """An array behind hdmf's iterator; `spoil` may raise or change what is returned.

    `spoil` is told how many selections of several rows have been asked for: single rows are parnwb's own
    questions whether the iterator listens.
    """

    def __init__(self, spoil: Callable[[int, Any], Any] | None = None, array: Any = None) -> None:
        self.array = values() if array is None else array
        self.spoil = spoil
        self.calls = 0
        super().__init__(chunk_shape=CHUNK, buffer_shape=CHUNK)

    def _get_data(self, selection: tuple[slice, ...]) -> Any:
        data = self.array[selection]
        if self.spoil is None or selection[0].stop - selection[0].start < 2:
            return data
        self.calls += 1
        return self.spoil(self.calls, data)

    def _get_maxshape(self) -> tuple[int, ...]:
        return self.array.shape

    def _get_dtype(self) -> np.dtype[Any]:
        return self.array.dtype
