"""Anonymous memory of each rank while it writes, for each kind of data, which are much larger than the buffers.

    mpiexec -n 2 python benchmarks/memory.py [--megabytes 400] [--buffer-mb 16] [--folder .]
    mpiexec -n 2 python benchmarks/memory.py --smoke [--only mpio]

The data lie in files that are mapped, or read by h5py: what is measured is what hdmf and parnwb add. Every kind is
written with the NWBFile on all ranks, and with it on the root alone; some are added to a file, or come from one that is
exported or repacked, and some are written by parallel HDF5, where h5py has it. A figure is the largest growth of
RssAnon on any rank from just before the file is opened, in MB; it has to stay below the buffers, whatever the size of
the data. The program ends with status 1 if one does not.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import av
import dask.array
import h5py
import numpy as np
import tifffile
import zarr
from hdmf.backends.hdf5 import H5DataIO
from hdmf.common import DynamicTable, ElementIdentifiers, VectorData, VectorIndex
from hdmf.data_utils import DataChunkIterator, GenericDataChunkIterator
from measure import PeakMemory, anonymous_bytes, table
from mpi4py import MPI
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.image import ImageSeries
from pynwb.misc import Units
from pynwb.ophys import PlaneSegmentation
from pynwb.testing.mock.ophys import mock_ImagingPlane

from parnwb import DaskArrayIterator, Distributed, DistributedRagged, MovieFrames, NWBParallelIO, Stream, repack
from parnwb.site import parallel_hdf5

PIXEL = np.dtype([("x", "u4"), ("y", "u4"), ("weight", "f4")])
ROWS = 500  # of ragged tables
# What is put together, what the source returned, and encoded chunks of three buffers; and what allocators keep.
BUFFERS, ALLOWED_MB = 6, 40
MPIO_MB = 64  # what Open MPI keeps where it collects what ranks write together: up to 80 MB of 80 as of 400, measured
BLOCKS = 3  # two that are read and encoded in turn, and what the source needs to make one
Made = Callable[[Path, int], Any]


def mapped(path: Path, dtype: Any, nbytes: int, columns: int = 0) -> Any:
    """Return bytes that are no noise and no constant, from a file that the root makes."""
    dtype = np.dtype(dtype)
    row = dtype.itemsize * max(columns, 1)
    if MPI.COMM_WORLD.rank == 0 and (not path.exists() or path.stat().st_size < nbytes):
        ramp = np.arange(2**18) % 2 if dtype.kind == "b" else np.arange(2**18) % 251
        block = ramp.astype("u4" if dtype.names else dtype).tobytes()
        with path.open("wb") as file:
            while file.tell() < nbytes:
                file.write(block)
    MPI.COMM_WORLD.Barrier()
    shape = (nbytes // row, columns) if columns else (nbytes // row,)
    return np.memmap(path, dtype, "r", shape=shape)


def session(*series: TimeSeries) -> NWBFile:
    file = NWBFile("memory", "memory", datetime(2026, 1, 1, tzinfo=timezone.utc))
    for one in series:
        file.add_acquisition(one)
    return file


def series_of(dtype: str, **settings: Any) -> Made:
    """Return what makes a session with an array of rows; with settings it is wrapped."""

    def made(folder: Path, nbytes: int) -> NWBFile:
        data = mapped(folder / f"rows{np.dtype(dtype).str}", dtype, nbytes, 64)
        return session(TimeSeries("rows", data=H5DataIO(data, **settings) if settings else data, unit="V", rate=1.0))

    return made


def timestamps(folder: Path, nbytes: int) -> NWBFile:
    """float32, which hdmf makes float64."""
    times = mapped(folder / "times", "f4", nbytes)
    return session(TimeSeries("timed", data=mapped(folder / "data", "i2", nbytes // 2), timestamps=times, unit="V"))


def ragged(kind: type[DynamicTable], column: str, values: Any, **keywords: Any) -> DynamicTable:
    """Return a table with one ragged column."""
    data = VectorData(name=column, description="values", data=values)
    ends = np.linspace(0, len(values), ROWS + 1)[1:].astype("u8")
    index = VectorIndex(name=f"{column}_index", data=ends, target=data)
    ids = ElementIdentifiers(name="id", data=np.arange(ROWS))
    return kind(description="ragged", columns=[data, index], id=ids, colnames=[column], **keywords)


def units_of(dtype: str) -> Made:
    def made(folder: Path, nbytes: int) -> NWBFile:
        file = session()
        file.units = ragged(Units, "spike_times", mapped(folder / f"spikes{dtype}", dtype, nbytes), name="units")
        return file

    return made


def pixel_masks(folder: Path, nbytes: int) -> NWBFile:
    file = session()
    plane = mock_ImagingPlane(nwbfile=file)
    values = mapped(folder / "pixels", PIXEL, nbytes)
    masks = ragged(PlaneSegmentation, "pixel_mask", values, name="masks", imaging_plane=plane)
    file.create_processing_module("ophys", "masks").add(masks)
    return file


def copied_dataset(folder: Path, nbytes: int) -> NWBFile:
    path = folder / "source.h5"
    rows = mapped(folder / "rows<i2", "i2", nbytes, 64)
    if MPI.COMM_WORLD.rank == 0 and not path.exists():
        with h5py.File(path, "w") as file:
            file.create_dataset("rows", data=rows, chunks=(4096, 64), compression="gzip", compression_opts=1)
    MPI.COMM_WORLD.Barrier()
    data = H5DataIO(h5py.File(path, "r")["rows"], link_data=False)
    return session(TimeSeries("rows", data=data, unit="V", rate=1.0))


WIDE = 65536  # elements of a row of what comes row by row


def generator(folder: Path, nbytes: int) -> NWBFile:
    """Rows that one rank reads, in their order, and others write."""
    rows = mapped(folder / "wide", "i2", nbytes, WIDE)
    each = (np.array(row) for row in rows)
    data = DataChunkIterator(data=each, buffer_size=8, maxshape=(None, WIDE), dtype=rows.dtype)
    return session(TimeSeries("rows", data=data, unit="V", rate=1.0))


class Rows(GenericDataChunkIterator):  # type: ignore[misc]
    """An iterator of a user's own."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows
        super().__init__(buffer_shape=(65536, 64), chunk_shape=(8192, 64))

    def _get_data(self, selection: tuple[slice, ...]) -> Any:
        return np.array(self.rows[selection])

    def _get_maxshape(self) -> tuple[int, ...]:
        return tuple(self.rows.shape)

    def _get_dtype(self) -> np.dtype[Any]:
        return np.dtype("i2")

    def _to_dict(self) -> dict[str, Any]:
        return {"path": str(self.rows.filename), "shape": self.rows.shape}

    @classmethod
    def _from_dict(cls, dictionary: dict[str, Any]) -> Rows:
        return cls(np.memmap(dictionary["path"], "i2", "r", shape=dictionary["shape"]))


