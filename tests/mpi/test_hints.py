"""What MPI-IO is told of a file on Lustre reaches the open file, on every rank."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from contract.compare import Allowed, differences
from failure.resuming import comparable, session, write_plainly
from mpi_launch import run_mpi

from parnwb.site import parallel_hdf5

pytestmark = pytest.mark.mpi_skip
ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(not parallel_hdf5(), reason="this h5py was built without MPI: no mpio")
def test_hints_reach_the_file(tmp_path: Path) -> None:
    program, output = Path(__file__).with_name("hints_program.py"), tmp_path / "out.nwb"
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = run_mpi(4, [sys.executable, program, output], timeout=60, env={"PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    expected = {"romio_ds_write": "disable", "striping_factor": "3", "striping_unit": "1048576", "cb_nodes": "3"}
    for found in json.loads(done.stdout):
        assert found.items() >= expected.items()
    plain = write_plainly(tmp_path / "plain.nwb", session(1))
    allowed = Allowed(size_ratio=2.0, fill_and_allocation_time=True, early_allocation=True)
    assert not differences(comparable(plain), comparable(output), allowed)
