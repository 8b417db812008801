"""The cases of the contract: each a file's content and how it is written. ``NAMES`` lists them all."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from unittest.mock import patch

import h5py
import numpy as np
from contract.inputs import Movie, Slices, values
from hdmf.common import DynamicTable, VectorData
from pynwb import H5DataIO, NWBFile, TimeSeries
from pynwb.base import Images
from pynwb.behavior import BehavioralTimeSeries
from pynwb.core import ScratchData
from pynwb.ecephys import LFP, ElectricalSeries
from pynwb.file import Subject
from pynwb.image import GrayscaleImage, ImageSeries, IndexSeries

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
Content = Callable[[NWBFile, Path], None]
# So little that every rank has several buffers, of several chunks each.
SMALL_BUFFERS = {"bulk_threshold": 0, "buffer_mb": 0.002}


@dataclass(frozen=True)
class Case:
    """One file.

    Parameters
    ----------
    content
        Fills an NWBFile; its second argument is the folder that ``inputs.prepare`` filled.
    settings
        For ``NWBParallelIO``.
    arguments
        For ``write``, of pynwb as of parnwb.
    expected
        What pynwb is given to write the same file, where that is not ``content``.
    everywhere
        Whether all ranks have the NWBFile, or the root alone.
    free_filters
        Whether parnwb chooses the filters.
    size_ratio
        How much larger than pynwb's a compressed dataset may be.
    """

    content: Content
    settings: dict[str, Any] = field(default_factory=lambda: dict(SMALL_BUFFERS))
    arguments: dict[str, Any] = field(default_factory=lambda: {"cache_spec": False})
    expected: Content | None = None
    everywhere: bool = True
    free_filters: bool = False
    size_ratio: float = 1.05


def build(name: str, inputs: Path, *, rank: int = 0, expected: bool = False) -> NWBFile:
    """Return the NWBFile of a case. What every process makes anew is fixed on the root and differs on others."""
    case = CASES[name]
    dice = random.Random(f"{name} of rank {rank}")
    with patch("hdmf.container.uuid4", lambda: uuid.UUID(int=dice.getrandbits(128), version=4)):
        file = NWBFile(
            session_description="a contract",
            identifier=f"made by rank {rank}",
            session_start_time=START,
            file_create_date=START + timedelta(seconds=rank),
        )
        content = case.expected if expected and case.expected is not None else case.content
        content(file, inputs)
    return file


def add(file: NWBFile, name: str, data: Any, **settings: Any) -> TimeSeries:
    """Add a series; with a rate unless there are timestamps."""
    rate = {} if "timestamps" in settings else {"rate": 30.0}
    series = TimeSeries(name=name, data=data, unit="V", **rate, **settings)
    file.add_acquisition(series)
    return series


# -- sources -----------------------------------------------------------------------------------------------


def arrays(file: NWBFile, inputs: Path) -> None:
    """Contiguous and not, small and large."""
    whole = values((60, 12), "f8")
    add(file, "plain", values((300, 7)))
    add(file, "column", values((500,), "f4"))
    add(file, "fortran", np.asfortranarray(whole))
    add(file, "transposed", whole.T)
    add(file, "strided", whole[5:50:3, ::2])
    add(file, "reversed", whole[::-1, ::-1])
    add(file, "repeated", np.broadcast_to(values((9,)), (40, 9)))
    add(file, "list", [1.5, 2.5, 3.5])
    add(file, "strided_chunks", H5DataIO(whole[1:, 3:], chunks=(7, 4), compression="gzip"))


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
    for name in ("contiguous", "big_endian", "empty", "scalars", "gzip", "growing", "checked", "flags", "compact"):
        add(file, name, source[name])
    add(file, "wrapped", H5DataIO(source["gzip"], link_data=False))
    column = VectorData(name="word", description="copied text", data=source["words"])
    file.add_scratch(DynamicTable(name="words", description="a table", columns=[column]))


def native_copies(file: NWBFile, inputs: Path) -> None:
    """HDF5 datasets with filters that only HDF5 itself can apply, and one of an enumeration."""
    source = h5py.File(inputs / "sources.h5", "r")
    for name in ("lzf", "scaled", "rounded", "scaled_fill", "states"):
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


# -- settings ----------------------------------------------------------------------------------------------


def chunk_shapes(file: NWBFile, inputs: Path) -> None:
    """Chunks that fit, that do not divide the shape, that are the shape, single elements; growing and fixed."""
    data = values((101, 13))
    chunks = {"fit": (101, 13), "ragged": (10, 4), "rows": (1, 13), "columns": (101, 1), "automatic": True}
    for name, shape in chunks.items():
        add(file, name, H5DataIO(data, chunks=shape))
    add(file, "elements", H5DataIO(values((9, 5)), chunks=(1, 1)))
    add(file, "unlimited", H5DataIO(data, maxshape=(None, None), chunks=(30, 30)))
    add(file, "unlimited_automatic", H5DataIO(data, maxshape=(None, 13)))
    add(file, "larger_later", H5DataIO(data, maxshape=(500, 20), chunks=(25, 20)))
    add(file, "larger_than_shape", H5DataIO(data, maxshape=(None, 20), chunks=(200, 16), compression="gzip"))


def gzip_levels(file: NWBFile, inputs: Path) -> None:
    """Levels, in chunks large enough for them to matter."""
    data = values((12_000, 8))
    for level in (0, 1, 4, 9):
        for shuffle in (False, True):
            chunked = H5DataIO(data, compression="gzip", compression_opts=level, shuffle=shuffle, chunks=(2500, 8))
            add(file, f"level_{level}_{shuffle}", chunked)
    add(file, "switched_on", H5DataIO(data, compression=True, chunks=(2500, 8)))
    add(file, "switched_off", H5DataIO(data, compression=False, chunks=(2500, 8)))
    noise = np.random.default_rng(1).integers(-30_000, 30_000, (6000,)).astype("i2")
    add(file, "incompressible", H5DataIO(noise, compression="gzip", chunks=(2500,)))


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
            add(file, f"{name}_{dtype}", H5DataIO(values((100, 7), dtype), chunks=chunks, **settings))


def native_filters(file: NWBFile, inputs: Path) -> None:
    """LZF, which skips what does not shrink; scale-offset by its number."""
    noise = np.random.default_rng(1).integers(-30_000, 30_000, (300, 4)).astype("i2")
    add(file, "lzf", H5DataIO(values((300, 4)), compression="lzf", chunks=(64, 3)))
    add(file, "lzf_noise", H5DataIO(noise, compression="lzf", chunks=(64, 3)))
    add(file, "lzf_all", H5DataIO(values((300,), "i4"), compression="lzf", chunks=(70,), shuffle=True, fletcher32=True))
    scaled = {"compression": 6, "compression_opts": (2, 0), "allow_plugin_filters": True}
    add(file, "scaled", H5DataIO(values((300,), "i4"), chunks=(70,), **scaled))
    add(file, "scaled_fill", H5DataIO(values((300,), "i4"), chunks=(70,), fillvalue=77, **scaled))


def fill_values(file: NWBFile, inputs: Path) -> None:
    """Fill values of contiguous and chunked datasets, filtered and not; in the padding they must not be seen."""
    add(file, "contiguous", H5DataIO(values((70, 4)), fillvalue=-3))
    add(file, "contiguous_large", H5DataIO(values((40_000,)), fillvalue=7))
    add(file, "chunked", H5DataIO(values((70, 5)), fillvalue=-3, chunks=(16, 3)))
    add(file, "nan", H5DataIO(values((70, 5), "f4"), fillvalue=np.nan, chunks=(16, 3)))
    add(file, "growing", H5DataIO(values((70, 5)), fillvalue=9, chunks=(16, 5), maxshape=(None, 5)))
    add(file, "gzip", H5DataIO(values((70, 5), "u2"), fillvalue=65535, chunks=(16, 3), compression="gzip"))
    add(file, "iterated", H5DataIO(Slices(values((33, 5), "f8"), (10, 5)), fillvalue=0.1))
    add(file, "big_endian", H5DataIO(values((33,), ">i4"), fillvalue=258, chunks=(10,)))


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
    add(file, "own_filter", H5DataIO(values((200, 3)), compression="lzf", chunks=(50, 3)))
    add(file, "own_chunks", coded(H5DataIO(values((200, 3)), chunks=(33, 2), maxshape=(None, 3))))
    add(file, "text_free", coded(values((40, 2), "f4")))


def default_compression(file: NWBFile, inputs: Path) -> None:
    """Data without a filter of their own, to which parnwb's default applies."""
    _default_compression(file, inputs, lambda data: data)