def iterator(folder: Path, nbytes: int) -> NWBFile:
    return session(TimeSeries("rows", data=Rows(mapped(folder / "rows<i2", "i2", nbytes, 64)), unit="V", rate=1.0))


def zarr_rows(folder: Path, nbytes: int) -> Path:
    path, rows = folder / "source.zarr", mapped(folder / "rows<i2", "i2", nbytes, 64)
    if MPI.COMM_WORLD.rank == 0 and not path.exists():
        array = zarr.open(str(path), "w", shape=rows.shape, chunks=(16384, 64), dtype="i2")
        for low in range(0, len(rows), 16384):
            array[low : low + 16384] = rows[low : low + 16384]
    MPI.COMM_WORLD.Barrier()
    return path


def zarr_array(folder: Path, nbytes: int) -> NWBFile:
    data = zarr.open(str(zarr_rows(folder, nbytes)), "r")
    return session(TimeSeries("rows", data=data, unit="V", rate=1.0))


def dask_array(folder: Path, nbytes: int) -> NWBFile:
    """A graph that reads files: one that holds values is refused where it has to be sent."""
    lazy = dask.array.from_zarr(str(zarr_rows(folder, nbytes))) + np.int16(1)
    return session(TimeSeries("rows", data=DaskArrayIterator(lazy), unit="V", rate=1.0))


def in_turn(folder: Path, nbytes: int) -> NWBFile:
    """Columns that ranks have in turn, so that each chunk has some of every rank."""
    comm = MPI.COMM_WORLD
    own, rows = np.arange(comm.rank, 64, comm.size), mapped(folder / "rows<i2", "i2", nbytes, 64)
    data = Distributed(rows[:, comm.rank :: comm.size], 1, index=own, comm=comm)
    return session(TimeSeries("rows", data=data, unit="V", rate=1.0))


