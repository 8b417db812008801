"""A rank that is twice as slow as the others holds the run up by little: they take over a part of its work."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from mpi_launch import run_mpi

pytestmark = pytest.mark.mpi_skip
MOST = 1.15


@pytest.mark.parametrize(("ranks", "slow", "together"), [(2, 1, None), (4, 0, None), (5, 4, 2)])
def test_a_slow_rank_is_helped(
    ranks: int, slow: int, together: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pynwb import NWBHDF5IO

    if together:
        monkeypatch.setenv("PARNWB_NODE_RANKS", str(together))
    program = Path(__file__).with_name("balance_program.py")
    for _attempt in range(3):  # sleeping readers need little of the processor, but others may have all of it
        done = run_mpi(ranks, [sys.executable, program, tmp_path, str(slow)], timeout=90)
        assert done.returncode == 0, done.stderr[-4000:]
        told = json.loads(done.stdout.splitlines()[-1])
        if told["seconds"] <= MOST * told["ideal"]:
            break
    assert told["seconds"] <= MOST * told["ideal"], str(told)
    others = [reads for rank, reads in enumerate(told["reads"]) if rank != slow]
    assert told["reads"][slow] < 0.8 * min(others)
    with NWBHDF5IO(tmp_path / "out.nwb", "r") as io:
        assert np.array_equal(io.read().acquisition["one"].data[:], np.load(tmp_path / "values.npy"))
