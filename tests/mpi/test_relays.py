"""Ranks that speak to the root through one of their node: on nodes that are made up, with commits, a stop, a resume."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from mpi_launch import run_mpi

pytestmark = pytest.mark.mpi_skip
STOPPED = 75


@pytest.mark.parametrize(("ranks", "together", "speakers"), [(7, 3, {1, 2, 3, 6}), (4, 2, {1, 2})])
def test_one_rank_of_a_node_speaks_for_all(
    ranks: int, together: int, speakers: set[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pynwb import NWBHDF5IO

    monkeypatch.setenv("PARNWB_NODE_RANKS", str(together))
    program = Path(__file__).with_name("relay_program.py")
    done = run_mpi(ranks, [sys.executable, program, tmp_path], timeout=90)
    assert done.returncode == 0, done.stderr[-4000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert set(told["senders"]) == speakers
    assert told["commits"] > 6
    assert told["codes"] == [STOPPED] * ranks
    expected = np.random.default_rng(0).integers(-50, 50, (64_000, 8)).astype("<i2")
    for name in ("whole.nwb", "stopped.nwb"):
        with NWBHDF5IO(tmp_path / name, "r") as io:
            for series in io.read().acquisition.values():
                assert np.array_equal(series.data[:], expected), f"{name}: {series.name}"
