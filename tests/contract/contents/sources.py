"""What data are read from."""

from __future__ import annotations

from pathlib import Path

import dask.array as da
import h5py
import numpy as np
import zarr
from contract.inputs import Movie, Slices, add, keep, values
from hdmf.common import DynamicTable, VectorData
from pynwb import H5DataIO, NWBFile
from pynwb.image import ImageSeries

from parnwb import DaskArrayIterator


def arrays(file: NWBFile, inputs: Path) -> None:
    """Contiguous and not, small and large."""
    whole = values((60, 12), "f8")
    keep(file, "plain", values((300, 7)))
    keep(file, "column", values((500,), "f4"))
    keep(file, "fortran", np.asfortranarray(whole))
    keep(file, "transposed", whole.T)
    keep(file, "strided", whole[5:50:3, ::2])
    keep(file, "reversed", whole[::-1, ::-1])
    keep(file, "repeated", np.broadcast_to(values((9,)), (40, 9)))
    keep(file, "list", [1.5, 2.5, 3.5])
    keep(file, "list_of_flags", [True, False, False] * 30)
    keep(file, "list_of_rows", [[n, n + 1.5, -n] for n in range(50)])
    keep(file, "list_of_arrays", [values((4, 3), "f4")] * 20)
    keep(file, "list_chunks", H5DataIO([(n, 2 * n) for n in range(70)], chunks=(9, 1), compression="gzip"))
    keep(file, "strided_chunks", H5DataIO(whole[1:, 3:], chunks=(7, 4), compression="gzip"))


def default_threshold(file: NWBFile, inputs: Path) -> None:
    """Around the 64 KiB from which an array is bulk, with the default buffer."""
    add(file, "at", values((32 * 1024,)))
    add(file, "below", values((32 * 1024 - 1,)))
    add(file, "above", values((1000, 64), "f4"), timestamps=values((1000,), "f8"))
    add(file, "small", values((5, 5)))
    add(file, "small_gzip", H5DataIO(values((50, 5)), compression="gzip", chunks=(20, 5)))
    add(file, "large_gzip", H5DataIO(values((9000, 16)), compression="gzip", shuffle=True, chunks=(1000, 16)))


def memmaps(file: NWBFile, inputs: Path) -> None:
    """Mapped files: whole, from an offset, a part, in H5DataIO, and a .npy file's big-endian values."""
    raw = np.memmap(inputs / "samples.bin", dtype="i2", mode="r", shape=(3000, 8))
    add(file, "whole", raw)
    add(file, "offset", np.memmap(inputs / "samples.bin", dtype="i2", mode="r", offset=34, shape=(100, 8)))
    add(file, "columns", raw[:, 2:7])
    add(file, "every_other", raw[::2, ::-1])
    add(file, "floats", np.memmap(inputs / "samples.bin", dtype="<f4", mode="r", shape=(200,), offset=8))
    add(file, "saved", np.load(inputs / "samples.npy", mmap_mode="r"))
    add(file, "chunked", H5DataIO(raw, chunks=(256, 3), compression="gzip", shuffle=True, maxshape=(None, 8)))


def copies(file: NWBFile, inputs: Path) -> None:
    """HDF5 datasets that are copied, with all that they were created with."""
    source = h5py.File(inputs / "sources.h5", "r")
    names = ("contiguous", "compact", "big_endian", "empty", "scalars", "gzip", "growing", "checked", "flags")
    for name in names:
        add(file, name, source[name])
    add(file, "wrapped", H5DataIO(source["gzip"], link_data=False))
    column = VectorData(name="word", description="copied text", data=source["words"])
    file.add_scratch(DynamicTable(name="words", description="a table", columns=[column]))
    for name in ("pixels", "nested", "complex", "fixed"):
        column = VectorData(name="column", description="not numbers alone", data=source[name])
        rows = list(range(len(source[name])))
        file.add_scratch(DynamicTable(name=name, description="a table", columns=[column], id=rows))


def native_copies(file: NWBFile, inputs: Path) -> None:
    """HDF5 datasets with filters that only HDF5 itself can apply, and one of an enumeration."""
    source = h5py.File(inputs / "sources.h5", "r")
    for name in ("scaled", "rounded", "scaled_fill", "twelve_bits", "states"):
        add(file, name, H5DataIO(source[name], link_data=False))


