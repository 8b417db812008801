"""Run under mpiexec: writes streams and generators by every backend. Arguments: OUTPUTS.

What all ranks together append does not depend on how many they are, so the file does not either.
"""

from __future__ import annotations

import random
import sys
import traceback
import uuid
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[1]))

import h5py
import numpy as np
from contract.cases import START
from hdmf.data_utils import DataChunkIterator
from pynwb import H5DataIO, NWBFile, TimeSeries

from parnwb import Stream
from parnwb.site import parallel_hdf5

SETTINGS: dict[str, Any] = {"buffer_mb": 0.0005, "progress": False}
BACKENDS = ("direct", "virtual", *(("mpio",) if parallel_hdf5() else ()))
BLOCKS = 23
GZIP = {"compression": "gzip", "chunks": (10, 5)}
# What is appended to each stream, and how many rows a layer of its chunks has.
LAYERS = {
    "volts/data": ("volts", 10),
    "volts/timestamps": ("times", 13),
    "plain/data": ("volts", 7),
    "long/data": ("times", 9),
}


def block(number: int, kind: str) -> np.ndarray[Any, Any]:
    """Return what all ranks together append at one time: 0 to 16 rows."""
    dice = np.random.default_rng(number)
    rows = int(dice.integers(0, 17))
    if kind == "volts":
        return dice.integers(-99, 99, (rows, 5)).astype("i2")
    return np.arange(rows, dtype="f4") / 7 + number


def share(values: np.ndarray[Any, Any], rank: int, ranks: int) -> np.ndarray[Any, Any]:
    """Return one rank's uneven part, which may be none."""
    cuts = np.sort(np.random.default_rng(len(values)).integers(0, len(values) + 1, ranks - 1))
    return np.split(values, cuts)[rank]


def everything(kind: str) -> np.ndarray[Any, Any]:
    return np.concatenate([block(number, kind) for number in range(BLOCKS)])


def add(file: NWBFile, name: str, data: Any, **keywords: Any) -> None:
    file.add_acquisition(TimeSeries(name=name, data=data, unit="V", **({"rate": 1.0} if not keywords else keywords)))


def rows(count: int, width: int, dtype: str = "i2", none: tuple[int, int] = (0, 0)) -> Iterator[Any]:
    """Give rows one by one; none from one number on to another."""
    for number in range(count):
        is_none = none[0] <= number < none[1]
        yield None if is_none else (np.arange(width) * number % 77).astype(dtype)


def streams(file: NWBFile, *, expected: bool) -> dict[str, Any]:
    """A matrix, its float32 timestamps that the file has as float64, another one of small chunks, long doubles."""
    if expected:
        data = H5DataIO(everything("volts"), maxshape=(None, 5), **GZIP)
        times = H5DataIO(everything("times"), maxshape=(None,), chunks=(13,))
        plain = H5DataIO(everything("volts"), maxshape=(None, 5), chunks=(7, 2), fillvalue=3, shuffle=True)
        long: Any = H5DataIO(everything("times").astype("g"), maxshape=(None,), chunks=(9,), compression="gzip")
    else:
        data, times = H5DataIO(Stream("i2", (5,)), **GZIP), Stream("f4", chunks=(13,))
        plain = H5DataIO(Stream("i2", (5,)), chunks=(7, 2), fillvalue=3, shuffle=True)
        long = H5DataIO(Stream("g"), chunks=(9,), compression="gzip")
    add(file, "volts", data, timestamps=times)
    add(file, "plain", plain)
    add(file, "long", long)
    return {} if expected else {"volts": data.data, "times": times, "plain": plain.data, "long": long.data}


