"""Shapes, sizes and types."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from contract.inputs import Slices, add, keep, values
from pynwb import H5DataIO, NWBFile
from pynwb.base import Images
from pynwb.image import GrayscaleImage, IndexSeries


def dimensions(file: NWBFile, inputs: Path) -> None:
    """One to five dimensions; contiguous, chunked and iterated."""
    shape = (13, 6, 5, 4, 3)
    chunk = (5, 4, 2, 3, 2)
    for rank in range(1, 6):
        data = values(shape[:rank])
        forms = {
            "contiguous": data,
            "chunked": H5DataIO(data, chunks=chunk[:rank], compression="gzip"),
            "iterated": Slices(data, chunk[:rank]),
        }
        for form, item in forms.items():
            keep(file, f"{form}_{rank}", item)


def small_shapes(file: NWBFile, inputs: Path) -> None:
    """Nothing, one element, fewer chunks than ranks."""
    for shape in ((0,), (0, 4), (4, 0), (1,), (1, 1), (2,), (3, 1)):
        name = "x".join(map(str, shape))
        keep(file, f"bare_{name}", values(shape))
        if 0 not in shape:
            single = (1,) * len(shape)
            keep(file, f"chunked_{name}", H5DataIO(values(shape), chunks=single, compression="gzip"))
            keep(file, f"iterated_{name}", Slices(values(shape), single))
    growing = {"maxshape": (None, 4), "chunks": (10, 4), "compression": "gzip"}
    keep(file, "empty_growing", H5DataIO(values((0, 4)), **growing))
    keep(file, "empty_automatic", H5DataIO(values((0, 4)), maxshape=(None, 4)))


def no_bulk(file: NWBFile, inputs: Path) -> None:
    """No bulk data at all."""


def dtypes(file: NWBFile, inputs: Path) -> None:
    """Every numeric type, both byte orders, contiguous and chunked."""
    integers = ("i1", "u1", "<i2", ">i2", "u2", "i4", ">u4", "i8", ">i8", "u8", "?")
    gzip = {"compression": "gzip", "shuffle": True, "chunks": (25, 2)}
    for dtype in (*integers, "f2", "f4", ">f4", "f8", ">f8"):
        name = dtype.replace("<", "little_").replace(">", "big_").replace("?", "bool")
        keep(file, name, values((60, 3), dtype))
        keep(file, f"{name}_chunked", H5DataIO(values((60, 3), dtype), **gzip))
    keep(file, "nan", np.array([np.nan, -np.nan, np.inf, -0.0], "f4"))
    keep(file, "iterated_bool", Slices(values((60, 3), "?"), (20, 3)))
    keep(file, "iterated_big", Slices(values((60, 3), ">i2"), (20, 3)))


def converted(file: NWBFile, inputs: Path) -> None:
    """Types that NWB's schema converts: timestamps, control, indices; bare, mapped, iterated."""
    times = values((200,), "f4")
    add(file, "bare", values((200,)), timestamps=times)
    add(file, "integers", values((200,)), timestamps=np.arange(200))
    add(file, "big_endian", values((200,)), timestamps=np.arange(200, dtype=">f4"))
    add(file, "wrapped", values((200,)), timestamps=H5DataIO(times, chunks=(64,), compression="gzip"))
    add(file, "iterated", values((200,)), timestamps=Slices(times, (64,)))
    mapped = np.memmap(inputs / "samples.bin", dtype="i2", mode="r", shape=(200,))
    add(file, "mapped", values((200,)), timestamps=mapped)
    control = Slices(np.arange(200), (64,))
    add(file, "control", values((200,)), control=control, control_description=["a"])
    pictures = Images(name="pictures", images=[GrayscaleImage(name="picture", data=values((30, 20), "f4"))])
    file.add_acquisition(pictures)
    for name, data in (("narrow", np.arange(200, dtype="i4")), ("wide", Slices(np.arange(200), (64,)))):
        series = IndexSeries(name=name, data=data, unit="N/A", rate=1.0, indexed_images=pictures)
        file.add_acquisition(series)


def different_sizes(file: NWBFile, inputs: Path) -> None:
    """One dataset that all ranks share, and tiny ones that one rank takes along."""
    add(file, "a_tiny", values((3,)))
    add(file, "large", H5DataIO(values((40_000, 6)), chunks=(1000, 6), compression="gzip"))
    add(file, "large_contiguous", values((50_000, 4), "f4"))
    add(file, "z_tiny", H5DataIO(values((3, 2)), chunks=(1, 2)))