def compressed_by_hand(level: int) -> Content:
    """Return what a user of pynwb writes to get the same."""

    def coded(data: Any) -> H5DataIO:
        kept = {"chunks": True}
        if isinstance(data, Slices):
            kept = {}
        if isinstance(data, H5DataIO):
            kept, data = data.io_settings, data.data
        return H5DataIO(data, **kept, compression="gzip", compression_opts=level)

    return lambda file, inputs: _default_compression(file, inputs, coded)


# -- shapes and types --------------------------------------------------------------------------------------


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
            file.add_scratch(ScratchData(name=f"{form}_{rank}", description="any shape", data=item))


def small_shapes(file: NWBFile, inputs: Path) -> None:
    """Nothing, one element, fewer chunks than ranks."""
    for shape in ((0,), (0, 4), (4, 0), (1,), (1, 1), (2,), (3, 1)):
        name = "x".join(map(str, shape))
        add(file, f"bare_{name}", values(shape))
        if 0 not in shape:
            add(file, f"chunked_{name}", H5DataIO(values(shape), chunks=(1,) * len(shape), compression="gzip"))
            add(file, f"iterated_{name}", Slices(values(shape), (1,) * len(shape)))
    add(file, "empty_growing", H5DataIO(values((0, 4)), maxshape=(None, 4), chunks=(10, 4), compression="gzip"))
    add(file, "empty_automatic", H5DataIO(values((0, 4)), maxshape=(None, 4)))


