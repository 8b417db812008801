"""Ranks that send what they have encoded to others, which write: the file is the same."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from contract.compare import Allowed, differences
from failure.resuming import comparable, noise, session, write_plainly
from mpi_launch import run_mpi
from pynwb import NWBHDF5IO, TimeSeries

pytestmark = pytest.mark.mpi_skip
ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("writers_program.py")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of files that four ranks have written."""
    folder = tmp_path_factory.mktemp("writers")
    done = run_mpi(4, [sys.executable, PROGRAM, folder], timeout=120, env={"PYTHONPATH": str(ROOT)})
    assert done.returncode == 0, done.stderr
    assert "0 direct" not in done.stdout and "the root writes for all ranks, as asked for" in done.stdout
    plain = write_plainly(folder / "plain.nwb", session())
    with NWBHDF5IO(plain, "a") as io:
        nwbfile = io.read()
        nwbfile.add_acquisition(TimeSeries(name="added", data=noise((3000, 5), seed=9), unit="V", rate=1.0))
        io.write(nwbfile)
    return folder


@pytest.mark.parametrize("per_node", [0, 1, 3])
def test_the_file_is_the_one_that_pynwb_writes(written: Path, per_node: int) -> None:
    path = written / f"{per_node}.nwb"
    allowed = Allowed(size_ratio=2.0, fill_and_allocation_time=True, early_allocation=True)
    assert not differences(comparable(written / "plain.nwb"), comparable(path), allowed)
    assert sorted(item.name for item in written.glob(f"{per_node}.nwb*")) == [path.name]
