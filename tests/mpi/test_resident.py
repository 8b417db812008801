"""The simulation of the docs and the benchmark of data that are spread over ranks: both run, small."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pynwb
import pytest
from mpi_launch import run_mpi

pytestmark = pytest.mark.mpi_skip
TOP = Path(__file__).parents[2]
COPY_OF_PART = 60e6


def test_simulation_of_the_docs(tmp_path: Path) -> None:
    program, path = TOP / "docs" / "examples" / "simulation.py", tmp_path / "out.nwb"
    observed = [sys.executable, TOP / "benchmarks" / "observed.py", program, path]
    done = run_mpi(3, [*observed, "--cells", "250", "--seconds", "0.5"], timeout=150)
    assert done.returncode == 0, done.stderr[-4000:]
    told = re.fullmatch(r"[\d.]+ s on 3 ranks; largest RssAnon \d+ MB, (\d+) MB of it added", done.stdout.strip())
    assert told and int(told[1]) * 1e6 < COPY_OF_PART, done.stdout
    assert pynwb.validate(path=path) == []
    with pynwb.NWBHDF5IO(path, "r") as io:
        file = io.read()
        assert file.acquisition["potential"].data.shape == (500, 3)
        assert len(file.units) == 250 and file.units.spike_times_index.data.dtype == "u2"
        for gid in (0, 1, 100, 249):
            dice = np.random.default_rng(gid)
            spikes = np.sort(dice.uniform(0, 0.5, dice.poisson(2.5)))
            assert (file.units["spike_times"][gid] == spikes).all()
        potential = file.acquisition["potential"].data[:]
        assert potential.min() < -65 and potential.max() == 30


def test_benchmark_and_its_memory(tmp_path: Path) -> None:
    arguments = ["--megabytes", "120", "--repeats", "1", "--buffer-mb", "4"]
    program = TOP / "benchmarks" / "resident.py"
    done = run_mpi(2, [sys.executable, program, tmp_path, *arguments], timeout=250)
    assert done.returncode == 0, done.stderr[-4000:]
    results = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(results) == 6 and {"slabs", "columns in turn", "columns shuffled"} == {r["way"] for r in results}
    assert all(result["memory MB"] * 1e6 < COPY_OF_PART for result in results), results
