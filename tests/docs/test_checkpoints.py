"""The simulation of the docs that writes at every checkpoint: killed, and gone on with by another number of ranks."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest
from contract.compare import Allowed, comparable, differences
from mpi_launch import run_mpi
from pynwb import NWBHDF5IO, validate

pytestmark = [pytest.mark.mpi_skip, pytest.mark.filterwarnings("ignore")]

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "checkpoints.py"
CELLS, INTERVALS, EVERY = 250, 4, 0.25
OPTIONS = ["--cells", str(CELLS), "--seconds", str(INTERVALS * EVERY), "--every", str(EVERY)]
KILLED_AT = 2
# Rank 1 is killed while it computes an interval; printed are the intervals that are computed.
KILLED = f"""
import os, runpy, sys
from pathlib import Path
from mpi4py import MPI

names = runpy.run_path({str(EXAMPLE)!r})
simulation, kill = names["Simulation"], len(sys.argv) > 2
run = simulation.run

def watched(self, number):
    if self.comm.rank == 0:
        print("interval", number, flush=True)
    if kill and number == {KILLED_AT} and self.comm.rank == 1:
        os.kill(os.getpid(), 9)
    return run(self, number)

simulation.run = watched
names["main"](Path(sys.argv[1]), {CELLS}, {INTERVALS * EVERY}, {EVERY}, MPI.COMM_WORLD)
"""


def launch(ranks: int, *argv: Any) -> Any:
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))}
    return run_mpi(ranks, [sys.executable, "-W", "ignore", *argv], timeout=90, env=environment)


def test_a_simulation_that_is_killed_goes_on_after_its_last_checkpoint(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole.nwb", tmp_path / "killed.nwb"
    done = launch(3, EXAMPLE, whole, *OPTIONS)
    assert done.returncode == 0, done.stderr
    assert launch(3, "-c", KILLED, killed, "kill").returncode != 0
    assert not killed.exists()
    with h5py.File(f"{killed}.partial") as file:
        rows = len(file["/acquisition/potential/data"])  # whole chunks, of what was committed
    assert rows == KILLED_AT * EVERY * 1000 // 250 * 250 > 0
    done = launch(4, "-c", KILLED, killed)
    assert done.returncode == 0, done.stderr
    computed = [line for line in done.stdout.splitlines() if line.startswith("interval")]
    assert computed == [f"interval {number}" for number in range(KILLED_AT, INTERVALS)]
    different = differences(comparable(whole), comparable(killed), Allowed(size_ratio=1.2))
    assert not different, "\n".join(different)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed.nwb", "whole.nwb"]
    assert validate(path=str(killed)) == []
    assert_is_what_was_simulated(killed)


@pytest.mark.once
def test_ten_thousand_cells(tmp_path: Path) -> None:
    """At the size that the example is made for, for two checkpoints."""
    path, cells, every = tmp_path / "out.nwb", 10_000, 0.2
    done = launch(4, EXAMPLE, path, "--cells", str(cells), "--seconds", str(2 * every), "--every", str(every))
    assert done.returncode == 0, done.stderr
    simulation = runpy.run_path(str(EXAMPLE))["Simulation"](cells, every, SimpleNamespace(rank=0, size=1))
    potential, times, whose = zip(*map(simulation.run, range(2)), strict=True)
    when, who = np.concatenate(times), np.concatenate(whose)
    order = np.lexsort((when, who))
    with h5py.File(path) as file:
        assert np.array_equal(file["/acquisition/potential/data"], np.concatenate(potential))
        assert file["/acquisition/potential/data"].shape == (400, 100)
        assert np.array_equal(file["/acquisition/spikes/timestamps"], np.sort(when))
        assert np.array_equal(file["/units/spike_times"], when[order])
        assert np.array_equal(file["/units/spike_times_index"], np.cumsum(np.bincount(who, minlength=cells)))
    assert validate(path=str(path)) == []


def assert_is_what_was_simulated(path: Path) -> None:
    """Compare with the simulation by one process, which needs no exchange."""
    simulation = runpy.run_path(str(EXAMPLE))["Simulation"](CELLS, EVERY, SimpleNamespace(rank=0, size=1))
    potential, times, cells = zip(*map(simulation.run, range(INTERVALS)), strict=True)
    when, who = np.concatenate(times), np.concatenate(cells)
    with NWBHDF5IO(path, "r") as io:
        file = io.read()
        assert np.array_equal(file.acquisition["potential"].data[:], np.concatenate(potential))
        assert np.array_equal(file.acquisition["spikes"].timestamps[:], np.sort(when))
        assert len(file.units) == CELLS
        for cell in range(CELLS):
            assert np.array_equal(file.units["spike_times"][cell], np.sort(when[who == cell]))
