"""What is written to Zarr stores: content for each case, and a description of a store in which any difference shows."""

from __future__ import annotations

import json
import random
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from unittest.mock import patch

import h5py
import numpy as np
from hdmf.common import DynamicTable, VectorData
from hdmf.data_utils import DataChunkIterator, GenericDataChunkIterator
from pynwb import NWBHDF5IO, H5DataIO, NWBFile, TimeSeries
from pynwb.ecephys import ElectricalSeries

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
ROWS = 4001
SMALL = {"bulk_threshold": 0, "buffer_mb": 0.02, "progress": False}


class Rows(GenericDataChunkIterator):
    """An iterator that can be read anywhere."""

    def __init__(self, values: np.ndarray, **settings: Any) -> None:
        self.values = values
        super().__init__(**settings)

    def _get_data(self, selection: tuple[slice, ...]) -> np.ndarray:
        return self.values[selection]

    def _get_maxshape(self) -> tuple[int, ...]:
        return self.values.shape

    def _get_dtype(self) -> np.dtype:
        return self.values.dtype


def noise(shape: tuple[int, ...], dtype: str = "i2", seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=shape) * 40).astype(dtype)


def series(name: str, data: Any, **more: Any) -> TimeSeries:
    return TimeSeries(name=name, data=data, **({"unit": "V", "rate": 10.0} | more))


def arrays(file: NWBFile, folder: Path) -> None:
    for dtype in ("i1", "u1", ">i2", "u2", "i4", "i8", "f4", ">f8", "?"):
        name = np.dtype(dtype).name + ("_big" if dtype[0] == ">" else "")
        file.add_acquisition(series(name, noise((ROWS, 3), dtype)))
    file.add_acquisition(series("times", noise((ROWS,)), rate=None, timestamps=np.arange(ROWS, dtype="f4")))
    file.add_acquisition(series("cube", noise((37, 11, 13, 2))))
    file.add_acquisition(series("wide", np.memmap(folder / "raw.bin", dtype="i2", mode="r", shape=(ROWS, 16))))
    file.add_acquisition(series("list", [1.5, 2.5, 3.5] * 700))


def codecs(file: NWBFile, folder: Path) -> None:
    import numcodecs
    from hdmf_zarr import ZarrDataIO

    values = noise((ROWS, 16))
    for name, settings in {
        "default": {},
        "none": {"compressor": False},
        "gzip": {"compressor": numcodecs.GZip(level=4)},
        "gzip_shuffled": {"compressor": numcodecs.GZip(level=6), "filters": [numcodecs.Shuffle(elementsize=2)]},
        "zlib": {"compressor": numcodecs.Zlib(level=1), "filters": [numcodecs.Shuffle(elementsize=2)]},
        "zstd": {"compressor": numcodecs.Zstd(level=3)},
        "lz4": {"compressor": numcodecs.LZ4()},
        "blosc_zstd": {"compressor": numcodecs.Blosc(cname="zstd", clevel=2, shuffle=numcodecs.Blosc.BITSHUFFLE)},
        "delta": {"compressor": numcodecs.Zlib(level=2), "filters": [numcodecs.Delta(dtype="i2")]},
        "filled": {"fillvalue": -7},
    }.items():
        data = ZarrDataIO(data=values, chunks=(300, 5), **settings)
        file.add_acquisition(series(name, data))


def iterators(file: NWBFile, folder: Path) -> None:
    from hdmf_zarr import ZarrDataIO

    values = noise((ROWS, 16))
    file.add_acquisition(series("generic", Rows(values, chunk_shape=(500, 4), buffer_shape=(1000, 8))))
    wrapped = ZarrDataIO(data=Rows(values, chunk_shape=(500, 4), buffer_shape=(1000, 8)), chunks=(700, 7))
    file.add_acquisition(series("wrapped", wrapped))
    file.add_acquisition(series("known", DataChunkIterator(data=values, buffer_size=100)))
    rows = DataChunkIterator(data=iter(values[:1234]), buffer_size=100, maxshape=(None, 16), dtype=values.dtype)
    file.add_acquisition(series("unknown", rows))


