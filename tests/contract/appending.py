"""Run under mpiexec: appends to every prepared file, as ``APPENDS`` says. Arguments: a folder with ``CASE.nwb``."""

from __future__ import annotations

import random
import sys
import traceback
import uuid
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).parents[1]))

import h5py
import numpy as np
from contract.cases import SMALL_BUFFERS, START
from contract.contents import sessions
from contract.inputs import add, values
from hdmf.common import DynamicTable
from pynwb import NWBHDF5IO, H5DataIO, NWBFile, get_manager
from pynwb.ecephys import ElectricalSeries

Change = Callable[[NWBFile], None]


@dataclass(frozen=True)
class Append:
    """What is added to a file, and what kind of file it is.

    Parameters
    ----------
    change
        Adds to what was read.
    created
        For ``h5py.File``, of the file that is appended to.
    arguments
        For ``write``, of pynwb as of parnwb.
    settings
        For ``NWBParallelIO``.
    everywhere
        Whether all ranks give the NWBFile to ``write``, or the root alone.
    times
        How often it is done.
    """

    change: Change
    created: dict[str, Any] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=lambda: dict(SMALL_BUFFERS))
    everywhere: bool = True
    times: int = 1


def series(file: NWBFile) -> None:
    """Large data of every layout, and timestamps that are there already."""
    number = len(file.acquisition)
    old = file.acquisition["timed"]
    add(file, f"gzip{number}", H5DataIO(values((900, 8)), compression="gzip", chunks=(100, 8)))
    add(file, f"bare{number}", values((500, 3), "f4"))
    add(file, f"shares_timestamps{number}", values((300, 2)), timestamps=old)
    add(file, f"links_timestamps{number}", values((300, 2)), timestamps=old.timestamps)
    add(file, f"shares_data{number}", old, timestamps=values((300,), "f8"))
    add(file, f"filled{number}", H5DataIO(values((77, 5), "f8"), fillvalue=3.0, maxshape=(None, 5), chunks=(10, 5)))


def references(file: NWBFile) -> None:
    """Series of electrodes, columns, rows and modules."""
    region = file.create_electrode_table_region([1, 3, 5], "three of them")
    data = H5DataIO(values((400, 3)), compression="gzip", shuffle=True, chunks=(50, 3))
    file.add_acquisition(ElectricalSeries(name="more", data=data, electrodes=region, rate=3e4))
    file.trials.add_column(name="extra", description="numbers", data=values((5,)))
    table = file.scratch["conditions"]
    table.add_row(name="late", weight=0.5)
    table.add_column(name="extra", description="numbers", data=values((3,)))
    module = file.create_processing_module("analysis", "of this")
    module.add(ElectricalSeries(name="derived", data=values((200, 3), "f4"), electrodes=region, rate=1.0))
    file.processing["ecephys"].add(ElectricalSeries(name="beside", data=values((90, 3)), electrodes=region, rate=1.0))


def nothing(file: NWBFile) -> None:
    """Add nothing."""


def copies(file: NWBFile) -> None:
    """What is in the file already, once more."""
    add(file, "copied", file.acquisition["timed"].data, timestamps=file.acquisition["timed"].timestamps)


APPENDS: dict[str, Append] = {
    "series": Append(series),
    "references": Append(references),
    "nothing": Append(nothing),
    "default_threshold": Append(series, settings={}),
    "copies": Append(copies, arguments={"link_data": False}),
    "root_only": Append(series, everywhere=False),
    "no_specs": Append(references, arguments={"cache_spec": False}),
    "several_times": Append(series, times=3),
    "latest": Append(series, {"libver": "latest"}),
    "latest_references": Append(references, {"libver": "latest"}),
    "user_block": Append(series, {"userblock_size": 1024}),
    "pages": Append(references, {"fs_strategy": "page"}),
}


@contextmanager
def same_ids(name: str) -> Iterator[None]:
    """Let every root, and pynwb, make the same object ids."""
    dice = random.Random(name)
    with patch("hdmf.container.uuid4", lambda: uuid.UUID(int=dice.getrandbits(128), version=4)):
        yield


def prepare(name: str, path: Path) -> None:
    """Write the file that is appended to, by pynwb."""
    with same_ids(f"{name} before"):
        file = NWBFile("a contract", "appending", START, file_create_date=START)
        sessions.session(file, path)
        add(file, "timed", values((300, 4)), timestamps=values((300,), "f8"))
        table = DynamicTable(name="conditions", description="rows can be added to it")
        table.add_column(name="name", description="text")
        table.add_column(name="weight", description="numbers")
        table.add_row(name="first", weight=1.0)
        table.add_row(name="second", weight=2.0)
        file.add_scratch(table)
    with h5py.File(path, "w", **APPENDS[name].created) as hdf5, NWBHDF5IO(file=hdf5, mode="w", path=str(path)) as io:
        io.write(file, cache_spec=name != "no_specs")


def append(name: str, path: Path, rank: int, opened: Callable[[Path], Any]) -> None:
    """Do one case; ``opened`` opens the file by pynwb or by parnwb."""
    case = APPENDS[name]
    for time in range(case.times):
        with same_ids(f"{name} {time} on rank {rank}"), opened(path) as io:
            file = io.read()
            assert np.array_equal(file.acquisition["timed"].data[:], values((300, 4)))
            if case.everywhere or rank == 0:
                case.change(file)
            io.write(file if case.everywhere or rank == 0 else None, **case.arguments)


def main(folder: Path) -> None:
    from mpi4py import MPI

    from parnwb import NWBParallelIO

    comm = MPI.COMM_WORLD
    manager_of = {name: get_manager() if name == "series" else None for name in APPENDS}
    for name, case in APPENDS.items():
        path = folder / f"{name}.nwb"
        if comm.rank == 0:
            print(name, flush=True)  # the last of these lines tells where a launch hung

        def opened(path: Path, name: str = name, settings: dict[str, Any] = case.settings) -> NWBParallelIO:
            return NWBParallelIO(path, "a", comm=comm, manager=manager_of[name], progress=False, **settings)

        try:
            append(name, path, comm.rank, opened)
        except Exception:
            if comm.rank == 0:
                path.with_suffix(".failed").write_text(traceback.format_exc())


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]))
