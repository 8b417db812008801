"""Another process reads the file while a job goes on writing it: all that was committed, after each commit."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from subprocess import CompletedProcess

import h5py
import numpy as np
import pytest
from mpi.live_program import COMMITS, LAYER, ROWS, wait_for
from mpi_launch import run_mpi
from pynwb import NWBHDF5IO

pytestmark = [pytest.mark.mpi_skip, pytest.mark.filterwarnings("ignore")]
RANKS = 3


def test_a_reader_beside_the_job_sees_every_commit(tmp_path: Path) -> None:
    ended: list[CompletedProcess[str]] = []
    program = Path(__file__).with_name("live_program.py")
    job = threading.Thread(target=lambda: ended.append(run_mpi(RANKS, [sys.executable, program, tmp_path], timeout=90)))
    job.start()
    try:
        for number in range(COMMITS):
            wait_for(tmp_path / f"{number}.committed")
            rows = (number + 1) * RANKS * ROWS // LAYER * LAYER  # whole layers of chunks
            with h5py.File(tmp_path / "live.nwb.partial", "r", locking=False) as file:
                with NWBHDF5IO(file=file, mode="r") as io:
                    found = io.read().acquisition["live"].data
                    assert found.shape == (rows, 8)
                    assert np.array_equal(found[:], np.arange(rows * 8, dtype="i4").reshape(rows, 8))
            assert not (tmp_path / "live.nwb").exists()
            (tmp_path / f"{number}.read").touch()
    finally:
        for number in range(COMMITS):
            (tmp_path / f"{number}.read").touch()
        job.join()
    assert ended and ended[0].returncode == 0, ended
    with h5py.File(tmp_path / "live.nwb") as file:
        assert file["acquisition/live/data"].shape == (COMMITS * RANKS * ROWS, 8)