def copies(file: NWBFile, folder: Path) -> None:
    source = h5py.File(folder / "source.h5", "r")
    for name in ("plain", "gzip", "floats", "flags"):
        file.add_acquisition(series(name, source[name]))


def session(file: NWBFile, folder: Path) -> None:
    device = file.create_device(name="probe")
    group = file.create_electrode_group("shank", description="a", location="CA1", device=device)
    file.add_electrode_column("label", "text")
    for number in range(8):
        file.add_electrode(location="CA1", group=group, label=f"é{number}", x=1.0 * number, y=0.0, z=0.0)
    region = file.create_electrode_table_region(list(range(8)), "all")
    electrical = ElectricalSeries(name="e", data=noise((ROWS, 8)), electrodes=region, rate=30000.0)
    file.add_acquisition(electrical)
    file.add_trial_column("cue", "text")
    light = series("light", noise((50,)))
    file.add_acquisition(light)
    for number in range(20):
        cue = "left" if number % 2 else "right"
        file.add_trial(start_time=1.0 * number, stop_time=number + 0.5, cue=cue, timeseries=[light])
    for number in range(5):
        file.add_unit(spike_times=np.sort(np.random.default_rng(number).random(300 * number + 1)), id=number)
    module = file.create_processing_module("behavior", "b")
    module.add(series("linked", electrical, unit="volts", rate=30000.0))
    numbers = VectorData(name="n", description="d", data=np.arange(5000))
    module.add(DynamicTable(name="table", description="t", columns=[numbers], id=np.arange(5000)))


def by_default(file: NWBFile, folder: Path) -> None:
    """Arrays whose compression is the writer's."""
    file.add_acquisition(series("x", noise((ROWS, 16))))


def default_as(compressor: Callable[[], Any]) -> Callable[[NWBFile, Path], None]:
    def content(file: NWBFile, folder: Path) -> None:
        from hdmf_zarr import ZarrDataIO

        file.add_acquisition(series("x", ZarrDataIO(data=noise((ROWS, 16)), compressor=compressor())))

    return content


def _gzip() -> Any:
    import numcodecs

    return numcodecs.GZip(level=4)


def _zstd() -> Any:
    import numcodecs

    return numcodecs.Zstd(level=5)


STORED: dict[str, dict[str, Any]] = {
    "contiguous": {},
    "chunked": {"chunks": (500, 8)},
    "shuffled": {"chunks": (400, 3), "compression": "gzip", "compression_opts": 4, "shuffle": True},
    "checked": {"chunks": (400, 8), "compression": "gzip", "fletcher32": True, "fillvalue": -3},
    "lzf": {"chunks": (400, 8), "compression": "lzf"},
}
RECODED = {
    "*/shuffled/data": {"chunks": (100, 8), "compression": "gzip-1"},
    "*/chunked/data": {"chunks": (301, 3)},
}
Content = Callable[[NWBFile, Path], None]
# Content, settings of NWBParallelIO, arguments of write, and what hdmf-zarr is given where that is something else.
CASES: dict[str, tuple[Content, dict[str, Any], dict[str, Any], Content]] = {
    "arrays": (arrays, {}, {"cache_spec": False}, arrays),
    "codecs": (codecs, {}, {"cache_spec": False}, codecs),
    "iterators": (iterators, {}, {"cache_spec": False}, iterators),
    "copies": (copies, {}, {"cache_spec": False}, copies),
    "session": (session, {}, {}, session),
    "threshold": (session, {"bulk_threshold": 10_000, "threads": 3}, {"consolidate_metadata": False}, session),
    "gzip": (by_default, {"compression": "gzip"}, {"cache_spec": False}, default_as(_gzip)),
    "zstd": (by_default, {"compression": "zstd-5"}, {"cache_spec": False}, default_as(_zstd)),
    "none": (by_default, {"compression": "none"}, {"cache_spec": False}, default_as(lambda: False)),
    "auto": (by_default, {"compression": "auto"}, {"cache_spec": False}, by_default),
}


