"""Run under mpiexec in a folder: the Python blocks of all pages. Each page has a folder and the names that it takes for
granted, which `SCENES` gives; a line ``name = ...`` of a block stands for one of these.
"""

from __future__ import annotations

import io
import logging
import os
import re
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import h5py
import numpy as np
from contract.schema import SCHEMA, write_schema
from docs.blocks import ROOT, python_blocks
from failure.faults.material import START
from hdmf.build import BuildManager
from mpi4py import MPI
from pynwb import H5DataIO, NWBFile, TimeSeries, get_type_map
from pynwb.misc import Units

import parnwb

Names = dict[str, Any]
comm = MPI.COMM_WORLD
STANDS_FOR = re.compile(r"^\w+ = \.\.\..*$", re.MULTILINE)
RATE = 1000.0


def main() -> None:
    pages = python_blocks()
    assert set(pages) == set(SCENES), "what a page takes for granted stands in this program"
    for page, found in pages.items():
        folder = Path(page.replace("/", "_"))
        folder.mkdir(exist_ok=True)
        comm.Barrier()
        os.chdir(folder)
        names: Names = {"comm": comm}
        try:
            scene = SCENES[page](names)
            next(scene)
            for block in found:
                names |= {"nwbfile": names["session"]()}
                code = STANDS_FOR.sub("", block.code)
                exec(compile("\n" * block.line + code, str(ROOT / page), "exec"), names)
            comm.Barrier()
            next(scene, None)
        except BaseException:
            # At once: the other ranks may wait for this one.
            print(traceback.format_exc(), file=sys.stderr, flush=True)
            comm.Abort(1)
        os.chdir("..")
        if comm.rank == 0:
            print("run:", *found, flush=True)


def has(path: str, dataset: str, expected: Any) -> None:
    with h5py.File(path) as file:
        assert np.array_equal(file[dataset][()], expected), f"{path}: {dataset}"


def empty() -> NWBFile:
    return NWBFile("a page", "page", START)


# What pages take for granted, before `yield`, and what is true when their blocks have been run. Each block gets a new
# NWBFile.

Scene = Iterator[None]


def of_values(names: Names, shape: tuple[int, ...] = (10_000, 2)) -> np.ndarray:
    """Let the NWBFile of each block have a series of values, and return these."""
    values = np.arange(np.prod(shape), dtype="i4").reshape(shape)

    def session() -> NWBFile:
        nwbfile = empty()
        nwbfile.add_acquisition(TimeSeries("raw", data=values, unit="V", rate=RATE))
        return nwbfile

    names["session"] = session
    return values


def one_file(names: Names) -> Scene:
    names |= {"NWBParallelIO": parnwb.NWBParallelIO, "raw": np.ones((25_000, 100), "i2"), "RATE": RATE}
    values = of_values(names)
    yield
    has("session.nwb", "/acquisition/raw/data", values)


def landing_page(names: Names) -> Scene:
    names |= {"TimeSeries": TimeSeries, "Distributed": parnwb.Distributed, "gids": [comm.rank]}
    names |= {"local": np.zeros((3, 1)), "stream": parnwb.Stream("f8"), "block": [1.0, 2.0]}
    values = of_values(names)
    of_blocks = names["session"]

    def session() -> NWBFile:
        nwbfile = of_blocks()
        if Path("session.nwb").exists():  # the next is the block of streams
            nwbfile.add_acquisition(TimeSeries("s", data=names["stream"], unit="V", rate=RATE))
        return nwbfile

    names["session"] = session
    yield
    has("session.nwb", "/acquisition/raw/data", values)
    has("live.nwb", "/acquisition/s/data", [1.0, 2.0] * comm.size)
    assert names["potential"].maxshape == (3, comm.size)


def resident(names: Names) -> Scene:
    cells = 5
    own = list(range(comm.rank, cells, comm.size))
    names |= {"session": empty, "TimeSeries": TimeSeries, "Units": Units, "cells": cells, "gids": own}
    names |= {"local": np.ones((100, 1)) * own, "trains": [np.full(cell + 1, float(cell)) for cell in own]}
    yield
    has("out.nwb", "/acquisition/potential/data", np.ones((100, 1)) * np.arange(cells))
    has("out.nwb", "/units/spike_times", np.repeat(np.arange(cells), np.arange(cells) + 1))


class Watched(parnwb.NWBParallelIO):
    """Leaves the partial file as others see it after a commit, for the block that reads it."""

    def commit(self) -> None:
        super().commit()
        if comm.rank == 0:
            shutil.copy("simulation.nwb.partial", "seen")

    def close(self) -> None:
        super().close()
        if comm.rank == 0:
            Path("seen").rename("simulation.nwb.partial")
        comm.Barrier()


def streaming(names: Names) -> Scene:
    names |= {"session": empty, "TimeSeries": TimeSeries, "H5DataIO": H5DataIO, "h5py": h5py}
    names |= {"cells": 64, "steps": 1200, "now": [1.0], "block": np.full((1, 64), comm.rank, "f4")}
    given, parnwb.NWBParallelIO = parnwb.NWBParallelIO, Watched  # type: ignore[misc]
    yield
    parnwb.NWBParallelIO = given  # type: ignore[misc]
    has("simulation.nwb", "/acquisition/volts/data", np.tile(np.arange(comm.size), 1200)[:, None] * np.ones(64))
    with h5py.File("simulation.nwb.partial") as file:
        assert len(file["/acquisition/volts/data"]) == 1000 * comm.size


def types(names: Names) -> Scene:
    if comm.rank == 0:
        write_schema(Path.cwd())
        Path(SCHEMA).rename("ndx-lab.namespace.yaml")
    comm.Barrier()
    names |= {"NWBParallelIO": parnwb.NWBParallelIO, "BuildManager": BuildManager, "type_map": get_type_map()}
    values = of_values(names)
    yield
    for path in ("one.nwb", "two.nwb"):
        has(path, "/acquisition/raw/data", values)


def memory(names: Names) -> Scene:
    of_values(names)
    with parnwb.NWBParallelIO("session.nwb", "w", comm=comm) as names["io"]:
        names["io"].write(names["session"]())
    yield


def logged(names: Names) -> Scene:
    values = of_values(names)
    yield
    names["handler"].setStream(heard := io.StringIO())
    with parnwb.NWBParallelIO("session.nwb", "w", comm=comm, compression="auto", progress=True) as file:
        file.write(names["session"]())
    logging.getLogger("parnwb").setLevel(logging.NOTSET)
    logging.getLogger("parnwb").removeHandler(names["handler"])
    if comm.rank == 0:
        assert re.search(r"^\S+ \S+ rank 0 on \S+: .*session\.nwb", heard.getvalue(), re.MULTILINE), heard.getvalue()
    else:
        assert not heard.getvalue(), "one rank speaks for all"
    has("session.nwb", "/acquisition/raw/data", values)


SCENES: dict[str, Callable[[Names], Scene]] = {
    "README.md": one_file,
    "docs/index.md": landing_page,
    "docs/resident.md": resident,
    "docs/streaming.md": streaming,
    "docs/types.md": types,
    "docs/howto/backends.md": one_file,
    "docs/howto/chunks-and-codecs.md": one_file,
    "docs/howto/memory.md": memory,
    "docs/reference/events.md": logged,
}


if __name__ == "__main__":
    main()
