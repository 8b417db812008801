"""Ranks that do not know of each other, as srun starts them with the wrong --mpi, are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster.account import Account
from mpi_launch import mpi_vendor

pytestmark = pytest.mark.mpi_skip
WORDS = {
    "mpich": "the launcher started 4 ranks, but MPI sees 1: every rank is a world of its own",
    "openmpi": "OMPI was not built with SLURM's PMI support",  # its own words: it does not start at all
}


def test_the_wrong_mpi_of_srun_is_refused(account: Account, tmp_path: Path) -> None:
    recording, output = account.recording("recording", megabytes=1), tmp_path / "out.nwb"
    script = tmp_path / "wrong.sbatch"
    command = f"parnwb convert {recording} {output} {' '.join(account.reading)}"
    site = 'source "$PARNWB_SITE"'
    script.write_text(f"#!/usr/bin/env bash\n{site}\nsrun --mpi=none -n 4 {command}\n")
    job = account.slurm.wait(account.submit_file(script), seconds=200)
    assert job.status != 0, job.log
    assert WORDS[mpi_vendor()] in job.log, job.log
    assert not list(tmp_path.glob("out.nwb*"))
