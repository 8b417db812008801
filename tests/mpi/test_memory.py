"""The memory of a rank is bounded by its buffers, whatever the recording's length and number of channels."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from mpi_launch import run_mpi

from parnwb.site import parallel_hdf5

pytestmark = pytest.mark.mpi_skip
LIMIT = 300e6
BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "memory.py"
# One of each: arrays, tables, what is spread, streams, movies, and what is not a new file.
KINDS = ("int16", "pixel masks", "Distributed columns", "DistributedRagged spike times", "Stream", "export")
KINDS += ("MovieFrames of a movie", "MovieFrames of a TIFF stack")
KINDS += ("series added to a file", "rows that extend a dataset", "repack to other chunks")
LENGTH_COSTS = 40e6  # what allocators keep or give back differs from run to run


def test_anonymous_memory_of_a_rank(tmp_path: Path) -> None:
    program = Path(__file__).with_name("memory_program.py")
    done = run_mpi(2, [sys.executable, program, tmp_path], timeout=150)
    assert done.returncode == 0, done.stderr[-4000:]
    peaks = json.loads(done.stdout)
    assert all(50e6 < peak < LIMIT for peak in peaks.values()), peaks
    assert peaks["long"] < peaks["short"] + LENGTH_COSTS, peaks


def test_what_the_root_has_in_memory_stays_there(tmp_path: Path) -> None:
    """A long sorting, for one, is built on the root once, neither sent to the others nor built there."""
    program = Path(__file__).with_name("kept_program.py")
    done = run_mpi(3, [sys.executable, program, tmp_path], timeout=120)
    assert done.returncode == 0, done.stderr[-4000:]
    result = json.loads(done.stdout)
    assert len(result["told"]) == 1 and "/acquisition/large/data" in result["told"][0], result["told"]
    assert result["findings"] == [] and "/acquisition/large/data" in result["compared"]
    assert result["chunks"][0] > 1 and result["chunks"][1:] == [0, 0]


@pytest.mark.once
def test_no_kind_of_data_is_copied(tmp_path: Path) -> None:
    """The benchmark's smallest size: each kind is much larger than the buffers, and than what is allowed."""
    done = run_mpi(2, [sys.executable, BENCHMARK, "--smoke", "--folder", tmp_path], timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert all(f"| {kind}" in done.stdout for kind in KINDS)


@pytest.mark.skipif(not parallel_hdf5(), reason="this h5py was built without MPI: no mpio")
def test_no_kind_of_data_is_copied_for_parallel_hdf5(tmp_path: Path) -> None:
    done = run_mpi(2, [sys.executable, BENCHMARK, "--smoke", "--only", "mpio", "--folder", tmp_path], timeout=150)
    assert done.returncode == 0, done.stdout + done.stderr[-4000:]
    assert all(f"| {kind}, by mpio" in done.stdout for kind in ("int16", "Distributed columns", "Stream", "export"))