def generators(file: NWBFile, *, expected: bool) -> dict[str, Any]:
    """Iterators of every kind that hdmf's own allows."""
    i2 = np.dtype("i2")
    add(file, "bare", DataChunkIterator(rows(41, 6)))
    add(file, "buffered", H5DataIO(DataChunkIterator(rows(103, 8), buffer_size=4), chunks=(10, 3), compression="gzip"))
    add(file, "exact", H5DataIO(DataChunkIterator(rows(40, 8), buffer_size=4), chunks=(10, 8)))
    known = DataChunkIterator(rows(90, 6), maxshape=(90, 6), dtype=i2)
    add(file, "known", H5DataIO(known, chunks=(20, 4), fillvalue=9))
    short = DataChunkIterator(rows(30, 6), maxshape=(90, 6), dtype=i2)
    add(file, "short", H5DataIO(short, chunks=(7, 4), fillvalue=9, compression="gzip"))
    columns = DataChunkIterator(rows(50, 9), iter_axis=1, buffer_size=3)
    add(file, "columns", H5DataIO(columns, chunks=(4, 6), compression="gzip", shuffle=True))
    add(file, "array", DataChunkIterator(np.arange(600.0).reshape(20, 30), iter_axis=1, buffer_size=7))
    gaps = DataChunkIterator(rows(60, 3, none=(11, 35)), maxshape=(None, 3), dtype=i2, buffer_size=3)
    add(file, "gaps", H5DataIO(gaps, chunks=(4, 3), fillvalue=5))
    nothing = DataChunkIterator(iter(()), maxshape=(None, 3), dtype=i2)
    add(file, "nothing", nothing)
    times = DataChunkIterator((float(n) for n in range(77)), dtype=np.dtype("f4"), maxshape=(None,))
    add(file, "timed", DataChunkIterator(rows(77, 2), buffer_size=10), timestamps=H5DataIO(times, chunks=(20,)))
    return {}


CASES: dict[str, Callable[..., dict[str, Any]]] = {"streams": streams, "generators": generators}


def build(name: str, *, rank: int = 0, expected: bool = False) -> tuple[NWBFile, dict[str, Any]]:
    """Return the NWBFile of a case and its streams; ids are the same in every root and in pynwb's."""
    dice = random.Random(f"{name} on rank {rank}")
    with patch("hdmf.container.uuid4", lambda: uuid.UUID(int=dice.getrandbits(128), version=4)):
        file = NWBFile("a contract", "streaming", START, file_create_date=START)
        found = CASES[name](file, expected=expected)
        add(file, "array_beside", np.arange(20000))
    return file, found


def check_readable(partial: Path, blocks: int) -> None:
    """Check that others can read the whole layers of all that was committed."""
    with h5py.File(partial, "r", locking=False) as file:
        for name, (kind, layer) in LAYERS.items():
            found = file[f"/acquisition/{name}"][()]
            expected = np.concatenate([block(number, kind) for number in range(blocks)])
            assert np.array_equal(found, expected[: len(expected) // layer * layer]), (name, found.shape)


def write(name: str, path: Path, backend: str, *, everywhere: bool, comm: Any) -> None:
    """Write one case. Collective."""
    from parnwb import NWBParallelIO

    file, found = build(name, rank=comm.rank)
    if not everywhere and comm.rank:
        series = "/acquisition/volts"
        file = None
        found = {"volts": f"{series}/data", "times": f"{series}/timestamps"}
        found.update({name: f"/acquisition/{name}/data" for name in ("plain", "long")})
    manifest = backend == "direct"
    with NWBParallelIO(path, "w", comm=comm, backend=backend, manifest=manifest, **SETTINGS) as io:
        io.write(file, cache_spec=False)
        for number in range(BLOCKS if name == "streams" else 0):
            for kind in ("volts", "times"):
                mine = share(block(number, kind), comm.rank, comm.size)
                io.append(found[kind], mine)
                io.append(found["plain" if kind == "volts" else "long"], mine)
                mine[:] = 0  # what was appended is the file's
            if number in (3, 11) and backend != "virtual":
                io.commit()
                if comm.rank == 0:
                    check_readable(path.with_name(f"{path.name}.partial"), number + 1)
                comm.Barrier()  # HDF5 itself writes between the commits of mpio
        if name == "streams":
            assert io.rows["/acquisition/volts/data"] == len(everything("volts"))


def main(outputs: Path) -> None:
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    for backend in BACKENDS:
        for name in CASES:
            for everywhere in (True, False):
                path = outputs / f"{backend}-{name}-{'all' if everywhere else 'root'}.nwb"
                if comm.rank == 0:
                    print(path.name, flush=True)  # the last of these lines tells where a launch hung
                try:
                    write(name, path, backend, everywhere=everywhere, comm=comm)
                except Exception:
                    if comm.rank == 0:
                        path.with_suffix(".failed").write_text(traceback.format_exc())


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]))
