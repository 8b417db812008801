"""What a rank waits for others counts as waiting, and not as what these do meanwhile."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from mpi.waiting_program import HELD_UP, PLACES
from mpi_launch import run_mpi

pytestmark = pytest.mark.mpi_skip
PROGRAM = Path(__file__).with_name("waiting_program.py")
WAITING = "waiting for other ranks"
WORK = {
    "building": "building the NWBFile",
    "building, every rank has the NWBFile": "building the NWBFile",
    "sampling, every rank has the NWBFile": "sampling the data",
    "the end": "completing the file",
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, float]]]:
    """Return the seconds by phase of each of three ranks, by what was held up."""
    done = run_mpi(3, [sys.executable, PROGRAM, tmp_path_factory.mktemp("waiting")], timeout=90)
    assert done.returncode == 0, done.stderr[-4000:]
    found: dict[str, list[dict[str, float]]] = json.loads(done.stdout.splitlines()[-1])
    return found


@pytest.mark.parametrize("case", PLACES)
def test_ranks_wait_for_the_one_that_is_held_up(told: dict[str, list[dict[str, float]]], case: str) -> None:
    slow, work = PLACES[case][0], WORK[case]
    assert told[case][slow][work] >= 0.9 * HELD_UP
    for seconds in (seconds for rank, seconds in enumerate(told[case]) if rank != slow):
        assert seconds[WAITING] >= 0.6 * HELD_UP, case  # on a busy machine they come late themselves
        assert seconds.get(work, 0.0) < 0.5 * HELD_UP, case


def test_ranks_without_an_nwbfile_do_not_build(told: dict[str, list[dict[str, float]]]) -> None:
    assert all(seconds["building the NWBFile"] < 0.1 * HELD_UP for seconds in told["building"][1:])
