"""Tables whose columns are spread over ranks, or grow: as many rows as ids, or no file."""

from __future__ import annotations

import os
from contextlib import nullcontext
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hdmf.common import AlignedDynamicTable, DynamicTable, ElementIdentifiers, VectorData, VectorIndex
from hdmf.data_utils import DataChunkIterator
from pynwb import NWBHDF5IO, H5DataIO, NWBFile
from pynwb.misc import Units

from parnwb import Distributed, DistributedRagged, NWBParallelIO, Stream
from parnwb.authoring.growing_tables import growing_tables
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


# -- columns that grow ---------------------------------------------------------------------------------------


class Streams:
    """Units whose ids and ragged columns are streams."""

    def __init__(self) -> None:
        self.ids, self.ends, self.values = Stream("i8"), Stream("u4", chunks=(2,)), Stream("f8")
        data = VectorData(name="spike_times", description="s", data=self.values)
        index = VectorIndex(name="spike_times_index", data=self.ends, target=data)
        ids = ElementIdentifiers(name="id", data=self.ids)
        self.file = session()
        self.file.units = Units(name="units", description="u", id=ids, columns=[index, data])

    def write(self, path: Path, mode: str = "w", **rows: list[float]) -> None:
        with NWBParallelIO(path, mode, progress=False) as io:
            io.write(self.file)
            io.append_together({getattr(self, name): values for name, values in rows.items()})


UNEVEN = {
    "an id too few": ({"ids": [0], "ends": [2, 3], "values": [0.1, 0.2, 0.3]}, "row for each id, got {'id': 1,"),
    "an id too many": ({"ids": [0, 1], "ends": [2], "values": [0.1, 0.2]}, "row for each id, got {'id': 2,"),
    "values missing": ({"ids": [0, 1], "ends": [2, 3], "values": [0.1]}, "index ends with 3, spike_times has 1"),
    "values without a row": ({"values": [0.1]}, "spike_times_index ends with 0, spike_times has 1"),
}


@pytest.mark.parametrize(("rows", "words"), UNEVEN.values(), ids=UNEVEN)
def test_streams_of_a_table_end_together_or_are_kept_until_they_do(tmp_path: Path, rows: Any, words: str) -> None:
    path = tmp_path / "out.nwb"
    with pytest.raises(ParnwbError, match=f"{words}.*at /units.*mode 'resume', append those that are missing"):
        Streams().write(path, **rows)
    assert sorted(os.listdir(tmp_path)) == ["out.nwb.partial", "out.nwb.partial.journal"]
    whole = {"ids": [0, 1], "ends": [2, 3], "values": [0.1, 0.2, 0.3]}
    Streams().write(path, "resume", **{name: own[len(rows.get(name, [])) :] for name, own in whole.items()})
    with NWBHDF5IO(path, "r") as io:
        assert [times.tolist() for times in io.read().units["spike_times"][:]] == [[0.1, 0.2], [0.3]]


@pytest.mark.parametrize("rows", [2, 4])
def test_generators_of_columns_give_a_row_for_each_id(tmp_path: Path, rows: int) -> None:
    data = DataChunkIterator((float(n) for n in range(rows)), maxshape=(None,), dtype=np.dtype("f8"))
    file = session()
    column = VectorData(name="c", description="c", data=data)
    file.add_scratch(DynamicTable(name="rows", description="r", id=[0, 1, 2], columns=[column]))
    with pytest.raises(ParnwbError, match=f"row for each id, got {{'id': 3, 'c': {rows}}}"):
        with NWBParallelIO(tmp_path / "out.nwb", "w", progress=False) as io:
            io.write(file)
    assert os.listdir(tmp_path) == []


@pytest.fixture
def growable(tmp_path: Path) -> Path:
    file = session()
    data = VectorData(name="spike_times", description="s", data=H5DataIO(np.arange(5.0), maxshape=(None,)))
    index = VectorIndex(name="spike_times_index", data=H5DataIO([2, 5], maxshape=(None,)), target=data)
    ids = ElementIdentifiers(name="id", data=H5DataIO([0, 1], maxshape=(None,)))
    file.units = Units(name="units", description="u", id=ids, columns=[index, data])
    with NWBHDF5IO(tmp_path / "out.nwb", "w") as io:
        io.write(file)
    return tmp_path / "out.nwb"


