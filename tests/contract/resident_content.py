"""The same NWBFile twice: from whole arrays, as pynwb gets them, and from what each rank has of them."""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any, Protocol
from unittest.mock import patch

import numpy as np
from hdmf.backends.hdf5 import H5DataIO
from hdmf.common import VectorData, VectorIndex
from pynwb import NWBFile, TimeSeries
from pynwb.misc import Units
from pynwb.ophys import PlaneSegmentation
from pynwb.testing.mock.device import mock_Device
from pynwb.testing.mock.ophys import mock_ImagingPlane, mock_OpticalChannel

from parnwb import Distributed, DistributedRagged, Owned

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
DTYPES = ["f4", "f8", ">i2", "u1", "i8", "?"]
CELLS = 41
PIXEL = np.dtype([("x", "u4"), ("y", "u4"), ("weight", "f4")])
VOXEL = np.dtype([("x", "u4"), ("y", "u4"), ("z", "u4"), ("weight", "f4")])


class Holder(Protocol):
    """Gives out arrays, whole or spread over ranks."""

    def along(self, values: np.ndarray, axis: int = 0) -> Any: ...
    def columns(self, values: np.ndarray, axis: int) -> Any: ...
    def boxes(self, values: np.ndarray) -> Any: ...
    def ragged(self, name: str, rows: Sequence[Any], depth: int = 1, *, shuffled: bool = True) -> list[Any]: ...


class Whole:
    """As pynwb gets them."""

    def along(self, values: np.ndarray, axis: int = 0) -> Any:
        return values

    def columns(self, values: np.ndarray, axis: int) -> Any:
        return values

    def boxes(self, values: np.ndarray) -> Any:
        return values

    def ragged(self, name: str, rows: Sequence[Any], depth: int = 1, *, shuffled: bool = True) -> list[Any]:
        indexes = []
        for _ in range(depth):
            indexes.append(np.cumsum([len(row) for row in rows]))
            items = [item for row in rows for item in row]
            last, rows = rows, items
        found: list[Any] = [VectorData(name=name, description="rows", data=np.concatenate(last))]
        for index in reversed(indexes):
            found.insert(0, VectorIndex(name=f"{found[0].name}_index", data=index, target=found[0]))
        return found


