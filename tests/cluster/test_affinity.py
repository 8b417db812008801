"""Cores and threads of ranks, on a SLURM that binds tasks: one of its own, whose nodes have cores that there are."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cluster import hosts, slurm
from cluster.account import JOBSCRIPTS, Account

pytestmark = [pytest.mark.mpi_skip, pytest.mark.once]
SECONDS = 60
CORES = 2
PROGRAM = """
import os
from parnwb.codec.crew import threads_here
print(f"rank {os.environ['SLURM_PROCID']}: {threads_here(None)} thread(s) on {len(os.sched_getaffinity(0))} core(s)")
"""


@contextmanager
def binding() -> Iterator[slurm.Slurm]:
    """Give a cluster that binds tasks to cores."""
    if (reason := hosts.why_not() or slurm.why_not()) is not None:
        pytest.skip(reason)
    if len(os.sched_getaffinity(0)) < CORES:
        pytest.skip(f"binding a task to {CORES} cores needs as many")
    with hosts.hosts_up() as made, slurm.slurm_up(made, cpus=CORES, task_plugin="task/affinity") as running:
        yield running


def test_srun_gives_a_rank_the_cores_and_threads_that_the_job_has_for_it(tmp_path: Path) -> None:
    """SLURM forgets --cpus-per-task between the job and an srun within, since 22.05; site.sh does not."""
    with binding() as cluster:
        account = Account.create(cluster, tmp_path)
        (tmp_path / "program.py").write_text(PROGRAM)
        # site.sh is told that MPI is Open MPI, which srun starts; the program needs none.
        (tmp_path / "job").write_text(f"""
export SLURM_CPU_BIND=cores
ranks="srun --mpi=none {sys.executable} {tmp_path}/program.py"
$ranks | sed 's/^/without site.sh, /'
parnwb() {{ echo "Open MPI"; }}
source {JOBSCRIPTS}/site.sh
$ranks
""")
        size = ("--nodes=2", "--ntasks-per-node=1", f"--cpus-per-task={CORES}")
        said = account.run("salloc", *size, "bash", "-e", tmp_path / "job", seconds=SECONDS)
    found = sorted(re.findall(r"^.*rank \d: .*$", said, re.MULTILINE))
    assert found == [
        *(f"rank {rank}: {CORES} thread(s) on {CORES} core(s)" for rank in (0, 1)),
        *(f"without site.sh, rank {rank}: 1 thread(s) on 1 core(s)" for rank in (0, 1)),
    ]