def empty(file: NWBFile, inputs: Path) -> None:
    """No bulk data at all."""


def dtypes(file: NWBFile, inputs: Path) -> None:
    """Every numeric type, both byte orders, contiguous and chunked."""
    for dtype in ("i1", "u1", "<i2", ">i2", "u2", "i4", ">u4", "i8", ">i8", "u8", "f2", "f4", ">f4", "f8", ">f8", "?"):
        name = dtype.replace("<", "little_").replace(">", "big_").replace("?", "bool")
        add(file, name, values((60, 3), dtype))
        add(file, f"{name}_chunked", H5DataIO(values((60, 3), dtype), chunks=(25, 2), compression="gzip", shuffle=True))
    add(file, "nan", np.array([np.nan, -np.nan, np.inf, -0.0], "f4"))
    add(file, "iterated_bool", Slices(values((60, 3), "?"), (20, 3)))
    add(file, "iterated_big", Slices(values((60, 3), ">i2"), (20, 3)))


def converted(file: NWBFile, inputs: Path) -> None:
    """Types that NWB's schema widens, narrows or keeps: timestamps, control, indices; bare, mapped, iterated."""
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


def very_different_sizes(file: NWBFile, inputs: Path) -> None:
    """One dataset that all ranks share, and tiny ones that one rank takes along."""
    add(file, "a_tiny", values((3,)))
    add(file, "large", H5DataIO(values((40_000, 6)), chunks=(1000, 6), compression="gzip", compression_opts=1))
    add(file, "large_contiguous", values((50_000, 4), "f4"))
    add(file, "z_tiny", H5DataIO(values((3, 2)), chunks=(1, 2)))


# -- whole files -------------------------------------------------------------------------------------------


def linked_series(file: NWBFile, inputs: Path) -> None:
    """Series that share timestamps or data, and one object in two places."""
    first = add(file, "first", values((300, 2)), timestamps=values((300,), "f8"))
    add(file, "shares_timestamps", values((300,), "f4"), timestamps=first)
    add(file, "shares_data", first, timestamps=values((300,), "f8"))
    same = values((100, 3))
    add(file, "same_array_1", same)
    add(file, "same_array_2", same)
    module = file.create_processing_module("behavior", "positions")
    module.add(BehavioralTimeSeries(name="again", time_series=first))
    add(file, "Ωmega µV", values((50,)))


def images(file: NWBFile, inputs: Path) -> None:
    """Image series with data and with files, and single images."""
    frames = values((12, 9, 7), "u1")
    file.add_acquisition(ImageSeries(name="grey", data=frames, unit="n.a.", rate=1.0))
    packed = H5DataIO(values((12, 9, 7, 3), "u1"), chunks=(5, 9, 7, 3), compression="gzip")
    file.add_acquisition(ImageSeries(name="colour", data=packed, unit="n.a.", rate=1.0))
    external = ImageSeries(
        name="elsewhere", external_file=["movie.avi"], format="external", starting_frame=[0], unit="n.a.", rate=1.0
    )
    file.add_stimulus(external)
    picture = GrayscaleImage(name="picture", data=values((30, 20), "f4"))
    file.add_acquisition(Images(name="pictures", images=[picture]))


