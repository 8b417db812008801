"""One container for each rank, started by the launcher of the host: by mpiexec, and by SLURM on two nodes."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest
from cluster.account import METADATA, Account, assert_done
from cluster.hosts import ONE_KERNEL
from mpi_launch import run_mpi

from parnwb.recordings.made_recording import make_spikeglx_recording

pytestmark = [
    pytest.mark.mpi_skip,
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("ch-run") is None, reason="charliecloud is not installed"),
]
USER = {"USER": "root"}  # which ch-run wants to know


def within(root: Path, folder: Path) -> str:
    """Return what runs a program in an unpacked image, as job scripts have it."""
    (root / str(folder).lstrip("/")).mkdir(parents=True, exist_ok=True)
    return f"ch-run --set-env --bind {folder}:{folder} {root} --"


def test_mpiexec_starts_a_container_for_each_rank(unpacked: Path, tmp_path: Path) -> None:
    recording, output = make_spikeglx_recording(tmp_path / "recording", megabytes=5), tmp_path / "out.nwb"
    (tmp_path / "metadata.yaml").write_text(METADATA)
    argv = [*within(unpacked, tmp_path).split(), "parnwb"]
    reading = ["--metadata", str(tmp_path / "metadata.yaml")]
    done = run_mpi(2, [*argv, "convert", str(recording), str(output), *reading], env={**ONE_KERNEL, **USER})
    assert done.returncode == 0 and "MB/s on 2 rank(s)" in done.stdout, done.stdout + done.stderr
    outside = [sys.executable, "-m", "parnwb", "verify", str(output), "--against", str(recording), *reading]
    done = run_mpi(3, outside, env={"PYTHONPATH": os.getcwd()})
    assert done.returncode == 0 and "GOOD" in done.stdout, done.stdout + done.stderr


def test_the_job_script_on_two_nodes(account: Account, unpacked: Path) -> None:
    recording, output = account.recording("recording"), account.home / "out.nwb"
    container = within(unpacked, account.home)
    number = account.submit(
        "container", recording, output, *account.reading, PARNWB_CONTAINER=container, **USER
    )
    job = account.slurm.wait(number, seconds=200)
    assert_done(job)
    assert f"GOOD: {output}" in job.log and "4 on 2 host(s): node1 (2), node2 (2)" in job.log, job.log
