"""Where data of ranks are: whole numbers, or one message."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hdmf.common import DynamicTableRegion
from pynwb import NWBHDF5IO
from pynwb.misc import Units
from pynwb.testing.mock.ecephys import mock_ElectrodeGroup
from pynwb.testing.mock.file import mock_NWBFile

from parnwb import Distributed, DistributedRagged, NWBParallelIO, Owned
from parnwb.errors import ParnwbError
from parnwb.hyperslab import Hyperslab

BLOCK = np.zeros((2, 3))


@pytest.mark.parametrize("start", [(0.9, 0), ("0", 0), (0,), (0, 0, 0), (-1, 0), None, (True, False)])
def test_a_start_is_one_whole_number_for_each_axis(start: Any) -> None:
    """Cut to whole numbers, a fraction would be data in another place."""
    with pytest.raises(ParnwbError, match="start must have one whole number from 0 on for each axis"):
        Owned(BLOCK, start, comm=None)


@pytest.mark.parametrize("axis", ["x", 1.0, 2, -3, None, True])
def test_an_axis_is_one_of_the_data(axis: Any) -> None:
    with pytest.raises(ParnwbError, match="axis must be within the 2 axes of the data"):
        Distributed(BLOCK, axis=axis, comm=None)


def test_numbers_of_numpy_are_numbers() -> None:
    assert Owned(BLOCK, np.zeros(2, "u1"), comm=None).shape == (2, 3)
    assert Distributed(BLOCK, axis=np.int64(-1), comm=None).shape == (2, 3)


def test_rows_that_are_empty_lists_have_the_type_of_the_others() -> None:
    found = DistributedRagged([np.arange(3, dtype="i4"), [], (), np.arange(2, dtype="i4")], comm=None)
    assert found.data.dtype == "i4" and found.data.shape == (5,)
    ends = found.indexes[0]
    assert ends.read(Hyperslab((0,), (4,))).tolist() == [3, 3, 3, 5]
    assert DistributedRagged([[], [np.ones((2, 4), "f4")], [[]]], depth=2, comm=None).data.shape == (2, 4)


@pytest.mark.parametrize("column", [3, "VectorData"])
def test_a_column_is_of_a_class_of_columns(column: Any) -> None:
    with pytest.raises(ParnwbError, match="column must be a class of columns"):
        DistributedRagged([BLOCK], comm=None).columns("a", "b", column)


@pytest.mark.parametrize("depth", [0, -1, True, "2", 1.0, None])
def test_a_depth_is_a_whole_number(depth: Any) -> None:
    with pytest.raises(ParnwbError, match="depth must be 1 or more"):
        DistributedRagged([BLOCK], depth=depth, comm=None)


def test_references_to_rows_of_a_table_are_a_column_too(tmp_path: Path) -> None:
    """Hdmf looks at all of their values unless it is told not to; no rank has them."""
    file = mock_NWBFile()
    group = mock_ElectrodeGroup(nwbfile=file)
    for _ in range(5):
        file.add_electrode(group=group, location="CA1")
    region = partial(DynamicTableRegion, table=file.electrodes, validate_data=False)
    rows = DistributedRagged([np.array([0, 3]), np.array([4])], index=[1, 0], comm=None)
    columns = rows.columns("electrodes", "of each unit", region)
    file.units = Units(name="units", description="u", id=[0, 1], columns=columns)
    with NWBParallelIO(tmp_path / "out.nwb", progress=False) as io:
        io.write(file)
    with NWBHDF5IO(tmp_path / "out.nwb", "r") as io:
        units = io.read().units
        assert [part.index.tolist() for part in units["electrodes"][:]] == [[4], [0, 3]]
