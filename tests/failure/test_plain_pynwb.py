"""What plain pynwb makes of the programs of ``faults/in_pynwb.py``; what parnwb does, ``test_faults.py`` shows."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import h5py
import pytest
from failure.faults.in_pynwb import CONTROL, HANGS, PLAIN
from failure.plain_pynwb import ARRIVED, LIMIT, count_ranks
from mpi_launch import run_mpi

pytestmark = [
    pytest.mark.mpi_skip,
    pytest.mark.skipif(not h5py.get_config().mpi, reason="plain pynwb needs parallel HDF5 to take a communicator"),
]
SECONDS = LIMIT + 60


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """Run all programs in one launch and return what each rank said last."""
    folder = tmp_path_factory.mktemp("plain")
    program = Path(__file__).with_name("plain_pynwb.py")
    done = run_mpi(count_ranks(), [sys.executable, program, folder], timeout=SECONDS)
    said = next((line for line in done.stdout.splitlines() if line.startswith("{")), None)
    assert said is not None, done.stderr[-4000:]
    found: dict[str, list[str]] = json.loads(said)
    return found


@pytest.mark.parametrize("name", PLAIN)
def test_plain_pynwb(name: str, launched: dict[str, list[str]]) -> None:
    said, outcome = launched[name], PLAIN[name].outcome
    if outcome == HANGS:
        assert ARRIVED in said, said
    else:
        assert all(one.startswith("raised") and outcome in one for one in said), said


def test_the_same_without_a_fault_is_right(launched: dict[str, list[str]]) -> None:
    assert set(launched[CONTROL]) == {"finished"}, launched[CONTROL]