def session(file: NWBFile, inputs: Path) -> None:
    """Most of what an electrophysiology session has: references, ragged columns, text, links, cached specs."""
    file.subject = Subject(subject_id="m1", species="Mus musculus", age="P30D", sex="M")
    file.keywords = ["contract", "naïve"]
    device = file.create_device(name="probe")
    group = file.create_electrode_group(name="shank", description="one", location="CA1", device=device)
    file.add_electrode_column(name="label", description="a name")
    for number in range(12):
        file.add_electrode(group=group, location="CA1", label=f"é{number}", x=1.0 * number, y=2.0, z=0.0)
    region = file.create_electrode_table_region(list(range(8)), "the first eight")
    raw = H5DataIO(values((900, 8)), compression="gzip", shuffle=True, chunks=(100, 8))
    file.add_acquisition(ElectricalSeries(name="raw", data=raw, electrodes=region, rate=30_000.0, conversion=1e-6))
    filtered = ElectricalSeries(name="lfp", data=values((90, 8), "f4"), electrodes=region, rate=1000.0)
    file.create_processing_module("ecephys", "filtered").add(LFP(electrical_series=filtered))
    _add_units(file)
    file.add_trial_column(name="outcome", description="text")
    for number in range(5):
        series = [file.acquisition["raw"]]
        file.add_trial(start_time=1.0 * number, stop_time=number + 0.5, outcome="né" * number, timeseries=series)
    file.add_epoch(start_time=0.0, stop_time=2.0, tags=["a", "b"])
    table = DynamicTable(name="mixed", description="columns of all kinds")
    table.add_column(name="text", description="words", data=[f"w{n}" for n in range(60)])
    table.add_column(name="numbers", description="2-d", data=values((60, 4), "f8"))
    table.add_column(name="ragged", description="lists", data=values((90,), "i4"), index=np.arange(1, 61) + 30)
    file.add_scratch(table)


def _add_units(file: NWBFile) -> None:
    file.add_unit_column(name="quality", description="text")
    for number in range(15):
        file.add_unit(
            spike_times=np.sort(values((11 * number + 1,), "f8")),
            electrodes=[number % 12, (number + 1) % 12],
            waveform_mean=values((20, 2), "f4"),
            quality="good" if number % 2 else "noise",
        )


def expandable(file: NWBFile, inputs: Path) -> None:
    """Tables whose columns hdmf does not make growing."""
    session(file, inputs)


def _by_default(compression: str | int, level: int, **more: Any) -> Case:
    settings = {**SMALL_BUFFERS, "compression": compression}
    return Case(default_compression, settings, expected=compressed_by_hand(level), **more)


CASES: dict[str, Case] = {
    "arrays": Case(arrays),
    "default_threshold": Case(default_threshold, settings={}),
    "memmaps": Case(memmaps),
    "copies": Case(copies, arguments={"link_data": False, "cache_spec": False}),
    "native_copies": Case(native_copies),
    "links": Case(links),
    "iterators": Case(iterators),
    "sequential": Case(sequential),
    "root_only": Case(root_only, everywhere=False),
    "chunk_shapes": Case(chunk_shapes),
    "gzip_levels": Case(gzip_levels, settings={"bulk_threshold": 0}),
    "filters": Case(filters),
    "native_filters": Case(native_filters),
    "fill_values": Case(fill_values),
    "preallocated": Case(preallocated),
    "compression_auto": _by_default("auto", 4, free_filters=True, size_ratio=1.10),
    "compression_gzip": _by_default("gzip", 4),
    "compression_3": _by_default(3, 3),
    "dimensions": Case(dimensions),
    "small_shapes": Case(small_shapes),
    "empty": Case(empty),
    "dtypes": Case(dtypes),
    "converted": Case(converted),
    "very_different_sizes": Case(very_different_sizes, settings={"bulk_threshold": 0, "buffer_mb": 0.1}),
    "linked_series": Case(linked_series),
    "images": Case(images),
    "session": Case(session, arguments={"cache_spec": True}),
    "session_defaults": Case(session, settings={}, arguments={}),
    "expandable": Case(expandable, arguments={"expandable": [], "cache_spec": False}),
}
NAMES = tuple(CASES)
