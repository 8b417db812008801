"""HDF5 files with whatever h5py can put into one, as no writer of NWB would; and an NWB file with references."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import h5py
import numpy as np

MARK = b"a user block"
TEXT = h5py.string_dtype()
MIXED = np.dtype([("start", "i4"), ("count", "i4"), ("of", h5py.ref_dtype), ("note", TEXT)])
NAMED = np.dtype([("x", "i2"), ("y", "f4")])


def prepare(folder: Path) -> None:
    """Write all files, by name."""
    odd(folder / "old.h5")
    odd(folder / "userblock.h5", userblock_size=1024)
    odd(folder / "new.h5", libver="latest")
    with open(folder / "userblock.h5", "r+b") as file:
        file.write(MARK)
    with h5py.File(folder / "other.h5", "w") as file:
        file["x"] = np.arange(10)
    virtual(folder)
    nwb(folder / "session.nwb")


def odd(path: Path, **settings: Any) -> None:
    random = np.random.default_rng(0)
    with h5py.File(path, "w", track_order=True, **settings) as file:
        group = file.create_group("z")
        _datasets(group, random)
        _small(group)
        tracked = file.create_group("a", track_order=True)
        # To nothing that is referred to: HDF5 has no rule by which of its names it calls such an object.
        file["twice/numbers"] = np.arange(30_000)
        tracked["hard"], tracked["hard_group"] = group["flags"], file["twice"]
        for name, link in {
            "soft": h5py.SoftLink("/z/gz"),
            "relative": h5py.SoftLink("b/c"),
            "dangling": h5py.SoftLink("/nowhere"),
            "external": h5py.ExternalLink("other.h5", "/x"),
        }.items():
            tracked[name] = link
        for number in reversed(range(20)):
            tracked.attrs[f"n{number}"] = number
        _references(file, group, tracked)
        file["types/named"] = NAMED
        file["types/named"].attrs["about"] = "a type"
        file.create_dataset("of_named_type", (3,), dtype=file["types/named"])
        large = file.create_dataset("large_of_named_type", (20000,), dtype=file["types/named"], chunks=(1000,))
        large[:] = np.ones(20000, NAMED)
        if "libver" in settings:
            for owner in (group, group["gz"], group["compact"]):
                owner.attrs["huge"] = np.arange(30000.0)
        file["waste"] = random.normal(size=100_000)
        file.flush()
        del file["waste"]


def _datasets(group: h5py.Group, random: np.random.Generator) -> None:
    """Make the large ones."""
    data = random.normal(0, 30, (5000, 40)).astype("i2")
    rows = {"chunks": (700, 13)}
    group.create_dataset("lzf", data=data, **rows, compression="lzf", maxshape=(None, 40))
    noise = random.integers(0, 2**62, (3000, 10))  # whose chunks the filter skips
    group.create_dataset("masked", data=noise, chunks=(500, 10), compression="lzf")
    group.create_dataset(
        "gz", data=data, **rows, compression=4, shuffle=True, fletcher32=True, maxshape=(None, 40), fillvalue=7
    )
    group.create_dataset("contiguous", data=data.astype("f4"))
    group.create_dataset("contiguous_filled", data=data.astype("f4"), fillvalue=3.5)
    group.create_dataset("scaled", data=data.astype("i4"), **rows, scaleoffset=0)
    group.create_dataset("flags", data=data > 0, chunks=(500, 40))
    group.create_dataset("big_endian", data=data.astype(">i4"), chunks=(500, 40), compression="gzip", shuffle=True)
    group.create_dataset("floats", data=data.astype("f8") / 3, chunks=(333, 40), compression="gzip", shuffle=True)
    part = group.create_dataset("part", (5000, 40), "f8", chunks=(100, 40), compression="gzip", fillvalue=9.0)
    part[1000:1100] = 1
    group.create_dataset("never", (5000, 40), "f8")
    group.create_dataset("never_chunked", (5000, 40), "f8", chunks=(100, 40))
    compound = np.zeros(5000, dtype=[("a", "i4"), ("b", "f8", (3,))])
    compound["a"] = np.arange(5000)
    group.create_dataset("compound", data=compound, chunks=(100,), compression="gzip")
    group.create_dataset("text", data=np.array([b"abc", b"de"] * 20000, "S5"), chunks=(1000,), compression="gzip")
    early = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    early.set_chunk((100,))
    early.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    space = h5py.h5s.create_simple((50_000,))
    made = h5py.Dataset(h5py.h5d.create(group.id, b"early", h5py.h5t.STD_I32BE, space, early))
    made[:] = np.arange(50_000)


def _small(group: h5py.Group) -> None:
    compact = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    compact.set_layout(h5py.h5d.COMPACT)
    space = h5py.h5s.create_simple((10,))
    h5py.Dataset(h5py.h5d.create(group.id, b"compact", h5py.h5t.NATIVE_INT32, space, compact))[:] = np.arange(10)
    words = np.array(["hällo", "", "x" * 1000] * 10, dtype=object)
    group.create_dataset("words", data=words, dtype=TEXT, chunks=(7,), compression="gzip")
    group.create_dataset("scalar", data="text")
    group.create_dataset("empty", (0, 5), "f4", maxshape=(None, 5), chunks=(10, 5))
    group.create_dataset("null", data=h5py.Empty("f4"))
    ragged = group.create_dataset("ragged", (3,), dtype=h5py.vlen_dtype("i4"))
    ragged[0], ragged[2] = [1, 2, 3], [5]
    attributes = group["gz"].attrs
    attributes.update({"text": "ünïcode", "list": ["a", "bcd"], "nothing": h5py.Empty("f4"), "flag": True})


def _references(file: h5py.File, group: h5py.Group, tracked: h5py.Group) -> None:
    references = tracked.create_dataset("references", (4,), h5py.ref_dtype)
    references[0], references[1], references[2] = group["gz"].ref, file.ref, tracked.ref
    many = file.create_dataset("many", (2000,), h5py.ref_dtype, chunks=(1000,), compression="gzip")
    many[:] = [group["gz"].ref] * 2000
    tracked.create_dataset("regions", (2,), h5py.regionref_dtype)[0] = group["gz"].regionref[10:20, 3:5]
    mixed = tracked.create_dataset("mixed", (3,), MIXED, maxshape=(None,), chunks=(2,))
    mixed[0], mixed[1] = (1, 2, group["lzf"].ref, "one"), (3, 4, file["z/scalar"].ref, "two")
    group.attrs["group"] = tracked.ref
    group["gz"].attrs.update({"self": group["gz"].ref, "region": group["gz"].regionref[0:5]})
    group["gz"].attrs["mixed"] = np.array([(1, 2, group.ref, "a")], dtype=MIXED)
    sequences = tracked.create_dataset("sequences", (3,), h5py.vlen_dtype(h5py.ref_dtype))
    sequences[0], sequences[2] = _of_references(group["gz"], group), _of_references(group["compact"])
    group["early"].make_scale("time")
    group["gz"].dims[0].attach_scale(group["early"])
    both = np.array([group.ref, file.ref], dtype=h5py.ref_dtype)
    group["compact"].attrs.update({"contiguous": group["contiguous"].ref, "both": both})


def _of_references(*things: Any) -> np.ndarray[Any, Any]:
    found = np.empty(len(things), h5py.ref_dtype)
    found[:] = [thing.ref for thing in things]
    return found


def virtual(folder: Path) -> None:
    """Write a file whose values are all in others."""
    random = np.random.default_rng(1)
    rows = (1000, 1000, 750)
    for number, n in enumerate(rows):
        with h5py.File(folder / f"part{number}.h5", "w") as file:
            data = random.normal(0, 9, (n, 6)).astype("i2")
            file.create_dataset("data", data=data, chunks=(100, 6), compression="gzip")
    np.arange(20_000, dtype="i4").tofile(folder / "raw.bin")
    with h5py.File(folder / "virtual.h5", "w") as file:
        for name, order in {"stacked": (0, 1, 2), "unaligned": (2, 0, 1)}.items():
            layout, at = h5py.VirtualLayout((sum(rows), 6), "i2"), 0
            for number in order:
                layout[at : at + rows[number]] = h5py.VirtualSource(f"part{number}.h5", "data", (rows[number], 6))
                at += rows[number]
            file.create_virtual_dataset(name, layout)
        strided = h5py.VirtualLayout((1000, 6), "i2")
        strided[::2] = h5py.VirtualSource("part0.h5", "data", (1000, 6))[:500]
        file.create_virtual_dataset("strided", strided, fillvalue=-1)
        file.create_dataset("raw", (20_000,), "i4", external=[(folder / "raw.bin", 0, 80_000)])
        file["linked"], file["again"] = (h5py.ExternalLink("part1.h5", "/data") for _ in range(2))


def as_matnwb(path: Path) -> None:
    """Write a session as MatNWB is known to lay one out; MatNWB itself is not at hand.

    Text of fixed length; booleans as numbers of eight or 32 bits; chunks that may grow along all axes, compressed
    without a shuffle; objects without an id; the specifications.
    """
    nwb(path)
    with h5py.File(path, "r+") as file:
        named: list[str] = []
        file.visit(named.append)
        for owner in [file, *(file[name] for name in named if not name.startswith("specifications"))]:
            _plain_attributes(owner)
        for name in ("acquisition/referred", "units/id", "general/devices/probe"):
            del file[name].attrs["object_id"]
        for name, chunks in {"acquisition/left/data": (7000, 4), "acquisition/referred/data": (3000,)}.items():
            _growing(file, name, chunks)
        for table, name, dtype in (("units", "is_good", "u1"), ("intervals/trials", "correct", "i4")):
            like = file[table]["id"]
            flags = file[table].create_dataset(name, data=np.arange(len(like)) % 2 > 0, dtype=dtype, maxshape=(None,))
            told = {"neurodata_type": "VectorData", "namespace": "hdmf-common", "description": "a flag"}
            flags.attrs.update({key: np.bytes_(text) for key, text in told.items()})
            columns = [text.decode() if isinstance(text, bytes) else text for text in file[table].attrs["colnames"]]
            file[table].attrs["colnames"] = np.array([*columns, name], dtype=TEXT)
        file["general/institution"] = np.bytes_("a fixed length")
        del file["session_description"]
        file["session_description"] = np.bytes_("of no variable length")


def _plain_attributes(owner: h5py.Group | h5py.Dataset) -> None:
    for name, value in owner.attrs.items():
        if isinstance(value, str):
            owner.attrs[name] = np.bytes_(value.encode())


def _growing(file: h5py.File, name: str, chunks: tuple[int, ...]) -> None:
    """Replace a dataset, in its group, by one of other chunks."""
    old = file[name]
    values, attributes = old[()], dict(old.attrs)
    del file[name]
    made = file.create_dataset(
        name, data=values, chunks=chunks, maxshape=(None,) * values.ndim, compression="gzip", compression_opts=3
    )
    made.attrs.update(attributes)


def nwb(path: Path) -> None:
    """Write a session with references between large series, and from small tables to one of them."""
    from pynwb import NWBHDF5IO, H5DataIO, NWBFile, TimeSeries
    from pynwb.ecephys import LFP, ElectricalSeries

    file, random = NWBFile("odd", "odd", datetime(2024, 1, 1, tzinfo=timezone.utc)), np.random.default_rng(2)
    group = file.create_electrode_group("g", "x", "y", file.create_device("probe"))
    for _ in range(8):
        file.add_electrode(location="CA1", group=group)
    regions = [file.create_electrode_table_region(list(range(low, low + 4)), "some") for low in (0, 4)]
    data = random.normal(0, 9, (40_000, 4)).astype("i2")
    zipped = H5DataIO(data, compression="gzip", chunks=(5000, 4))
    times = H5DataIO(np.arange(40_000.0), compression="gzip", chunks=True)
    file.add_acquisition(ElectricalSeries(name="left", data=zipped, electrodes=regions[0], rate=1e3))
    file.add_acquisition(ElectricalSeries(name="right", data=data, electrodes=regions[1], timestamps=times))
    file.add_acquisition(TimeSeries(name="referred", data=np.arange(40_000.0), unit="s", rate=1.0))
    file.add_trial(start_time=0.0, stop_time=1.0, timeseries=[file.acquisition["referred"]])
    lfp = ElectricalSeries(name="lfp", data=data / 2, electrodes=regions[0], timestamps=file.acquisition["right"])
    file.create_processing_module("ecephys", "x").add(LFP(lfp))
    for _ in range(20):
        file.add_unit(spike_times=np.sort(random.random(1000)), electrodes=[0, 1], waveform_mean=data[:30, :2] / 7)
    with NWBHDF5IO(path, "w") as io:
        io.write(file)