def prepare(folder: Path) -> None:
    """Make the files that cases read."""
    noise((ROWS, 16), seed=5).tofile(folder / "raw.bin")
    with h5py.File(folder / "source.h5", "w") as file:
        file["plain"] = noise((ROWS, 4))
        file.create_dataset("gzip", data=noise((ROWS, 4)), chunks=(400, 3), compression="gzip", shuffle=True)
        file.create_dataset("floats", data=noise((ROWS, 4), "f4"), chunks=(400, 4), fillvalue=1.5)
        file["flags"] = noise((ROWS, 4), "?")
    file = build("session", folder)
    for name, settings in STORED.items():
        file.add_acquisition(series(name, H5DataIO(noise((ROWS, 8)), **settings)))
    with NWBHDF5IO(folder / "session.nwb", "w") as io:
        io.write(file)
    _skip_a_filter(folder / "session.nwb")


def _skip_a_filter(path: Path) -> None:
    """Let one chunk be stored as its filters did not make it, as HDF5 does with optional filters."""
    with h5py.File(path, "r+") as file:
        dataset = file["/acquisition/shuffled/data"]
        dataset.id.write_direct_chunk((0, 0), dataset[:400, :3].tobytes(), 0b11)


def build(name: str, folder: Path, *, rank: int = 0, expected: bool = False) -> NWBFile:
    """Return the NWBFile of a case, with the same object ids each time, and others on every rank."""
    content = CASES[name][3 if expected else 0]
    dice = random.Random(f"{name} on rank {rank}")
    with patch("hdmf.container.uuid4", lambda: uuid.UUID(int=dice.getrandbits(128), version=4)):
        file = NWBFile("a contract", f"made on rank {rank}", START, file_create_date=START)
        content(file, folder)
    return file


def described(store: Path) -> dict[str, Any]:
    """Return all that is in a store by the names of its files: metadata as values, arrays as their elements.

    The stored chunks are described too, where a codec makes the same bytes of them everywhere; deflate does not.
    """
    from parnwb.stores.references import known_pickles

    with known_pickles():
        return dict(_described(store))


def _described(store: Path) -> Iterator[tuple[str, Any]]:
    import zarr

    for path in sorted(store.rglob("*")):
        name = str(path.relative_to(store))
        if path.is_dir():
            continue
        if path.name.startswith("."):
            yield name, json.loads(path.read_text())
        else:
            metadata = json.loads((path.parent / ".zarray").read_text())
            codecs = [metadata["compressor"] or {"id": ""}, *(metadata["filters"] or ())]
            is_deflated = any(codec["id"] in ("gzip", "zlib") for codec in codecs)
            yield name, "deflated" if is_deflated else path.read_bytes()
    root = zarr.open(str(store), mode="r")

    def arrays(group: Any) -> Iterator[Any]:
        for _, array in group.arrays():
            yield array
        for _, inner in group.groups():
            yield from arrays(inner)

    for array in arrays(root):
        values = array[...]
        yield f"values of {array.path}", (values.dtype, values.shape, values.tolist())


def differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Return one line for each thing that is not as expected."""
    lines = [f"{name}: missing" for name in expected if name not in found]
    lines += [f"{name}: not expected" for name in found if name not in expected]
    for name, value in expected.items():
        if name in found and not _equal(value, found[name]):
            lines.append(f"{name}: expected {str(value)[:300]}, found {str(found[name])[:300]}")
    return lines


def _equal(expected: Any, found: Any) -> bool:
    return bool(expected == found) or (repr(expected) == repr(found))  # NaN is not equal to itself