class Spread:
    """Some of each on every rank; where to cut is drawn, alike on all ranks."""

    def __init__(self, comm: Any, seed: int = 0) -> None:
        self.comm, self._dice = comm, np.random.default_rng([comm.size, seed])

    def along(self, values: np.ndarray, axis: int = 0) -> Any:
        size = self.comm.size
        cuts = [0, *np.sort(self._dice.integers(0, values.shape[axis] + 1, size - 1)), values.shape[axis]]
        place = [slice(None)] * values.ndim
        place[axis] = slice(cuts[self.comm.rank], cuts[self.comm.rank + 1])
        return Distributed(values[tuple(place)], axis, comm=self.comm)

    def columns(self, values: np.ndarray, axis: int) -> Any:
        owner = self._dice.integers(0, self.comm.size, values.shape[axis])
        index = self._dice.permutation(values.shape[axis])
        own = index[owner == self.comm.rank]
        return Distributed(np.take(values, own, axis), axis - values.ndim, index=own, comm=self.comm)

    def boxes(self, values: np.ndarray) -> Any:
        boxes = [[(0, n) for n in values.shape]]
        for _ in range(2 * self.comm.size):
            box = boxes.pop(int(self._dice.integers(len(boxes))))
            axis = int(self._dice.integers(values.ndim))
            low, high = box[axis]
            cut = int(self._dice.integers(low, high + 1))
            boxes += [[*box[:axis], part, *box[axis + 1 :]] for part in ((low, cut), (cut, high))]
        own = boxes[self.comm.rank :: self.comm.size]
        starts = [tuple(low for low, _ in box) for box in own]
        blocks = [values[tuple(slice(*part) for part in box)] for box in own]
        return Owned(blocks, starts, shape=values.shape, comm=self.comm)

    def ragged(self, name: str, rows: Sequence[Any], depth: int = 1, *, shuffled: bool = True) -> list[Any]:
        if shuffled:
            own = self._dice.permutation(len(rows))[self.comm.rank :: self.comm.size]
        else:
            size, rank = self.comm.size, self.comm.rank
            own = np.arange(len(rows) * rank // size, len(rows) * (rank + 1) // size)
        spread = DistributedRagged(
            [rows[i] for i in own], own if shuffled else None, depth=depth, comm=self.comm
        )
        return spread.columns(name, "rows")


def build(name: str, holder: Holder) -> NWBFile:
    """Return the NWBFile of a case."""
    dice = random.Random(name)
    with patch("hdmf.container.uuid4", lambda: uuid.UUID(int=dice.getrandbits(128), version=4)):
        file = NWBFile("resident", "resident", START, file_create_date=START)
        CASES[name](file, holder)
    return file


def kinds(file: NWBFile, holder: Holder) -> None:
    """Every way to spread, chunked and compressed and not, and the conversions that hdmf does."""
    dice = np.random.default_rng(1)
    values = dice.normal(0, 50, (120, CELLS))
    gzip = {"compression": "gzip", "chunks": (25, 7), "shuffle": True}
    _series(file, "bare", holder.along(values.astype("f4")))
    _series(file, "columns", H5DataIO(holder.columns(values.astype("f4"), 1), **gzip))
    _series(file, "late_axis", H5DataIO(holder.along(values.astype(">i2"), 1), chunks=(50, 20), fillvalue=-3))
    _series(file, "boxes", H5DataIO(holder.boxes(values.astype("i4")), **gzip))
    _series(file, "resized", H5DataIO(holder.columns(values.astype("u2"), 0), maxshape=(None, CELLS)))
    _series(file, "filled", H5DataIO(holder.along(values.astype("i2")), fillvalue=-3))
    _series(file, "flags", holder.along(values > 0))
    _series(file, "long_doubles", H5DataIO(holder.columns(values.astype("g") / 3, 1), **gzip))
    _series(file, "few", holder.along(np.arange(3.0)))
    times = holder.boxes(np.arange(120, dtype="f4"))
    file.add_acquisition(TimeSeries("timed", data=values[:, 0], timestamps=times, unit="V"))


def units(file: NWBFile, holder: Holder) -> None:
    """Ragged and doubly ragged columns, in any order of rows, some of them empty."""
    dice = np.random.default_rng(2)
    times = [np.sort(dice.uniform(0, 9, n)) for n in dice.integers(0, 30, CELLS)]
    waveforms = [[dice.normal(size=(2, 3)).astype("f4") for _ in own[:4]] for own in times]
    columns = holder.ragged("spike_times", times)
    columns += holder.ragged("waveforms", waveforms, 2)
    columns += holder.ragged("in_rank_order", [own.astype("f4") for own in times], shuffled=False)
    columns.append(VectorData(name="quality", description="one for each", data=holder.columns(dice.random(CELLS), 0)))
    file.units = Units(name="units", description="all cells", id=list(range(CELLS)), columns=columns)


def masks(file: NWBFile, holder: Holder) -> None:
    """Ragged columns of compound values, in any order of rows, some of them empty; with filters and without."""
    dice = np.random.default_rng(3)
    pixels, voxels = ([_mask(fields, n, dice) for n in dice.integers(0, 30, CELLS)] for fields in (PIXEL, VOXEL))
    columns = holder.ragged("pixel_mask", pixels) + holder.ragged("voxel_mask", voxels)
    columns[-1].set_data_io(H5DataIO, {"compression": "gzip", "chunks": (50,), "shuffle": True})
    add_masks(file, columns)


def add_masks(file: NWBFile, columns: list[Any]) -> None:
    """Add a segmentation with given columns."""
    channel, device = mock_OpticalChannel(name="channel"), mock_Device(name="microscope", nwbfile=file)
    plane = mock_ImagingPlane(name="plane", optical_channel=channel, device=device, nwbfile=file)
    table = PlaneSegmentation(
        name="masks", description="all cells", imaging_plane=plane, id=list(range(CELLS)), columns=columns
    )
    file.create_processing_module("ophys", "masks").add(table)


def _mask(fields: np.dtype[Any], length: int, dice: np.random.Generator) -> np.ndarray:
    mask = np.zeros(length, dtype=fields)
    for name in fields.names or ():
        mask[name] = dice.integers(0, 500, length)
    return mask


def drawn(seed: int) -> Any:
    """Return a case with arrays, chunks and cuts that are drawn."""

    def content(file: NWBFile, holder: Holder) -> None:
        dice = np.random.default_rng(seed)
        for number in range(6):
            shape = tuple(int(n) for n in dice.integers(1, [60, 9, 5][: int(dice.integers(1, 4))], endpoint=True))
            values = dice.integers(0, 120, shape).astype(DTYPES[number])
            settings = {} if dice.random() < 0.3 else {"chunks": tuple(int(dice.integers(1, n + 1)) for n in shape)}
            settings.update({"compression": "gzip"} if settings and dice.random() < 0.7 else {})
            kind = int(dice.integers(3))
            axis = int(dice.integers(len(shape)))
            spread = (holder.along(values, axis), holder.columns(values, axis), holder.boxes(values))[kind]
            _series(file, f"drawn{number}", H5DataIO(spread, **settings) if settings else spread)

    return content


def _series(file: NWBFile, name: str, data: Any) -> None:
    file.add_acquisition(TimeSeries(name, data=data, unit="V", rate=10.0))


CASES = {"kinds": kinds, "units": units, "masks": masks, **{f"drawn{seed}": drawn(seed) for seed in range(4)}}
