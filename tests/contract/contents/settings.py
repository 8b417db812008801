"""What users ask of HDF5 for one dataset."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin  # plain pynwb reads what it filters only where it was imported
import numpy as np
from contract.inputs import Slices, add, keep, values
from pynwb import H5DataIO, NWBFile


def chunk_shapes(file: NWBFile, inputs: Path) -> None:
    """Chunks that fit, that do not divide the shape, single elements; fixed and growing shapes."""
    data = values((101, 13))
    chunks = {"fit": (101, 13), "ragged": (10, 4), "rows": (1, 13), "columns": (101, 1), "automatic": True}
    for name, shape in chunks.items():
        keep(file, name, H5DataIO(data, chunks=shape))
    keep(file, "elements", H5DataIO(values((9, 5)), chunks=(1, 1)))
    keep(file, "unlimited", H5DataIO(data, maxshape=(None, None), chunks=(30, 30)))
    keep(file, "unlimited_automatic", H5DataIO(data, maxshape=(None, 13)))
    keep(file, "larger_later", H5DataIO(data, maxshape=(500, 20), chunks=(25, 20)))
    keep(file, "larger_than_shape", H5DataIO(data, maxshape=(None, 20), chunks=(200, 16), compression="gzip"))


def gzip_levels(file: NWBFile, inputs: Path) -> None:
    """Levels, in chunks large enough for them to matter."""
    data = values((12_000, 8))
    for level in (0, 1, 4, 9):
        for shuffle in (False, True):
            gzip = {"compression": "gzip", "compression_opts": level, "shuffle": shuffle}
            keep(file, f"level_{level}_{shuffle}", H5DataIO(data, chunks=(2500, 8), **gzip))
    keep(file, "switched_on", H5DataIO(data, compression=True, chunks=(2500, 8)))
    keep(file, "switched_off", H5DataIO(data, compression=False, chunks=(2500, 8)))
    noise = np.random.default_rng(1).integers(-30_000, 30_000, (6000,)).astype("i2")
    keep(file, "incompressible", H5DataIO(noise, compression="gzip", chunks=(2500,)))


def filters(file: NWBFile, inputs: Path) -> None:
    """Shuffle, gzip and fletcher32 in all combinations, for elements of 1, 2 and 8 bytes and odd chunks."""
    combinations = {
        "shuffle": {"shuffle": True},
        "fletcher32": {"fletcher32": True},
        "shuffle_fletcher32": {"shuffle": True, "fletcher32": True},
        "gzip_fletcher32": {"compression": "gzip", "fletcher32": True},
        "all": {"compression": "gzip", "compression_opts": 3, "shuffle": True, "fletcher32": True},
    }
    for dtype, chunks in (("u1", (17, 3)), ("i2", (31, 5)), ("f8", (20, 7))):
        for name, settings in combinations.items():
            keep(file, f"{name}_{dtype}", H5DataIO(values((100, 7), dtype), chunks=chunks, **settings))


def lzf(file: NWBFile, inputs: Path) -> None:
    """LZF, which skips chunks that do not shrink: alone, with other filters, and copied."""
    noise = np.random.default_rng(1).integers(-30_000, 30_000, (300, 4)).astype("i2")
    keep(file, "some_shrink", H5DataIO(values((300, 4)), compression="lzf", chunks=(64, 3)))
    keep(file, "none_shrinks", H5DataIO(noise, compression="lzf", chunks=(64, 3)))
    everything = {"compression": "lzf", "shuffle": True, "fletcher32": True}
    keep(file, "with_others", H5DataIO(values((300,), "i4"), chunks=(70,), **everything))
    keep(file, "filled", H5DataIO(values((300,), "i4"), chunks=(70,), compression="lzf", fillvalue=3))
    source = h5py.File(inputs / "sources.h5", "r")
    keep(file, "copied", H5DataIO(source["lzf"], link_data=False))


def plugins(file: NWBFile, inputs: Path) -> None:
    """Filters of hdf5plugin, as users give them to H5DataIO."""
    chosen = {
        "zstd": hdf5plugin.Zstd(clevel=2),
        "blosc2": hdf5plugin.Blosc2(cname="zstd", clevel=5, filters=hdf5plugin.Blosc2.BITSHUFFLE),
        "bitshuffle": hdf5plugin.Bitshuffle(cname="lz4"),
        "bitshuffle_zstd": hdf5plugin.Bitshuffle(cname="zstd", clevel=2),
        "lz4": hdf5plugin.LZ4(),
    }
    for name, coding in chosen.items():
        keep(file, name, H5DataIO(values((400, 6)), chunks=(90, 4), allow_plugin_filters=True, **coding))


def fill_values(file: NWBFile, inputs: Path) -> None:
    """Fill values of contiguous and chunked datasets, filtered and not."""
    keep(file, "contiguous", H5DataIO(values((70, 4)), fillvalue=-3))
    keep(file, "contiguous_large", H5DataIO(values((40_000,)), fillvalue=7))
    keep(file, "chunked", H5DataIO(values((70, 5)), fillvalue=-3, chunks=(16, 3)))
    keep(file, "nan", H5DataIO(values((70, 5), "f4"), fillvalue=np.nan, chunks=(16, 3)))
    keep(file, "growing", H5DataIO(values((70, 5)), fillvalue=9, chunks=(16, 5), maxshape=(None, 5)))
    keep(file, "gzip", H5DataIO(values((70, 5), "u2"), fillvalue=65535, chunks=(16, 3), compression="gzip"))
    keep(file, "iterated", H5DataIO(Slices(values((33, 5), "f8"), (10, 5)), fillvalue=0.1))
    keep(file, "big_endian", H5DataIO(values((33,), ">i4"), fillvalue=258, chunks=(10,)))


def preallocated(file: NWBFile, inputs: Path) -> None:
    """Datasets that hdmf creates without data, beside data."""
    add(file, "later", H5DataIO(shape=(20, 3), dtype=np.dtype("f4"), chunks=(5, 3), fillvalue=1.0))
    add(file, "later_contiguous", H5DataIO(shape=(20,), dtype=np.dtype("i2")))
    add(file, "now", H5DataIO(values((50, 3)), chunks=(20, 3)))


def _default_compression(file: NWBFile, inputs: Path, coded: Callable[[Any], Any]) -> None:
    add(file, "bare", coded(values((5000, 6))), timestamps=coded(values((5000,), "f8")))
    add(file, "mapped", coded(np.memmap(inputs / "samples.bin", dtype="i2", mode="r", shape=(3000, 8))))
    add(file, "bytes", coded(values((900,), "u1")))
    add(file, "one", coded(values((1,))))
    add(file, "iterated", coded(Slices(values((500, 10)), (64, 10))))
    add(file, "own_filter", H5DataIO(values((200, 3)), fletcher32=True, chunks=(50, 3)))
    add(file, "own_chunks", coded(H5DataIO(values((200, 3)), chunks=(33, 2), maxshape=(None, 3))))
    add(file, "text_free", coded(values((40, 2), "f4")))


def default_compression(file: NWBFile, inputs: Path) -> None:
    """Data without a filter of their own, to which parnwb's default applies."""
    _default_compression(file, inputs, lambda data: data)


def compressed_by_hand(**settings: Any) -> Callable[[NWBFile, Path], None]:
    """Return what a user of pynwb writes to get the same as by default settings."""

    def coded(data: Any) -> H5DataIO:
        kept = {"chunks": True}
        if isinstance(data, Slices):
            kept = {}
        if isinstance(data, H5DataIO):
            kept, data = data.io_settings, data.data
        return H5DataIO(data, **kept, **settings)

    return lambda file, inputs: _default_compression(file, inputs, coded)
