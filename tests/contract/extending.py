"""Run under mpiexec: gives more rows to the datasets of prepared files. Arguments: a folder with ``CASE.nwb``."""

from __future__ import annotations

import shutil
import sys
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import h5py
import numpy as np
from contract.appending import same_ids
from contract.cases import SMALL_BUFFERS, START
from contract.inputs import Movie, Slices, add, values
from hdmf.common import DynamicTable
from pynwb import NWBHDF5IO, H5DataIO, NWBFile

Rows = Callable[[Path], Any]


def series(name: str) -> str:
    return f"/acquisition/{name}/data"


@dataclass(frozen=True)
class Extension:
    """What is given to which datasets.

    Parameters
    ----------
    rows
        By path; each is made from the folder that holds the file.
    change
        What is added to the NWBFile as well; None if it is not read.
    created
        For ``h5py.File``, of the file.
    everywhere
        Whether all ranks have the rows, or the root alone.
    """

    rows: dict[str, Rows]
    change: Callable[[NWBFile], None] | None = None
    created: dict[str, Any] = field(default_factory=dict)
    everywhere: bool = True


def given(shape: tuple[int, ...], dtype: str = "i2") -> Rows:
    return lambda folder: values(shape, dtype)[::-1]


NUMBERS: dict[str, Rows] = {
    series("gzip"): given((333, 8)),
    series("wide"): given((77, 10), "f4"),
    series("plain"): given((200, 3)),
    series("checked"): given((50,), "u4"),
    series("aligned"): given((41, 2)),
    series("empty"): given((30, 4), "f8"),
    series("filled"): given((3, 5), "f8"),
    "/acquisition/timed/timestamps": given((501,), "f8"),
    "/acquisition/timed/data": given((501, 4)),
}
OTHERS: dict[str, Rows] = {
    series("lzf"): given((300, 3), "i4"),
    series("flags"): given((90,), "?"),
    series("narrow"): lambda folder: np.array([[255], [0], [7]], dtype="i4"),
    series("converted"): given((40, 2), "f4"),
    series("gzip"): lambda folder: Slices(values((150, 8)), (40, 8)),
    series("plain"): lambda folder: Movie(values((95, 3)), 10),
    series("wide"): lambda folder: np.memmap(folder / "rows.bin", dtype="f4", mode="r", shape=(60, 10)),
}
TABLE: dict[str, Rows] = {
    "/scratch/conditions/name": lambda folder: ["third", "", "f\u00fcnfte"],
    "/scratch/conditions/weight": lambda folder: [3.0, 4.0, 5.0],
    "/scratch/conditions/id": lambda folder: np.array([2, 3, 4]),
}


def more(file: NWBFile) -> None:
    """Add large data behind those that are extended, and links to them."""
    add(file, "more", H5DataIO(values((900, 8)), compression="gzip", chunks=(100, 8)))
    add(file, "links", file.acquisition["gzip"].data)
    add(file, "shares", values((300, 2)), timestamps=file.acquisition["timed"])


EXTENSIONS: dict[str, Extension] = {
    "numbers": Extension(NUMBERS),
    "others": Extension(OTHERS),
    "table": Extension(TABLE),
    "everything": Extension({**NUMBERS, **TABLE}, more),
    "root_only": Extension({**NUMBERS, **TABLE}, everywhere=False),
    "latest": Extension(NUMBERS, more, {"libver": "latest"}),
    "user_block": Extension(NUMBERS, None, {"userblock_size": 1024}),
    "pages": Extension(NUMBERS, more, {"fs_strategy": "page"}),
    "last": Extension({series("last"): given((10, 8))}, more),
    "last_of_latest": Extension({series("last"): given((10, 8))}, None, {"libver": "latest"}),
}


def prepare(folder: Path) -> None:
    """Write the files whose datasets are extended, by pynwb: one for each kind of file."""
    values((60, 10), "f4").tofile(folder / "rows.bin")
    first: dict[str, Path] = {}
    for name, case in EXTENSIONS.items():
        path = folder / f"{name}.nwb"
        if str(case.created) in first:
            shutil.copy(first[str(case.created)], path)
        else:
            _write(path, case.created)
        first.setdefault(str(case.created), path)


