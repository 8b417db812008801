"""What ``parnwb doctor --json`` prints, for programs: one document, whatever the number of ranks."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

import pytest
from mpi_launch import mpi_vendor, run_mpi

pytestmark = pytest.mark.mpi_skip
ROOT = Path(__file__).parents[2]
NAMES = {"openmpi": "Open MPI", "mpich": "MPICH"}
SRUN = {"openmpi": "pmix", "mpich": "pmi2"}


@pytest.mark.parametrize("ranks", [1, 4])
def test_one_document_tells_of_all_ranks(tmp_path: Path, ranks: int) -> None:
    missing = tmp_path / "missing"
    folder = tmp_path if ranks > 1 else missing
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    argv = [sys.executable, "-m", "parnwb", "doctor", str(folder), "--json"]
    done = run_mpi(ranks, argv, timeout=60, env={"PYTHONPATH": path})
    found = json.loads(done.stdout)
    assert found["good"] is not any(advice["prevents"] for advice in found["advice"])
    assert (done.returncode == 0) is found["good"], done.stderr
    assert found["mpi"].startswith(NAMES[mpi_vendor()]) and found["srun"] == SRUN[mpi_vendor()]
    assert (found["launched"], found["ranks"], len(found["start_ups"])) == (ranks, ranks, ranks)
    assert found["hosts"] == {socket.gethostname(): ranks}
    assert (found["folder"], found["backend"]) == (str(folder), "direct")
    (seat,) = found["seats"]
    assert seat["versions"] == found["versions"] and {"parnwb", "HDF5", "h5py"} <= set(seat["versions"])
    troubles = [advice["what"] for advice in found["advice"] if str(missing) in advice["what"]]
    assert bool(troubles) is bool(seat["trouble"]) is (folder == missing)
    assert found["good"] or folder == missing or all(advice["remedy"] for advice in found["advice"])
    assert list(tmp_path.iterdir()) == []
