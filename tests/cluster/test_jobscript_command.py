"""``parnwb jobscript`` on the head of a cluster: the script that it writes is submitted, runs, and is followed."""

from __future__ import annotations

import pytest
from cluster.account import JOBSCRIPTS, Account, assert_done

pytestmark = pytest.mark.mpi_skip
SECONDS = 240


def test_a_recording_becomes_a_job_that_is_followed_to_its_end(account: Account) -> None:
    recording, output = account.recording("recording"), account.home / "followed.nwb"
    size = ["--site", str(JOBSCRIPTS / "site.sh"), "--ranks", "4", "--nodes", "2"]
    said = account.parnwb("jobscript", recording, output, *size, *account.reading, "--wait", seconds=SECONDS)
    assert "RUNNING on node[1-2]" in said, said
    assert f"GOOD: {output}" in said and "on 4 rank(s)" in said, said
    assert said.rstrip().endswith("COMPLETED on node[1-2]") or "COMPLETED" in said
    number = next(line.split()[1] for line in said.splitlines() if line.startswith("job "))
    job = account.slurm.job(number)
    assert (job.state, job.fields["NumNodes"], job.fields["NumTasks"]) == ("COMPLETED", "2", "4")
    assert job.fields["TimeLimit"] == "00:10:00"


def test_a_job_that_is_submitted_is_left_to_itself(account: Account) -> None:
    """The command tells its number and comes back; nodes and ranks follow from the recording and the site file."""
    recording, output = account.recording("submitted", megabytes=1), account.home / "submitted.nwb"
    site = ["--site", str(JOBSCRIPTS / "site.sh"), "--ranks", "2"]
    said = account.parnwb("jobscript", recording, output, *site, *account.reading, "--submit")
    script, number = said.splitlines()
    assert script == f"{output}.sbatch" and number.startswith("job ")
    job = account.slurm.wait(number.removeprefix("job "), seconds=SECONDS)
    assert_done(job)
    assert f"GOOD: {output}" in job.log and "COMPLETED" not in said


def test_a_plan_is_enough(account: Account) -> None:
    recording = account.recording("planned")
    plan = account.parnwb("plan", recording, "--ranks", "3", *account.reading, "--json")
    (account.home / "plan.json").write_text(plan)
    given = ["--plan", str(account.home / "plan.json"), "--site", str(JOBSCRIPTS / "site.sh")]
    script = account.parnwb("jobscript", account.home / "elsewhere", account.home / "o.nwb", *given)
    assert "#SBATCH --ntasks-per-node=3" in script and f"recording={account.home}/elsewhere" in script
