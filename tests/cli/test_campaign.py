"""``parnwb campaign`` on four ranks: a team of two, which has a broken session first, beside two ranks alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mpi_launch import run_mpi

from parnwb.recordings.made_recording import make_spikeglx_recording
from parnwb.verification import verify

pytestmark = [pytest.mark.mpi_skip, pytest.mark.filterwarnings("ignore::UserWarning")]
GOOD = ("a", "b", "c", "d")
BROKEN_BYTES = 20_000_001
"""So many are worth two ranks of four, beside four recordings of 1 MB; the last value is cut off."""


@pytest.fixture(scope="module")
def sessions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a list of five recordings; the largest, the third, is not what it says of itself."""
    folder = tmp_path_factory.mktemp("campaign")
    good = make_spikeglx_recording(folder / "good", megabytes=1)
    shutil.copytree(good, folder / "broken" / good.name)
    (binary,) = (folder / "broken").rglob("*.bin")
    os.truncate(binary, BROKEN_BYTES)
    (folder / "metadata.yaml").write_text("NWBFile: {session_start_time: '2024-03-05T10:15:30+00:00'}\n")
    names = [*GOOD[:2], "broken", *GOOD[2:]]
    lines = [f"- {{source: {'broken' if name == 'broken' else 'good'}, output: {name}.nwb}}\n" for name in names]
    (folder / "sessions.yaml").write_text("".join(["metadata: metadata.yaml\nsessions:\n", *lines]))
    return folder / "sessions.yaml"


@pytest.fixture(scope="module")
def done(sessions: Path) -> subprocess.CompletedProcess[str]:
    """Run it once."""
    argv = [sys.executable, "-m", "parnwb", "campaign", sessions, "--buffer-mb", "0.2"]
    return run_mpi(4, argv, timeout=90)


@pytest.fixture
def results(done: subprocess.CompletedProcess[str], sessions: Path) -> dict[str, Any]:
    """Return what it has left about itself."""
    found: dict[str, Any] = json.loads(sessions.with_suffix(".results.json").read_text())
    return found


def test_a_session_that_fails_in_a_team_of_two_stops_nobody(
    done: subprocess.CompletedProcess[str], results: dict[str, Any]
) -> None:
    """Not the other teams, nor this one, which goes on with the next session while the others do their first."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert "5 sessions: 4 converted, 1 failed" in done.stdout, done.stdout + done.stderr
    assert results["teams"] == [2, 1, 1]
    a, b, broken, *rest = results["sessions"]
    assert (broken["status"], broken["ranks"]) == ("failed", 2) and "broken" in broken["error"]
    assert [(one["status"], one["ranks"]) for one in (a, b)] == [("converted", 1)] * 2
    assert {one["status"] for one in rest} == {"converted"} and 2 in {one["ranks"] for one in rest}, results


def test_files_of_all_teams_are_good(results: dict[str, Any], sessions: Path) -> None:
    for name in GOOD:
        assert verify(sessions.with_name(f"{name}.nwb"), validate=False).ok
    left = {path.name for path in sessions.parent.iterdir()}
    inputs = {"good", "broken", "metadata.yaml", "sessions.yaml"}
    assert left == inputs | {f"{name}.nwb" for name in GOOD} | {"sessions.results.json"}
