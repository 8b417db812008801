"""Tables with data of ranks: as many rows as ids, or no file."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hdmf.common import DynamicTable, VectorData
from pynwb import NWBHDF5IO, H5DataIO, NWBFile
from pynwb.misc import Units

from parnwb import Distributed, DistributedRagged, NWBParallelIO
from parnwb.errors import ParnwbError

TRAINS = [np.zeros(2), np.ones(3), np.ones(1)]


def session() -> NWBFile:
    return NWBFile("a session", "id", datetime(2026, 1, 1, tzinfo=timezone.utc))


def units(ids: Any) -> NWBFile:
    file, trains = session(), DistributedRagged(TRAINS, comm=None)
    file.units = Units(name="units", description="u", id=ids, columns=trains.columns("spike_times", "s"))
    return file


def table(ids: Any, *lengths: int, wrapped: bool = False) -> NWBFile:
    file, columns = session(), []
    for number, length in enumerate(lengths):
        data: Any = Distributed(np.arange(length), comm=None)
        columns.append(VectorData(name=f"c{number}", description="c", data=H5DataIO(data) if wrapped else data))
    names = [column.name for column in columns]
    file.add_scratch(DynamicTable(name="rows", description="r", id=ids, columns=columns, colnames=names))
    return file


BAD = {
    "more ids": lambda: units([0, 1, 2, 3]),
    "fewer ids": lambda: units([0]),
    "ids of ranks": lambda: table(Distributed(np.arange(4), comm=None), 3),
    "two columns": lambda: table([0, 1, 2], 3, 4),
    "in H5DataIO": lambda: table([0, 1, 2], 4, wrapped=True),
}
GOOD = {
    "units": lambda: units([5, 6, 7]),
    "table": lambda: table([5, 6, 7], 3, 3),
    "ids of ranks": lambda: table(Distributed(np.arange(3), comm=None), 3, wrapped=True),
}


@pytest.mark.parametrize("made", BAD.values(), ids=BAD)
def test_what_pynwb_could_not_read_is_refused(tmp_path: Path, made: Any) -> None:
    said = pytest.raises(ParnwbError, match="all columns of a table must have a row for each id, got {'id': ")
    with said, NWBParallelIO(tmp_path / "out.nwb", "w", progress=False) as io:
        io.write(made())
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("made", GOOD.values(), ids=GOOD)
def test_others_are_written_and_read(tmp_path: Path, made: Any) -> None:
    with NWBParallelIO(tmp_path / "out.nwb", "w", progress=False) as io:
        io.write(made())
    with NWBHDF5IO(tmp_path / "out.nwb", "r") as io:
        file = io.read()
        assert len(file.units if file.units is not None else file.get_scratch("rows")) == 3