def links(file: NWBFile, inputs: Path) -> None:
    """HDF5 datasets that stay where they are, beside bulk data of the file's own."""
    source = h5py.File(inputs / "sources.h5", "r")
    add(file, "linked", source["gzip"])
    add(file, "linked_explicitly", H5DataIO(source["growing"], link_data=True))
    add(file, "own", values((200, 4)))


def iterators(file: NWBFile, inputs: Path) -> None:
    """Hdmf's iterators, bare and wrapped; buffers and chunks that divide nothing."""
    data = values((500, 10))
    add(file, "bare", Slices(data, (64, 4), (128, 8)))
    add(file, "bare_row", Slices(values((300,), "f4"), (300,)))
    add(file, "gzip", H5DataIO(Slices(data, (100, 10)), compression="gzip", compression_opts=2, shuffle=True))
    add(file, "rechunked", H5DataIO(Slices(data, (100, 10)), chunks=(33, 7), compression="gzip"))
    add(file, "growing", H5DataIO(Slices(data, (70, 5)), maxshape=(None, None), fillvalue=-1))
    add(file, "frames", Slices(values((11, 6, 5), "u1"), (4, 3, 5)))


def sequential(file: NWBFile, inputs: Path) -> None:
    """A decoder that can only go on, between sources that can be divided."""
    add(file, "before", values((400, 3)))
    movie = ImageSeries(name="movie", data=Movie(values((50, 6, 4), "u1"), 7), unit="n.a.", rate=25.0)
    file.add_acquisition(movie)
    packed = H5DataIO(Movie(values((23, 5, 4)), 5), compression="gzip", shuffle=True)
    file.add_acquisition(ImageSeries(name="packed", data=packed, unit="n.a.", rate=25.0))
    add(file, "zafter", values((400, 3), "f8"))


def root_only(file: NWBFile, inputs: Path) -> None:
    """Sources of every kind that the root sends to the others."""
    source = h5py.File(inputs / "sources.h5", "r")
    add(file, "array", values((400, 6)), timestamps=values((400,), "f4"))
    add(file, "mapped", np.memmap(inputs / "samples.bin", dtype="i2", mode="r", shape=(3000, 8))[:, 1:])
    add(file, "copied", H5DataIO(source["gzip"], link_data=False))
    add(file, "linked", source["contiguous"])
    add(file, "iterated", H5DataIO(Slices(values((500, 10)), (64, 4)), compression="gzip", fletcher32=True))
    add(file, "movie", Movie(values((20, 8), "u1"), 3))
    add(file, "listed", [[n, -n] for n in range(90)], timestamps=[0.5 * n for n in range(90)])


def zarr_arrays(file: NWBFile, inputs: Path) -> None:
    """In chunks that have nothing to do with those of the file; bare, wrapped, and converted by hdmf."""
    opened = {name: zarr.open(str(inputs / f"{name}.zarr"), mode="r") for name in ("tall", "narrow", "times", "cube")}
    add(file, "bare", opened["tall"])
    add(file, "gzip", H5DataIO(opened["tall"], chunks=(64, 3), compression="gzip", shuffle=True))
    add(file, "converted", opened["narrow"], timestamps=opened["times"])
    add(file, "growing", H5DataIO(opened["narrow"], chunks=(50, 9), maxshape=(None, 9), fillvalue=-1))
    add(file, "frames", opened["cube"])
    add(file, "in_memory", zarr.array(values((300, 4)), chunks=(77, 4)))


def dask_arrays(file: NWBFile, inputs: Path) -> None:
    """Lazy arithmetic over arrays and a Zarr array, and blocks of uneven sizes."""
    recorded = da.from_zarr(str(inputs / "tall.zarr"))
    uneven = da.from_array(values((300, 8), "f8"), chunks=((120, 5, 175), (3, 5)))
    add(file, "sums", DaskArrayIterator(recorded + recorded[::-1], chunk_shape=(64, 4)))
    add(file, "means", H5DataIO(DaskArrayIterator(uneven - uneven.mean(axis=0)), compression="gzip"))
    add(file, "plain", DaskArrayIterator(uneven, chunk_shape=(50, 8), buffer_shape=(100, 8)))


def queued(file: NWBFile, inputs: Path) -> None:
    """Datasets of every kind and many sizes."""
    iterators(file, inputs)
    sequential(file, inputs)
