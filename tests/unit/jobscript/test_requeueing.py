"""``launch_and_requeue`` of jobscripts/site.sh ends as the ranks have ended, however quickly."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SITE = Path(__file__).parents[3] / "jobscripts" / "site.sh"
CALLED = "restarts_at_most=50\n" + SITE.read_text().partition("# What the scripts call")[2].partition("\n")[2]


def ended(launcher: str, then: str = "", *, times: int = 1) -> list[int]:
    """Return the status of so many scripts."""
    script = f"set -e\nSLURM_JOB_ID=7\nscontrol() {{ echo requeued $2; }}\n{CALLED}\nlauncher=({launcher})\n{then}\n"
    script += "launch_and_requeue PROGRAM\n"
    run = [subprocess.Popen(["bash", "-c", script], stderr=subprocess.DEVNULL) for _ in range(times)]
    return [one.wait(timeout=30) for one in run]


@pytest.mark.parametrize(("launcher", "status"), [("no_such_launcher_here", 127), ("false", 1), ("true", 0)])
def test_a_launcher_that_ends_at_once(launcher: str, status: int) -> None:
    """With a loop that asked first whether it lives, one in six said that all was well."""
    assert ended(launcher, times=40) == [status] * 40


def test_the_signal_is_passed_on_and_the_job_requeued() -> None:
    ranks = """bash -c 'trap "exit 75" USR1; while :; do sleep 0.05; done'"""
    then = f"signal() {{ sleep 1; kill -USR1 $$; }}; signal &\nlauncher=({ranks})"
    assert ended("true", then) == [75]


def test_ranks_that_know_nothing_of_the_signal_end_and_the_job_is_requeued() -> None:
    """Those that verify. The next run verifies all of it."""
    then = "signal() { sleep 1; kill -USR1 $$; }; signal &\nlauncher=(bash -c 'sleep 20')"
    assert ended("true", then) == [75]


def test_a_signal_between_two_programs_keeps_the_second_from_beginning() -> None:
    """It is the only one, and the ranks of the second would not know of it."""
    script = f"set -eu\nSLURM_JOB_ID=7\nscontrol() {{ echo requeued $2; }}\n{CALLED}\nlauncher=(echo)\n"
    script += "launch_and_requeue convert\nkill -USR1 $$\nlaunch_and_requeue verify\n"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 75
    assert done.stdout == "convert\njob 7 is requeued: it was asked to stop\nrequeued 7\n"


def test_a_signal_that_comes_when_ranks_have_ended_does_nothing() -> None:
    script = f"set -e\n{CALLED}\nlauncher=(true)\nlaunch_and_requeue X\nkill -USR1 $$\necho verified"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, "verified\n")


@pytest.mark.parametrize(("restarts", "goes_on"), [("", True), ("49", True), ("50", False), ("51", False)])
def test_a_job_is_not_requeued_for_ever(restarts: str, goes_on: bool) -> None:
    """It ends as one that may be submitted again."""
    script = f"set -eu\nSLURM_JOB_ID=7\nscontrol() {{ echo requeued $2; }}\n{CALLED}\n"
    script += f"launcher=(bash -c 'exit 75')\n{f'SLURM_RESTART_COUNT={restarts}' if restarts else ''}\n"
    script += "launch_and_requeue convert\necho not reached\n"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 75
    assert done.stdout == ("job 7 is requeued: its ranks ended with status 75\nrequeued 7\n" if goes_on else "")
    words = f"ended with status 75, and it was requeued {restarts} times, as restarts_at_most of site.sh allows. If"
    assert (words in done.stderr) is not goes_on


def test_the_site_file_says_how_often() -> None:
    assert "\nrestarts_at_most=50\n" in SITE.read_text().partition("# What the scripts call")[0]