def trains(folder: Path, nbytes: int) -> NWBFile:
    """Spike times of cells that ranks have in turn."""
    comm, file = MPI.COMM_WORLD, session()
    spikes = np.array_split(mapped(folder / "spikesf8", "f8", nbytes), ROWS)
    own = range(comm.rank, ROWS, comm.size)
    spread = DistributedRagged([spikes[cell] for cell in own], index=list(own), comm=comm)
    columns = spread.columns("spike_times", "values")
    file.units = Units(name="units", description="ragged", id=list(range(ROWS)), columns=columns)
    return file


def stream(folder: Path, nbytes: int) -> NWBFile:
    """Rows that ranks append."""
    mapped(folder / "rows<i2", "i2", nbytes, 64)
    return session(TimeSeries("rows", data=Stream("i2", (64,)), unit="V", rate=1.0))


HEIGHT, WIDTH = 480, 640


def made_once(path: Path, make: Callable[[Path], None]) -> Path:
    """Return the path of what the root makes where it is not there yet. Collective."""
    if MPI.COMM_WORLD.rank == 0 and not path.exists():
        make(path)
    MPI.COMM_WORLD.Barrier()
    return path


def picture(number: int) -> Any:
    """Return a frame: a ramp that moves."""
    ramp = np.arange(HEIGHT * WIDTH, dtype="u4") // 97 % 251
    return np.roll(ramp, number * 31).reshape(HEIGHT, WIDTH).astype("u1")


def frames_of(path: Path, *colours: int) -> NWBFile:
    data = MovieFrames(path, chunk_shape=(10, HEIGHT, WIDTH, *colours), buffer_gb=0.016)
    return session(ImageSeries("frames", data=data, unit="n.a.", rate=30.0))


