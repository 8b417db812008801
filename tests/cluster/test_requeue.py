"""Jobs that end before they are done: at a signal, by scancel, with a node; what they leave is resumed."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from cluster.account import JOBSCRIPTS, ROOT, Account, assert_done
from cluster.slurm import ENDED, Job
from contract.compare import Allowed, differences
from failure.resuming import comparable

pytestmark = pytest.mark.mpi_skip
SECONDS = 240
# neuroconv takes the columns of a table from a set.
SAME_ORDER = {"PYTHONHASHSEED": "0"}
OFTEN = ("--commit-interval", "1", "--buffer-mb", "1")
SIGNALLED = ("campaign", "made")
BUSY = "(Requested nodes are busy)"
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
def longest(account: Account) -> Path:
    """Return one that takes a slow job longer than the two minutes that it is given at most."""
    return account.recording("longest", megabytes=600)


@pytest.fixture(scope="module")
def slow_site(account: Account) -> Path:
    """Return a site file over the one that users get: the first run of a job is slow, PACE seconds for each write."""
    site = account.home / "slow.sh"
    site.write_text(f"""
source {JOBSCRIPTS}/site.sh
((${{SLURM_RESTART_COUNT:-0}})) || export PARNWB_TEST_DELAY=${{PACE:-1}}
export PYTHONPATH={SLOWLY}:$PYTHONPATH
""")
    return site


@pytest.fixture(scope="module")
def slow(slow_site: Path) -> dict[str, str]:
    """Return what makes jobs slow."""
    return {"PARNWB_SITE": str(slow_site), **SAME_ORDER}


def submit_slow(account: Account, recording: Path, output: Path, env: dict[str, str], *options: str) -> int:
    """Submit the job that requeues itself, so that it lasts, and commits every second."""
    given = [recording, output, *account.reading]
    return account.submit("requeue", *given, options=options, PARNWB_CONVERT=" ".join(OFTEN), **env)


def assert_equals_uninterrupted(account: Account, path: Path, recording: Path) -> None:
    """Check that a file is what one process writes that is left alone."""
    whole = account.home / f"whole-{recording.parent.name}.nwb"
    if not whole.exists():
        argv = [Path(sys.prefix) / "bin" / "parnwb", "convert", recording, whole, *account.reading, "--quiet"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **SAME_ORDER}
        subprocess.run(argv, check=True, timeout=120, env=environment)
    expected, found = comparable(whole), comparable(path)
    for each in (expected, found):
        del each["/identifier"]  # made anew by each job
    assert not differences(expected, found, Allowed())
    assert sorted(item.name for item in path.parent.glob(f"{path.name}*")) == [path.name]


@pytest.fixture(scope="module")
def jobs(account: Account, recording: Path, longest: Path, slow_site: Path, slow: dict[str, str]) -> dict[str, int]:
    """Submit at once all jobs that requeue themselves; they sleep for most of their time."""
    home = account.home
    script, sessions = home / "made.sbatch", home / "sessions.yaml"
    size = ["--site", slow_site, "--ranks", "4", "--nodes", "2", *OFTEN, *account.reading]
    account.parnwb("jobscript", recording, home / "made.nwb", *size, "--script", script)
    sessions.write_text(f"metadata: metadata.yaml\nsessions:\n- {{source: {recording}, output: campaign.nwb}}\n")
    limit = submit_slow(account, longest, home / "limit.nwb", {**slow, "PACE": "7"}, "--time=60", "--signal=B:USR1@10")
    let_time_run_out(account, limit, home / "limit.nwb")
    return {
        "limit": limit,
        "made": account.submit_file(script, options=(), **slow),
        "campaign": account.submit("campaign", sessions, *OFTEN, **slow),
    }


def let_time_run_out(account: Account, number: int, output: Path) -> None:
    """Give a job a time limit that it is near to, as soon as it has committed something.

    SLURM looks at limits every half minute and sends the signal, here of 10 s before, by so much too early: 40 s before
    the end or up to half a minute later; and it ends the job half a minute after the signal at the earliest.
    """
    job = account.slurm.wait(number, lambda job: has_committed(output), seconds=SECONDS)
    hours, minutes, seconds = map(int, job.fields["RunTime"].split(":"))
    limit = math.ceil((hours * 3600 + minutes * 60 + seconds + 40) / 60)
    account.slurm.run("scontrol", "update", f"JobId={number}", f"TimeLimit={limit}")


@pytest.fixture(scope="module")
def signalled(account: Account, jobs: dict[str, int]) -> dict[str, int]:
    """Signal two of them, as soon as they have committed something."""
    chosen = {name: number for name, number in jobs.items() if name in SIGNALLED}
    for name, number in chosen.items():
        account.slurm.wait(number, lambda job, name=name: has_committed(account.home / f"{name}.nwb"), seconds=SECONDS)
        account.slurm.run("scancel", "--batch", "--signal=USR1", str(number))
    return chosen


@pytest.mark.parametrize("name", SIGNALLED)
def test_a_job_that_is_signalled_is_requeued_and_goes_on(
    account: Account, recording: Path, signalled: dict[str, int], name: str
) -> None:
    """The script that ``parnwb jobscript`` writes, and a campaign."""
    assert_requeued_and_done(account, signalled[name], recording, account.home / f"{name}.nwb")


def test_a_job_whose_time_runs_out_is_requeued_and_goes_on(
    account: Account, longest: Path, jobs: dict[str, int]
) -> None:
    """Nobody but SLURM sends the signal. The second run has more time, for a machine that others use as well."""
    number = jobs["limit"]
    job = account.slurm.wait(number, lambda job: job.restarts == 1, seconds=SECONDS)
    assert job.fields["TimeLimit"].startswith("00:0")  # minutes, no longer the hour
    with suppress(AssertionError):  # it may have ended meanwhile
        account.slurm.run("scontrol", "update", f"JobId={number}", "TimeLimit=20")
    assert_requeued_and_done(account, number, longest, account.home / "limit.nwb")


def assert_requeued_and_done(account: Account, number: int, recording: Path, output: Path) -> None:
    """Check that ranks were asked to stop and have committed, and that the job's second run has done the rest."""
    job = account.slurm.wait(number, lambda job: job.restarts == 1 and job.state in ENDED, seconds=SECONDS)
    assert_done(job)
    assert "the job was asked to stop" in job.log and f"job {number} is requeued" in job.log, job.log
    assert re.search("ended with status 75|Exited with exit code 75", job.log), job.log  # mpiexec and srun
    assert "DUE TO TIME LIMIT" not in job.log, job.log
    assert_equals_uninterrupted(account, output, recording)


