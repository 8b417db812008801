"""Ranks that a job starts without the site file: by mpirun, as many do, and by srun with the wrong --mpi."""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster.account import Account, assert_done
from mpi_launch import mpi_vendor

pytestmark = pytest.mark.mpi_skip
SECONDS = 200
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
    job = account.slurm.wait(account.submit_file(script), seconds=SECONDS)
    assert job.status != 0, job.log
    assert WORDS[mpi_vendor()] in job.log, job.log
    assert not list(tmp_path.glob("out.nwb*"))


@pytest.mark.parametrize("way", ["salloc", "sbatch"])
def test_mpirun_starts_ranks_on_the_nodes_of_the_job(account: Account, tmp_path: Path, way: str) -> None:
    """In a batch job, and from the head, where salloc leaves its user."""
    recording, output = account.recording("recording", megabytes=1), tmp_path / "out.nwb"
    script, reading = tmp_path / "mpirun.sbatch", " ".join(account.reading)
    script.write_text(f"""#!/usr/bin/env bash
set -e
source "$HOME/parnwb/.venv/bin/activate"
mpirun parnwb doctor {tmp_path}
mpirun parnwb convert {recording} {output} {reading}
mpirun parnwb verify {output} --against {recording} {reading}
""")
    if way == "salloc":
        log = account.run("salloc", "--nodes=2", "--ntasks-per-node=2", "bash", script, seconds=SECONDS)
    else:
        job = account.slurm.wait(account.submit_file(script), seconds=SECONDS)
        assert_done(job)
        log = job.log
    assert "4 on 2 host(s): node1 (2), node2 (2)" in log, log
    assert f"GOOD: {output}" in log, log
