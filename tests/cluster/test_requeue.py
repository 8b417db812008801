"""Jobs that end before they are done: at a signal, by scancel, with a node; what they leave is resumed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cluster.account import JOBSCRIPTS, ROOT, Account, assert_done
from cluster.slurm import ENDED
from contract.compare import Allowed, differences
from failure.resuming import comparable

pytestmark = pytest.mark.mpi_skip
SECONDS = 240
# neuroconv takes the columns of a table from a set.
SAME_ORDER = {"PYTHONHASHSEED": "0"}
SLOWLY = str(ROOT / "tests" / "cluster" / "slow")


def journal(path: Path) -> Path:
    return path.with_name(path.name + ".partial.journal")


def has_committed(path: Path) -> bool:
    """Tell whether data are safe, not only the description of the file."""
    partial = path.with_name(path.name + ".partial")
    return journal(path).exists() and partial.exists() and partial.stat().st_size > 1_000_000


@pytest.fixture(scope="module")
def recording(account: Account) -> Path:
    """Return one that takes a slow job some 20 s."""
    return account.recording("long", megabytes=60)


@pytest.fixture(scope="module")
def slow_site(account: Account) -> dict[str, str]:
    """Return what makes jobs slow: a site file of their own, over the one that users get."""
    site = account.home / "slow.sh"
    site.write_text(f"""
source {JOBSCRIPTS}/site.sh
export PYTHONPATH={SLOWLY}:$PYTHONPATH PARNWB_TEST_DELAY=1
""")
    return {"PARNWB_SITE": str(site), **SAME_ORDER}


def submit_slow(account: Account, recording: Path, output: Path, slow_site: dict[str, str], *options: str) -> int:
    """Submit the job that requeues itself, so that it lasts, and commits every second."""
    often = ["--commit-interval", "1", "--buffer-mb", "1"]
    given = [recording, output, *account.reading]
    return account.submit("requeue", *given, options=options, PARNWB_CONVERT=" ".join(often), **slow_site)


def assert_equals_uninterrupted(account: Account, path: Path, recording: Path) -> None:
    """Check that a file is what one process writes that is left alone."""
    whole = account.home / "whole.nwb"
    if not whole.exists():
        argv = [Path(sys.prefix) / "bin" / "parnwb", "convert", recording, whole, *account.reading, "--quiet"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **SAME_ORDER}
        subprocess.run(argv, check=True, timeout=120, env=environment)
    expected, found = comparable(whole), comparable(path)
    for each in (expected, found):
        del each["/identifier"]  # made anew by each job
    assert not differences(expected, found, Allowed())
    assert sorted(item.name for item in path.parent.glob(f"{path.name}*")) == [path.name]


def test_a_job_that_is_signalled_is_requeued_and_goes_on(
    account: Account, recording: Path, slow_site: dict[str, str]
) -> None:
    """As by --signal at the wall-clock limit, which SLURM sends at a time of its own, up to a minute early."""
    output = account.home / "signalled.nwb"
    number = submit_slow(account, recording, output, slow_site)
    account.slurm.wait(number, lambda job: has_committed(output), seconds=SECONDS)
    account.slurm.run("scancel", "--batch", "--signal=USR1", str(number))
    job = account.slurm.wait(number, lambda job: job.restarts == 1 and job.state == "COMPLETED", seconds=SECONDS)
    assert "the job was asked to stop" in job.log
    assert "were there from an earlier job" in job.log, job.log
    assert f"GOOD: {output}" in job.log
    assert_equals_uninterrupted(account, output, recording)


@pytest.mark.once
def test_a_cancelled_job_is_resumed_by_a_new_one(account: Account, recording: Path, slow_site: dict[str, str]) -> None:
    output = account.home / "cancelled.nwb"
    number = submit_slow(account, recording, output, slow_site)
    account.slurm.wait(number, lambda job: has_committed(output), seconds=SECONDS)
    account.slurm.run("scancel", str(number))
    assert account.slurm.wait(number, seconds=SECONDS).state == "CANCELLED"
    assert not output.exists() and journal(output).exists()
    again = account.submit("requeue", recording, output, *account.reading, break_lock="yes", **SAME_ORDER)
    job = account.slurm.wait(again, seconds=SECONDS)
    assert_done(job)
    assert "were there from an earlier job" in job.log, job.log
    assert_equals_uninterrupted(account, output, recording)


def wait_for_end_of_steps(number: int) -> None:
    """Wait until no host has a step of a job any more."""
    end = time.monotonic() + SECONDS
    while not subprocess.run(["pgrep", "-f", rf"slurmstepd: \[{number}\."], stdout=subprocess.DEVNULL).returncode:
        assert time.monotonic() < end, "a step of a lost node goes on"
        time.sleep(0.5)


def test_a_lost_node_ends_the_run_and_the_next_one_goes_on(
    account: Account, recording: Path, slow_site: dict[str, str]
) -> None:
    """SLURM requeues the job itself, which takes its own output over when the node is back."""
    output, node = account.home / "lost.nwb", account.slurm.hosts.nodes[1]
    number = submit_slow(account, recording, output, slow_site)
    account.slurm.wait(number, lambda job: has_committed(output), seconds=SECONDS)
    node.set_link("down")
    try:
        account.slurm.wait(number, lambda job: job.restarts == 1 and job.state == "PENDING", seconds=SECONDS)
        assert not output.exists() and journal(output).exists()
        account.slurm.run("scontrol", "hold", str(number))
    finally:
        node.set_link("up")
    # The job's next step has the number of the one that is still on the node, which takes one step of a number only.
    wait_for_end_of_steps(number)
    account.slurm.run("scontrol", "release", str(number))
    account.slurm.run("scontrol", "update", f"job={number}", "starttime=now")
    job = account.slurm.wait(number, lambda job: job.restarts >= 1 and job.state in ENDED, seconds=SECONDS)
    assert_done(job)
    assert "DUE TO NODE FAILURE" in job.log, job.log
    # How much was committed depends on when the node went, which may have been right after the beginning.
    assert re.search("were there from an earlier job|the file was begun with it", job.log), job.log
    assert_equals_uninterrupted(account, output, recording)
    account.slurm.until_idle()
