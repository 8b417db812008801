"""Data that cases are made of: values, iterators, and files that sources read."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
from contract.schema import write_schema
from hdmf.data_utils import GenericDataChunkIterator
from pynwb import NWBFile, TimeSeries
from pynwb.core import ScratchData

Array = npt.NDArray[Any]


def values(shape: tuple[int, ...], dtype: str = "i2") -> Array:
    """Return a slow wave with some noise, the same for the same shape; integers span much of their range."""
    size = math.prod(shape)
    noise = np.random.default_rng(size + len(shape)).normal(0, 0.02, size)
    wave = (np.sin(np.arange(size) / 50) + noise).clip(-1, 1).reshape(shape)
    kind = np.dtype(dtype)
    if kind.kind == "b":
        return wave > 0
    if kind.kind == "f":
        return wave.astype(kind)
    information = np.iinfo(kind)
    return ((wave + (information.min == 0)) * min(information.max // 2, 1000)).astype(kind)


def add(file: NWBFile, name: str, data: Any, **settings: Any) -> TimeSeries:
    """Add a series; with a rate unless there are timestamps."""
    rate = {} if "timestamps" in settings else {"rate": 30.0}
    series = TimeSeries(name=name, data=data, unit="V", **rate, **settings)
    file.add_acquisition(series)
    return series


def keep(file: NWBFile, name: str, data: Any) -> None:
    """Add an array of any shape; it takes a third of the time that a series takes."""
    file.add_scratch(ScratchData(name=name, description="an array", data=data))


class Slices(GenericDataChunkIterator):
    """An array behind hdmf's iterator; it answers any selection, and can be pickled."""

    def __init__(self, array: Array, chunk: tuple[int, ...], buffer: tuple[int, ...] | None = None) -> None:
        self.array = array
        self.given = (array, chunk, buffer)
        super().__init__(chunk_shape=chunk, buffer_shape=buffer or chunk)

    def _get_data(self, selection: tuple[slice, ...]) -> Array:
        return self.array[selection]

    def _get_maxshape(self) -> tuple[int, ...]:
        return self.array.shape

    def _get_dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    def _to_dict(self) -> dict[str, Any]:
        return {"given": self.given}

    @staticmethod
    def _from_dict(dictionary: dict[str, Any]) -> Slices:
        return Slices(*dictionary["given"])


class Movie(GenericDataChunkIterator):
    """Hands out its next frames whatever it is asked for, as a decoder does."""

    def __init__(self, frames: Array, thickness: int) -> None:
        self.frames, self.at = frames, 0
        piece = (thickness, *frames.shape[1:])
        super().__init__(chunk_shape=piece, buffer_shape=piece)

    def _get_data(self, selection: tuple[slice, ...]) -> Array:
        first, self.at = self.at, self.at + selection[0].stop - selection[0].start
        return self.frames[first : self.at]

    def _get_maxshape(self) -> tuple[int, ...]:
        return self.frames.shape

    def _get_dtype(self) -> np.dtype[Any]:
        return self.frames.dtype


def prepare(folder: Path) -> None:
    """Create the files that cases read."""
    values((3000, 8)).tofile(folder / "samples.bin")
    np.save(folder / "samples.npy", values((120, 7), ">f4"))
    with h5py.File(folder / "sources.h5", "w") as file:
        _prepare_datasets(file)
    _prepare_zarr(folder)
    write_schema(folder)


def _prepare_zarr(folder: Path) -> None:
    import zarr

    for name, data, chunks in (
        ("tall", values((500, 10)), (90, 10)),
        ("narrow", values((700, 9), "f4"), (300, 2)),
        ("times", values((700,), "f4"), (97,)),
        ("cube", values((20, 6, 5), "u1"), (3, 4, 5)),
    ):
        array = zarr.open(str(folder / f"{name}.zarr"), mode="w", shape=data.shape, chunks=chunks, dtype=data.dtype)
        array[...] = data


def _prepare_datasets(file: h5py.File) -> None:
    file["contiguous"] = values((90, 5))
    file["contiguous"].attrs["left_behind"] = "hdmf copies no attributes"
    file["big_endian"] = values((60, 4), ">i4")
    file["empty"] = np.empty((0, 3), "f4")
    file["scalars"] = values((7,), "f8")
    growing = {"chunks": (8, 6), "maxshape": (None, 6), "fillvalue": 2.5}
    file.create_dataset("growing", data=values((50, 6), "f4"), **growing)
    gzip = {"compression": "gzip", "compression_opts": 6}
    file.create_dataset("gzip", data=values((700, 9)), chunks=(64, 4), shuffle=True, **gzip)
    file.create_dataset("checked", data=values((500,), "u8"), chunks=(77,), fletcher32=True, **gzip)
    file.create_dataset("flags", data=values((300,), "?"), chunks=(40,), **gzip)
    lzf = {"compression": "lzf", "shuffle": True}
    file.create_dataset("lzf", data=values((500, 3), "i4"), chunks=(60, 2), **lzf)
    file.create_dataset("scaled", data=values((400, 3), "i4"), chunks=(50, 3), scaleoffset=0)
    file.create_dataset("scaled_fill", data=values((100,)), chunks=(30,), scaleoffset=0, fillvalue=-7)
    file.create_dataset("rounded", data=values((300,), "f4"), chunks=(64,), scaleoffset=3)
    enumeration = h5py.enum_dtype({"REST": 0, "RUN": 1}, basetype="i1")
    file.create_dataset("states", data=values((300,), "?").astype("i1"), dtype=enumeration, chunks=(64,))
    pixels = np.zeros(300, [("x", "u4"), ("y", "u4"), ("weight", "f4")])
    pixels["x"], pixels["weight"] = np.arange(300), values((300,), "f4")
    file.create_dataset("pixels", data=pixels, chunks=(40,), shuffle=True, **gzip)
    nested = [("a", "i2"), ("b", [("c", ">f4"), ("d", "?", (3,))])]
    file["nested"] = np.zeros(60, nested)
    file["complex"] = values((70,), "f8") * (1 + 2j)
    file["fixed"] = np.array([f"é{n}".encode() for n in range(90)]).astype(h5py.string_dtype("utf-8", 8))
    file.create_dataset("words", data=["one", "two", "three"], dtype=h5py.string_dtype())
    for name in ("contiguous", "gzip", "growing"):  # those that cases link to
        file[name].attrs.update({"unit": "V", "conversion": 1.0, "resolution": -1.0, "offset": 0.0})
    compact = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    compact.set_layout(h5py.h5d.COMPACT)
    _prepare_by_hand(file, b"compact", h5py.h5t.NATIVE_INT16, compact)
    twelve_bits = h5py.h5t.STD_I16LE.copy()
    twelve_bits.set_precision(12)
    packed = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    packed.set_chunk((8, 2))
    packed.set_filter(h5py.h5z.FILTER_NBIT, 0, ())
    _prepare_by_hand(file, b"twelve_bits", twelve_bits, packed)


def _prepare_by_hand(file: h5py.File, name: bytes, kind: h5py.h5t.TypeID, creation: h5py.h5p.PropDCID) -> None:
    dataset = h5py.h5d.create(file.id, name, kind, h5py.h5s.create_simple((20, 2)), creation)
    h5py.Dataset(dataset)[...] = values((20, 2))
