"""Many recordings in one job on two nodes: all end together, what is broken stops nobody, a rerun does the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cluster.account import JOBSCRIPTS, ROOT, Account

pytestmark = pytest.mark.mpi_skip
SECONDS = 240
MEGABYTES = (30, 24, 20, 16, 12, 10, 8, 6, 4, 3, 2, 1)
BROKEN = 4


@pytest.fixture(scope="module")
def sessions(account: Account) -> Path:
    """List recordings whose sizes are 1 to 30; one of them is cut off."""
    recordings = [account.recording(f"session-{n}", megabytes=size, seed=n) for n, size in enumerate(MEGABYTES)]
    lines = [f"- {{source: {path}, output: campaign-{number}.nwb}}" for number, path in enumerate(recordings)]
    file = account.home / "sessions.yaml"
    file.write_text("\n".join(["metadata: metadata.yaml", "sessions:", *lines]) + "\n")
    (binary,) = recordings[BROKEN].rglob("*.bin")
    with binary.open("r+b") as opened:
        opened.truncate(binary.stat().st_size - 1001)
    return file


@pytest.fixture(scope="module")
def slow_site(account: Account) -> str:
    """Return a site file that makes storage the bottleneck, whatever else this machine does."""
    site = account.home / "slow-campaign.sh"
    slow = f"export PYTHONPATH={ROOT}/tests/cluster/slow:$PYTHONPATH PARNWB_TEST_DELAY=0.2\n"
    site.write_text(f"source {JOBSCRIPTS}/site.sh\n{slow}")
    return str(site)


def run(account: Account, sessions: Path, site: str) -> tuple[int, str, dict[str, Any]]:
    """Submit the job; return its exit status, its log and the results."""
    number = account.submit("campaign", sessions, "--buffer-mb", "1", PARNWB_SITE=site)
    job = account.slurm.wait(number, seconds=SECONDS)
    return job.status, job.log, json.loads(sessions.with_suffix(".results.json").read_text())


@pytest.fixture(scope="module")
def first(account: Account, sessions: Path, slow_site: str) -> tuple[int, str, dict[str, Any]]:
    """Run it once."""
    return run(account, sessions, slow_site)


def test_one_that_is_broken_does_not_stop_the_others(first: tuple[int, str, dict[str, Any]]) -> None:
    status, log, results = first
    assert status != 0, log
    statuses = [session["status"] for session in results["sessions"]]
    assert statuses == ["failed" if number == BROKEN else "converted" for number in range(len(MEGABYTES))], log
    assert "session-4" in results["sessions"][BROKEN]["error"]
    assert "12 sessions: 11 converted, 1 failed" in log
    assert {session["host"] for session in results["sessions"]} == {"node1", "node2"}


def test_all_end_together(first: tuple[int, str, dict[str, Any]]) -> None:
    """Within 1.3 times what the same work takes if no rank is ever idle."""
    _, log, results = first
    work = sum(session["seconds"] * session["ranks"] for session in results["sessions"])
    assert results["seconds"] <= 1.3 * work / sum(results["teams"]), log


def test_a_rerun_does_only_what_is_missing(
    account: Account, sessions: Path, slow_site: str, first: tuple[int, str, dict[str, Any]]
) -> None:
    files = {path: path.stat() for path in account.home.glob("campaign-*.nwb")}
    assert len(files) == len(MEGABYTES) - 1
    account.recording(f"session-{BROKEN}", megabytes=1)
    status, log, results = run(account, sessions, slow_site)
    assert status == 0, log
    statuses = [session["status"] for session in results["sessions"]]
    assert statuses == ["converted" if number == BROKEN else "was there" for number in range(len(MEGABYTES))]
    assert {path: path.stat() for path in files} == files
    left = sorted(path.name for path in account.home.glob("sessions.results*"))
    assert left == ["sessions.results.json"]