EXTENDED = {
    "no ids": ({"spike_times_index": [7], "spike_times": [0.1, 0.2]}, "got {'id': 2, 'spike_times': 3}"),
    "no index": ({"id": [2], "spike_times": [0.1]}, "row for each id, got {'id': 3, 'spike_times': 2}"),
    "no values": ({"id": [2], "spike_times_index": [7]}, "spike_times_index ends with 7, spike_times has 5"),
    "values alone": ({"spike_times": [0.1]}, "spike_times_index ends with 5, spike_times has 6"),
    "all": ({"id": [2], "spike_times_index": [7], "spike_times": [0.1, 0.2]}, None),
    "an empty row": ({"id": [2], "spike_times_index": [5]}, None),
}


@pytest.mark.parametrize(("rows", "words"), EXTENDED.values(), ids=EXTENDED)
def test_columns_of_an_existing_table_grow_together(growable: Path, rows: Any, words: str | None) -> None:
    before = growable.read_bytes()

    def extend() -> None:
        with NWBParallelIO(growable, "r+", progress=False) as io:
            for name, values in rows.items():
                io.extend(f"/units/{name}", values)

    if words is None:
        extend()
        with NWBHDF5IO(growable, "r") as io:
            assert len(io.read().units) == 3
        return
    with pytest.raises(ParnwbError, match=f"{words}.*at /units.*Extend all columns of the table"):
        extend()
    assert growable.read_bytes() == before


def test_tables_of_others_are_understood(growable: Path, tmp_path: Path) -> None:
    """Text of a fixed length in attributes, an index of another type's name, links to other files and to nothing."""
    with h5py.File(growable, "r+") as file, h5py.File(tmp_path / "other.h5", "w") as other:
        units = file["units"]
        units["spike_times_index"].attrs["neurodata_type"] = np.bytes_("OwnIndex")
        units.attrs["colnames"] = np.array([b"spike_times", b"elsewhere"], "S")
        other["under/another/name"] = np.arange(2.0)
        units["elsewhere"] = h5py.ExternalLink("other.h5", "under/another/name")
        units["nowhere"] = h5py.SoftLink("/to/nothing")
        (found,) = growing_tables(file, {}, ["/units/spike_times"])
    assert found.columns == {"id": "/units/id", "spike_times": "/units/spike_times_index"}
    assert found.targets == {"/units/spike_times_index": "/units/spike_times"}
    assert found.ends == {"/units/spike_times_index": 5}


def test_a_table_of_tables_has_as_many_rows_in_each(tmp_path: Path) -> None:
    file, path, grows = session(), tmp_path / "out.nwb", {"maxshape": (None,)}
    column = VectorData(name="c", description="c", data=H5DataIO([0.5, 0.6], **grows))
    ids = [ElementIdentifiers(name="id", data=H5DataIO([0, 1], **grows)) for _ in range(2)]
    part = DynamicTable(name="part", description="p", id=ids[0], columns=[column])
    file.add_scratch(AlignedDynamicTable(name="whole", description="w", id=ids[1], category_tables=[part]))
    with NWBHDF5IO(path, "w") as io:
        io.write(file)
    rows = {"part/c": [0.7], "part/id": [2], "id": [2]}
    said = "got {'id': 2, 'part': 3}.*at /scratch/whole"
    for names in (["part/c", "part/id"], rows):
        with (
            nullcontext() if "id" in names else pytest.raises(ParnwbError, match=said),
            NWBParallelIO(path, "r+", progress=False) as io,
        ):
            for name in names:
                io.extend(f"/scratch/whole/{name}", rows[name])
    with NWBHDF5IO(path, "r") as io:
        assert len(io.read().get_scratch("whole")) == 3
