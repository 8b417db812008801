"""Many recordings in one job on two nodes: all end together, what is broken stops nobody, a rerun does the rest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cluster.account import JOBSCRIPTS, ROOT, Account

pytestmark = pytest.mark.mpi_skip
SECONDS = 240
MEGABYTES = (30, 24, 20, 16, 12, 10, 8, 6, 4, 3, 2, 1)
BROKEN, RANKS, TURNS = 4, 4, 3


def listed(file: Path, recordings: Mapping[str, Path]) -> Path:
    """Write a list of sessions: recordings, by the names of their files."""
    lines = [f"- {{source: {path}, output: {name}.nwb}}" for name, path in recordings.items()]
    file.write_text("\n".join(["metadata: metadata.yaml", "sessions:", *lines]) + "\n")
    return file


def all_sessions(account: Account, name: str) -> Path:
    """List all recordings, for files of a campaign of this name."""
    outputs = {f"{name}-{n}": account.home / f"session-{n}" for n in range(len(MEGABYTES))}
    return listed(account.home / f"{name}-sessions.yaml", outputs)


@pytest.fixture(scope="module")
def sessions(account: Account) -> Path:
    """List recordings whose sizes are 1 to 30; one of them is cut off."""
    recordings = [account.recording(f"session-{n}", megabytes=size, seed=n) for n, size in enumerate(MEGABYTES)]
    (binary,) = recordings[BROKEN].rglob("*.bin")
    with binary.open("r+b") as opened:
        opened.truncate(binary.stat().st_size - 1001)
    return all_sessions(account, "campaign")


@pytest.fixture(scope="module")
def slow_site(account: Account) -> str:
    """Return a site file that makes storage the bottleneck, whatever else this machine does."""
    site = account.home / "slow-campaign.sh"
    slow = f"export PYTHONPATH={ROOT}/tests/cluster/slow:$PYTHONPATH PARNWB_TEST_DELAY=0.2\n"
    site.write_text(f"source {JOBSCRIPTS}/site.sh\n{slow}")
    return str(site)


def submit(account: Account, sessions: Path, site: str, *options: str) -> int:
    return account.submit("campaign", sessions, "--buffer-mb", "1", options=options, PARNWB_SITE=site)


def run(account: Account, sessions: Path, site: str) -> tuple[int, str, dict[str, Any]]:
    """Submit the job; return its exit status, its log and the results."""
    return ended(account, submit(account, sessions, site), sessions)


def ended(account: Account, number: int, sessions: Path) -> tuple[int, str, dict[str, Any]]:
    """Wait for a job; return its exit status, its log and the results."""
    job = account.slurm.wait(number, seconds=SECONDS)
    return job.status, job.log, json.loads(sessions.with_suffix(".results.json").read_text())


def alone(account: Account, turn: int, slow_site: str) -> float:
    """Return the seconds that all takes if no rank is ever idle, from other jobs: sessions that one rank does alone.

    As many of them run at once as the campaign has ranks. Each has a large session and then a small one: what a rank
    takes for its first, for each, and for each MB.
    """
    pairs = [(number, number + len(MEGABYTES) - RANKS) for number in range(RANKS)]
    lists = []
    for large, small in pairs:
        recordings = {f"alone-{turn}-{number}": account.home / f"session-{number}" for number in (large, small)}
        lists.append(listed(account.home / f"alone-{turn}-{large}.yaml", recordings))
    jobs = [submit(account, file, slow_site, "--nodes=1", "--ntasks-per-node=1") for file in lists]
    terms, seconds = [], []
    for pair, file, job in zip(pairs, lists, jobs, strict=True):
        status, log, results = ended(account, job, file)
        assert status == 0, log
        terms += [[place == 0, 1, MEGABYTES[number]] for place, number in enumerate(pair)]
        seconds += [session["seconds"] for session in results["sessions"]]
    good = [size for number, size in enumerate(MEGABYTES) if number != BROKEN]
    first, each, megabyte = np.linalg.lstsq(np.array(terms, dtype=float), np.array(seconds), rcond=None)[0]
    return float(first + (each * len(good) + megabyte * sum(good)) / RANKS)


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
    """Within 1.3 times what the same work, as long as each session took, takes if no rank is ever idle."""
    _, log, results = first
    assert sum(results["teams"]) == RANKS
    sessions = results["sessions"]
    begun = min(session["begun"] for session in sessions)
    busy = sum(session["ranks"] * session["seconds"] for session in sessions)
    assert busy > 0 and results["seconds"] - begun <= 1.3 * busy / RANKS, log


def test_teams_do_not_wait_for_each_other(
    account: Account, slow_site: str, first: tuple[int, str, dict[str, Any]]
) -> None:
    """If they did, all would take four times what ranks of jobs of their own take.

    Less than three times: what else runs on this machine meanwhile makes a campaign slower than it is, or what it is
    compared with. For that reason also one turn of three suffices.
    """
    _, log, results = first
    found = []
    for turn in range(TURNS):
        if turn:
            _, log, results = run(account, all_sessions(account, f"again-{turn}"), slow_site)
        expected = alone(account, turn, slow_site)
        found.append(f"{results['seconds']} s, not {expected} s\n{log}")
        if results["seconds"] <= 3 * expected:
            return
    pytest.fail("\n".join(found))


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
    left = sorted(path.name for path in account.home.glob("campaign-sessions.results*"))
    assert left == ["campaign-sessions.results.json"]