def test_a_cancelled_job_is_resumed_by_a_new_one(account: Account, recording: Path, slow: dict[str, str]) -> None:
    output = account.home / "cancelled.nwb"
    number = submit_slow(account, recording, output, slow)
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


def wait_for_next_run(account: Account, number: int) -> Job:
    """Return a job when its run after a lost one has ended.

    SLURM 22.05 may still count the lost step of the same number, and then starts none as long as the run lasts
    ("Requested nodes are busy", without end). Whoever sees that requeues the job once more.
    """
    for runs in (1, 2, 3):
        until = time.monotonic() + SECONDS / 4
        job = account.slurm.wait(
            number,
            lambda job, runs=runs, until=until: (
                job.restarts >= runs
                and (job.state in ENDED or (time.monotonic() > until and job.log.rstrip().endswith(BUSY)))
            ),
            seconds=SECONDS,
        )
        if job.state in ENDED:
            break
        account.slurm.run("scontrol", "requeue", str(number))
    return job


def test_a_lost_node_ends_the_run_and_the_next_one_goes_on(
    account: Account, recording: Path, slow: dict[str, str]
) -> None:
    """SLURM requeues the job itself, which takes its own output over when the node is back."""
    output, node = account.home / "lost.nwb", account.slurm.hosts.nodes[1]
    number = submit_slow(account, recording, output, slow)
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
    account.slurm.until_idle(SECONDS)  # else what SLURM has still to say of the first run ends the second one's steps
    account.slurm.run("scontrol", "release", str(number))
    account.slurm.run("scontrol", "update", f"job={number}", "starttime=now")
    job = wait_for_next_run(account, number)
    assert_done(job)
    assert "DUE TO NODE FAILURE" in job.log, job.log
    # How much was committed depends on when the node went, which may have been right after the beginning.
    assert re.search("were there from an earlier job|the file was begun with it", job.log), job.log
    assert_equals_uninterrupted(account, output, recording)
    account.slurm.until_idle()