def _write(path: Path, created: dict[str, Any]) -> None:
    grows = {"maxshape": (None, 8), "chunks": (100, 8)}
    gzip = {"compression": "gzip", "shuffle": True}
    with same_ids("before"):
        file = NWBFile("a contract", "extending", START, file_create_date=START)
        add(file, "gzip", H5DataIO(values((450, 8)), **grows, **gzip))
        add(file, "wide", H5DataIO(values((55, 10), "f4"), maxshape=(None, None), chunks=(20, 3), **gzip))
        add(file, "plain", H5DataIO(values((130, 3)), maxshape=(500, 3), chunks=(40, 2)))
        add(file, "checked", H5DataIO(values((99,), "u4"), maxshape=(None,), chunks=(40,), fletcher32=True, **gzip))
        add(file, "aligned", H5DataIO(values((60, 2)), maxshape=(None, 2), chunks=(20, 2), compression="gzip"))
        add(file, "empty", H5DataIO(np.empty((0, 4), "f8"), maxshape=(None, 4), chunks=(7, 4)))
        add(file, "filled", H5DataIO(values((11, 5), "f8"), fillvalue=3.0, maxshape=(None, 5), chunks=(10, 5)))
        add(file, "lzf", H5DataIO(values((70, 3), "i4"), compression="lzf", maxshape=(None, 3), chunks=(30, 3)))
        add(file, "flags", H5DataIO(values((70,), "?"), maxshape=(None,), chunks=(32,)))
        add(file, "narrow", H5DataIO(values((5, 1), "u1"), maxshape=(None, 1), chunks=(4, 1)))
        add(file, "converted", H5DataIO(values((5, 2), "f8"), maxshape=(None, 2), chunks=(4, 2)))
        times = H5DataIO(values((300,), "f8"), maxshape=(None,), chunks=(64,))
        add(file, "timed", H5DataIO(values((300, 4)), maxshape=(None, 4), chunks=(64, 4)), timestamps=times)
        table = DynamicTable(name="conditions", description="rows can be added to it")
        table.add_column(name="name", description="text")
        table.add_column(name="weight", description="numbers")
        table.add_row(name="first", weight=1.0)
        table.add_row(name="second", weight=2.0)
        file.add_scratch(table)
    with h5py.File(path, "w", **created) as hdf5, NWBHDF5IO(file=hdf5, mode="w", path=str(path)) as io:
        io.write(file, cache_spec=False)
    with NWBHDF5IO(path, "a") as io:
        file = io.read()
        with same_ids("last"):
            add(file, "last", H5DataIO(values((4444, 8))[:4400], **grows, **gzip))
        io.write(file, cache_spec=False)
    with h5py.File(path, "r+") as hdf5:  # a chunk that is not full, where the file ends
        hdf5[series("last")].resize(4444, axis=0)
        hdf5[series("last")][4400:] = values((4444, 8))[4400:]


def extend_plainly(name: str, path: Path) -> None:
    """Do one case by pynwb and h5py."""
    case = EXTENSIONS[name]
    if case.change is not None:
        with same_ids(f"{name} on rank 0"), NWBHDF5IO(path, "a") as io:
            file = io.read()
            case.change(file)
            io.write(file, cache_spec=False)
    with h5py.File(path, "r+") as file:
        for dataset, make in case.rows.items():
            rows = make(path.parent)
            rows = getattr(rows, "array", getattr(rows, "frames", rows))
            old = len(file[dataset])
            file[dataset].resize(old + len(rows), axis=0)
            file[dataset][old:] = rows


def extend(name: str, path: Path, comm: Any) -> None:
    """Do one case by parnwb; the datasets are named in every way that there is."""
    from parnwb import NWBParallelIO

    case = EXTENSIONS[name]
    with (
        same_ids(f"{name} on rank {comm.rank}"),
        NWBParallelIO(path, "r+", comm=comm, progress=False, **SMALL_BUFFERS) as io,
    ):
        file = io.read() if case.change is not None else None
        for dataset, make in case.rows.items():
            wanted: Any = dataset
            if file is not None and dataset.startswith("/scratch"):
                table = file.scratch["conditions"]
                wanted = table.id if dataset.endswith("id") else table[dataset.rsplit("/", 1)[1]]
            elif file is not None:
                kept = file.acquisition[dataset.split("/")[2]]
                wanted = kept.timestamps if dataset.endswith("timestamps") else kept
            io.extend(wanted, make(path.parent) if case.everywhere or comm.rank == 0 else None)
        if case.change is not None:
            assert file is not None
            case.change(file)
            io.write(file, cache_spec=False)


def main(folder: Path) -> None:
    from mpi4py import MPI

    for name in EXTENSIONS:
        path = folder / f"{name}.nwb"
        if MPI.COMM_WORLD.rank == 0:
            print(name, flush=True)  # the last of these lines tells where a launch hung
        try:
            extend(name, path, MPI.COMM_WORLD)
        except Exception:
            if MPI.COMM_WORLD.rank == 0:
                path.with_suffix(".failed").write_text(traceback.format_exc())


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]))
