"""Run under mpiexec: exports prepared files, as ``EXPORTS`` says. Arguments: a folder with ``CASE.nwb``, an output."""

from __future__ import annotations

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
from contract import inputs
from contract.appending import same_ids
from contract.cases import SMALL_BUFFERS, START
from contract.contents import sessions
from contract.inputs import add, keep, values
from contract.roads import TRANSFERS
from pynwb import NWBHDF5IO, H5DataIO, NWBFile

from parnwb.site import parallel_hdf5

Change = Callable[[NWBFile], None]
BACKENDS = ("direct", "virtual", *(("mpio",) if parallel_hdf5() else ()))


@dataclass(frozen=True)
class Export:
    """How a file is exported.

    Parameters
    ----------
    change
        What the program does to what was read; None if it does not read it.
    write_args
        For ``export``, of pynwb as of parnwb.
    cache_spec
        As for ``export``.
    everywhere
        Whether all ranks have the file open, or the root alone.
    by_path
        Whether parnwb opens it.
    settings
        For ``NWBParallelIO``.
    """

    change: Change | None = None
    write_args: dict[str, Any] | None = None
    cache_spec: bool = False
    everywhere: bool = True
    by_path: bool = False
    settings: dict[str, Any] = field(default_factory=lambda: dict(SMALL_BUFFERS))


def changed(file: NWBFile) -> None:
    """Add and remove containers, link to data that are exported, replace some."""
    add(file, "added", H5DataIO(values((900, 8)), compression="gzip", chunks=(100, 8)))
    add(file, "linked", file.acquisition["gzip"].data)
    add(file, "shared", file.acquisition["timed"], timestamps=file.acquisition["timed"])
    file.acquisition.pop("bare")
    file.acquisition["timed"].set_modified()
    file.set_modified()


def rows(file: NWBFile) -> None:
    """Add to what is there."""
    file.trials.add_column(name="extra", description="numbers", data=values((5,)))
    file.create_processing_module("analysis", "of this").add(add(file, "more", values((90, 3), "f4")))


EXPORTS: dict[str, Export] = {
    "as_it_is": Export(cache_spec=True),
    "by_path": Export(by_path=True, settings={}),
    "root_only": Export(everywhere=False),
    "copied": Export(write_args={"link_data": False}),
    "changed": Export(changed),
    "changed_on_root": Export(changed, everywhere=False),
    "changed_copied": Export(changed, {"link_data": False}),
    "rows": Export(rows, {"expandable": []}),
    "compressed": Export(rows, settings={**SMALL_BUFFERS, "compression": "gzip"}),
}


def prepare(folder: Path) -> None:
    """Write the file that is exported, and one that it links to, by pynwb."""
    inputs.prepare(folder)
    with same_ids("exported"), h5py.File(folder / "sources.h5", "r+") as others:
        for dataset in others.values():
            dataset.attrs.update({"unit": "V", "conversion": 1.0, "resolution": -1.0, "offset": 0.0})
        file = NWBFile("a contract", "exporting", START, file_create_date=START)
        sessions.session(file, folder)
        gzip = {"compression": "gzip", "shuffle": True, "chunks": (100, 3), "maxshape": (None, 8)}
        add(file, "gzip", H5DataIO(values((450, 8)), **gzip))
        add(file, "bare", values((500, 3), "f4"))
        add(file, "timed", values((300, 4)), timestamps=values((300,), "f8"))
        times = file.acquisition["timed"]
        add(file, "same_times", values((300, 4)), timestamps=times)
        add(file, "same_data", times, timestamps=values((300,), "f8"))
        add(file, "filled", H5DataIO(values((77, 5), "f8"), fillvalue=3.0, maxshape=(None, 5), chunks=(10, 5)))
        add(file, "elsewhere", H5DataIO(others["contiguous"], link_data=True))
        copied = ["checked", "scaled_fill", "big_endian", "flags", "states", "growing", "empty"]
        if not parallel_hdf5() or h5py.version.hdf5_version_tuple[:2] >= (1, 14):  # else mpio refuses it, as it must
            copied.append("lzf")
        for name in copied:
            keep(file, f"kept_{name}", H5DataIO(others[name], link_data=False))
        lacking = np.broadcast_to(np.int16(7), (90, 6))
        keep(file, "lacking", H5DataIO(lacking, chunks=(10, 6), maxshape=(None, 6), compression="gzip"))
        with NWBHDF5IO(folder / "source.nwb", "w") as io:
            io.write(file, cache_spec=False)
    with h5py.File(folder / "source.nwb", "r+") as hdf5:
        hdf5["/scratch/lacking"].resize(10, axis=0)
        hdf5["/scratch/lacking"].resize(95, axis=0)
        hdf5["/scratch/lacking"][41:44] = 9


def export(name: str, source: Path, rank: int, opened: Callable[[], Any], *, by_path: bool = False) -> None:
    """Do one case; ``opened`` opens the output by pynwb or by parnwb."""
    case = EXPORTS[name]
    arguments = {"write_args": dict(case.write_args) if case.write_args else None, "cache_spec": case.cache_spec}
    with same_ids(f"{name} on rank {rank}"), opened() as output:
        if by_path:
            output.export(source, **arguments)
        elif not case.everywhere and rank:
            output.export(None, **arguments)
        else:
            with NWBHDF5IO(source, "r") as io:
                file = io.read() if case.change is not None else None
                if case.change is not None:
                    case.change(file)
                output.export(src_io=io, nwbfile=file, **arguments)


def main(source: Path, outputs: Path) -> None:
    from mpi4py import MPI

    from parnwb import NWBParallelIO

    comm = MPI.COMM_WORLD
    for number, (name, case) in enumerate(EXPORTS.items()):
        for backend in BACKENDS:
            settings = {**case.settings, "backend": backend, "transfer": TRANSFERS[number % 2]}
            path = outputs / backend / f"{name}.nwb"
            if comm.rank == 0:
                print(name, backend, flush=True)  # the last of these lines tells where a launch hung

            def opened(path: Path = path, settings: dict[str, Any] = settings) -> NWBParallelIO:
                return NWBParallelIO(path, "w", comm=comm, progress=False, **settings)

            try:
                export(name, source, comm.rank, opened, by_path=case.by_path)
            except Exception:
                if comm.rank == 0:
                    path.with_suffix(".failed").write_text(traceback.format_exc())


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]), Path(sys.argv[2]))