def movie(folder: Path, nbytes: int) -> NWBFile:
    """Frames that each rank decodes."""

    def make(path: Path) -> None:
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=30)
            stream.width, stream.height, stream.pix_fmt, stream.gop_size = WIDTH, HEIGHT, "yuv420p", 12
            for number in range(nbytes // (3 * HEIGHT * WIDTH)):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(number), format="gray")))
            container.mux(stream.encode())

    return frames_of(made_once(folder / "movie.mp4", make), 3)


def stack(folder: Path, nbytes: int) -> NWBFile:
    """Pages of a TIFF file that are compressed, so that they cannot be mapped."""

    def make(path: Path) -> None:
        shape = (nbytes // (HEIGHT * WIDTH), HEIGHT, WIDTH)
        pages = map(picture, range(shape[0]))
        kind = {"shape": shape, "dtype": "u1", "photometric": "minisblack"}
        tifffile.imwrite(path, pages, **kind, bigtiff=True, compression="zlib")

    return frames_of(made_once(folder / "stack.tif", make))


def existing(path: Path, data: Any) -> None:
    """Write a file of one series with pynwb."""
    rows = H5DataIO(data, maxshape=(None, 64), chunks=(4096, 64), compression="gzip", compression_opts=1)
    with NWBHDF5IO(path, "w") as io:
        io.write(session(TimeSeries("old", data=rows, unit="V", rate=1.0)))


def added(folder: Path, nbytes: int) -> Any:
    """Rows for a file that has few."""
    if MPI.COMM_WORLD.rank == 0:
        existing(folder / "added_to.nwb", np.zeros((10, 64), "i2"))
    MPI.COMM_WORLD.Barrier()
    return mapped(folder / "rows<i2", "i2", nbytes, 64)


def exported(folder: Path, nbytes: int) -> Path:
    """A file that has all rows."""
    rows = mapped(folder / "rows<i2", "i2", nbytes, 64)
    return made_once(folder / f"source-{nbytes}.nwb", lambda path: existing(path, rows))


OLD_CHUNKS, NEW_CHUNKS = (256, 2048), (128, 32768)


def wide_rows(folder: Path, nbytes: int) -> Path:
    """A dataset that is one row of chunks, all of which a chunk of other rows needs some of."""

    def make(path: Path) -> None:
        rows, columns = OLD_CHUNKS
        shape = (rows, nbytes // (2 * rows) // columns * columns)
        chunk = zlib.compress((np.arange(rows * columns) % 251).astype("<i2").tobytes(), 1)
        with h5py.File(path, "w") as file:
            made = file.create_dataset("wide", shape, "<i2", chunks=OLD_CHUNKS, compression="gzip")
            for start in range(0, shape[1], columns):
                made.id.write_direct_chunk((0, start), chunk)

    return made_once(folder / f"wide-{nbytes}.h5", make)


@dataclass(frozen=True)
class Turn:
    """How one kind is written once.

    Parameters
    ----------
    folder
        Where.
    settings
        For ``NWBParallelIO``.
    has
        Whether this rank gives what is written.
    nbytes
        Size of the data.
    """

    folder: Path
    settings: dict[str, Any]
    has: bool
    nbytes: int


def new_file(turn: Turn, nwbfile: NWBFile) -> None:
    with NWBParallelIO(turn.folder / "out.nwb", "w", overwrite=True, **turn.settings) as io:
        io.write(nwbfile if turn.has else None)


def appended(turn: Turn, nwbfile: NWBFile) -> None:
    """Append the rows of a stream, in blocks of 1 MB, each rank every other one."""
    comm, rows = MPI.COMM_WORLD, mapped(turn.folder / "rows<i2", "i2", turn.nbytes, 64)
    each = 2**20 // rows[0].nbytes
    with NWBParallelIO(turn.folder / "out.nwb", "w", overwrite=True, **turn.settings) as io:
        io.write(nwbfile if turn.has else None)
        for low in range(0, len(rows), each * comm.size):
            first = low + each * comm.rank
            io.append("/acquisition/rows/data", rows[first : first + each])


def added_series(turn: Turn, rows: Any) -> None:
    """Add a series to a file."""
    with NWBParallelIO(turn.folder / "added_to.nwb", "r+", **turn.settings) as io:
        nwbfile = io.read()
        nwbfile.add_acquisition(TimeSeries("rows", data=rows, unit="V", rate=1.0))
        io.write(nwbfile if turn.has else None)


def extended(turn: Turn, rows: Any) -> None:
    """Give a dataset of a file more rows."""
    with NWBParallelIO(turn.folder / "added_to.nwb", "r+", **turn.settings) as io:
        io.extend("/acquisition/old/data", rows if turn.has else None)


def copied_file(turn: Turn, source: Path) -> None:
    path = turn.folder / "out.nwb"
    NWBParallelIO.export_io(path, source if turn.has else None, overwrite=True, **turn.settings)


def chunked_anew(turn: Turn, source: Path) -> None:
    given = {**turn.settings, "chunks": NEW_CHUNKS, "compression": "gzip-1"}
    repack(source, turn.folder / "out.h5", overwrite=True, **given)


@dataclass(frozen=True)
class Kind:
    """What is written.

    Parameters
    ----------
    made
        Makes the NWBFile, or what else ``write`` takes. Collective.
    block_mb
        MiB that are read at once, however small the buffers are: whole blocks of a source's own grid.
    kept_mb
        MiB of decoded chunks of another file that are kept for the next buffer.
    is_spread
        Whether every rank has a part, so that the NWBFile has to be on all of them.
    write
        Writes what was made. Collective.
    backend
        By which.
    """

    made: Made
    block_mb: int = 0
    kept_mb: int = 0
    is_spread: bool = False
    write: Callable[[Turn, Any], None] = new_file
    backend: str = "direct"

    def size_mb(self, megabytes: int) -> int:
        """Return the size of the data, which is much larger than what may be in memory."""
        return max(megabytes, BLOCKS * self.block_mb * 2, 4 * self.kept_mb) + 2 * self.collected_mb

    def allowed_mb(self, buffer_mb: float) -> float:
        """Return how much memory may grow."""
        blocks = BLOCKS * self.block_mb + self.kept_mb
        return (BUFFERS * buffer_mb + blocks + self.collected_mb) * 1.048576 + ALLOWED_MB

    @property
    def collected_mb(self) -> int:
        """MiB that MPI may take beside the buffers."""
        return MPIO_MB if self.backend == "mpio" else 0


KINDS: dict[str, Kind] = {
    "int16": Kind(series_of("<i2")),
    "int16 in H5DataIO": Kind(series_of("<i2", chunks=(4096, 64), compression="gzip", compression_opts=1)),
    "big-endian int16": Kind(series_of(">i2")),
    "booleans": Kind(series_of("?")),
    "float32 timestamps": Kind(timestamps),
    "spike times, float64": Kind(units_of("f8")),
    "spike times, float32": Kind(units_of("f4")),
    "pixel masks": Kind(pixel_masks),
    "HDF5 dataset, copied": Kind(copied_dataset),
    "DataChunkIterator over a generator": Kind(generator),
    "GenericDataChunkIterator": Kind(iterator, block_mb=32),
    "Zarr array": Kind(zarr_array, block_mb=32),
    "dask array": Kind(dask_array, block_mb=32),
    "Distributed columns": Kind(in_turn, is_spread=True),
    "DistributedRagged spike times": Kind(trains, is_spread=True),
    "Stream": Kind(stream, write=appended),
    "MovieFrames of a movie": Kind(movie, block_mb=32),
    "MovieFrames of a TIFF stack": Kind(stack, block_mb=32),
    "series added to a file": Kind(added, write=added_series),
    "rows that extend a dataset": Kind(added, write=extended),
    "export": Kind(exported, write=copied_file),
    # A chunk has 8 MiB, of which as many are under way as of other buffers.
    "repack to other chunks": Kind(wide_rows, block_mb=16, kept_mb=64, is_spread=True, write=chunked_anew),
}
BY_MPIO = ("int16", "int16 in H5DataIO", "GenericDataChunkIterator", "Distributed columns", "Stream", "export")


def kinds(only: str) -> dict[str, Kind]:
    """Return the kinds that this h5py can write and whose names contain a text."""
    by_mpio = {f"{name}, by mpio": replace(KINDS[name], backend="mpio") for name in BY_MPIO}
    possible = {**KINDS, **(by_mpio if parallel_hdf5() else {})}
    return {name: kind for name, kind in possible.items() if only in name}


def growth_mb(kind: Kind, folder: Path, megabytes: int, buffer_mb: float, *, on_root: bool) -> float:
    """Write one kind; return the largest growth of any rank's anonymous memory, in MB. Collective."""
    comm, nbytes = MPI.COMM_WORLD, kind.size_mb(megabytes) * 10**6
    made = kind.made(folder, nbytes)
    settings: dict[str, Any] = {"comm": comm, "backend": kind.backend, "buffer_mb": buffer_mb, "progress": False}
    turn = Turn(folder, {"compression": 1, **settings}, comm.rank == 0 or not on_root, nbytes)
    before = anonymous_bytes()
    with PeakMemory() as memory:
        kind.write(turn, made)
    return max(comm.allgather(memory.peaks[0] - before)) / 1e6


def measured(chosen: dict[str, Kind], folder: Path, megabytes: int, buffer_mb: float) -> dict[str, list[float]]:
    """Return the growth of each kind, NWBFile on all ranks and, where that can be, on the root. Collective."""
    return {
        name: [
            growth_mb(kind, folder, megabytes, buffer_mb, on_root=on_root)
            for on_root in ((False,) if kind.is_spread else (False, True))
        ]
        for name, kind in chosen.items()
    }


def main() -> None:
    """Parse, make the data, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=400)
    parser.add_argument("--buffer-mb", type=float, default=16)
    parser.add_argument("--folder", type=Path, default=Path(), help="for the data and the file (default: here)")
    parser.add_argument("--smoke", action="store_true", help="a small size, to see that this program works")
    parser.add_argument("--only", default="", help="kinds with this in their names, such as mpio")
    arguments = parser.parse_args()
    if arguments.smoke:
        arguments.megabytes, arguments.buffer_mb = 80, 1.0
    warnings.simplefilter("ignore")
    comm = MPI.COMM_WORLD
    own = tempfile.TemporaryDirectory(prefix="parnwb-memory-", dir=arguments.folder) if comm.rank == 0 else None
    folder = Path(comm.bcast(own.name if own else None))
    chosen = kinds(arguments.only)
    found = measured(chosen, folder, arguments.megabytes, arguments.buffer_mb)
    allowed = {name: kind.allowed_mb(arguments.buffer_mb) for name, kind in chosen.items()}
    if own is not None:
        told = {name: [f"{mb:.0f}" for mb in growths] for name, growths in found.items()}
        rows = [[name, *texts, *["-"] * (2 - len(texts)), f"{allowed[name]:.0f}"] for name, texts in told.items()]
        print(table(["kind", "NWBFile on all ranks", "on the root", "allowed"], rows))
        print(f"\nGrowth in MB; {arguments.megabytes} MB, {comm.size} ranks, buffers of {arguments.buffer_mb} MiB")
        own.cleanup()
    sys.exit(int(any(mb > allowed[name] for name, growths in found.items() for mb in growths)))


if __name__ == "__main__":
    main()
