"""Ranks that a job starts without the site file: by mpirun, as many do, and by srun with the wrong --mpi."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from cluster.account import JOBSCRIPTS, Account, assert_done
from mpi_launch import mpi_vendor

pytestmark = pytest.mark.mpi_skip
SECONDS = 200
WORDS = {
    "mpich": "the launcher started 4 ranks, but MPI sees 1: every rank is a world of its own",
    "openmpi": "OMPI was not built with SLURM's PMI support",  # its own words: it does not start at all
}
# Where MPI finds room for an address, other things have been, as after many imports.
USED = """
used = [bytes(range(1, 256)) * size for size in range(3, 400) for _ in range(4)]
kept = used[::2]
del used
from parnwb.comm import world
print(f"{world().allreduce(1)}\\n", end="", flush=True)
"""


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


def test_mpirun_starts_ranks_on_the_nodes_of_the_job(account: Account, tmp_path: Path) -> None:
    """In a batch job, and from the head, where salloc leaves its user."""
    recording = account.recording("recording", megabytes=1)
    script = tmp_path / "mpirun.sbatch"
    script.write_text(f"""#!/usr/bin/env bash
source "$HOME/parnwb/.venv/bin/activate"
mpirun parnwb convert {recording} {tmp_path}/$1.nwb {" ".join(account.reading)} --verify 2>&1
""")
    number = account.submit_file(script, "sbatch")
    from_head = account.run("salloc", "--nodes=2", "--ntasks-per-node=2", "bash", script, "salloc", seconds=SECONDS)
    job = account.slurm.wait(number, seconds=SECONDS)
    assert_done(job)
    for way, log in (("salloc", from_head), ("sbatch", job.log)):
        assert "(direct on node1, node2)" in log and " on 4 rank(s)" in log, log
        assert f"GOOD: {tmp_path}/{way}.nwb" in log, log


def test_an_mpiexec_in_an_interactive_srun_counts_its_own_ranks(account: Account, tmp_path: Path) -> None:
    """As of ``srun --pty -n 2 bash``: the first of two tasks is a shell, whose programs inherit what SLURM counts.

    A process without a launcher is refused there, unless it is not told; Open MPI 4 itself refuses to start one.
    MPICH's own way to start ranks, an srun, would wait for the shell to end.
    """
    program, script = tmp_path / "program.py", tmp_path / "shell.sh"
    program.write_text("from parnwb.comm import Ranks, world\nprint(Ranks(world()).size)\n")
    lines = ['source "$HOME/parnwb/.venv/bin/activate"', "[[ $SLURM_PROCID == 0 ]] || exit 0"]
    lines += ["export HYDRA_LAUNCHER=fork"]
    lines += [f"mpiexec -n {ranks} python {program}" for ranks in (1, 2)]
    expected = ["1", "2", "2"]
    if mpi_vendor() == "mpich":
        refused = f"python {program} 2>&1 | grep -c 'started 2 ranks, but MPI sees 1.*unset SLURM_STEP_NUM_TASKS'"
        lines += [refused, f"unset SLURM_STEP_NUM_TASKS; python {program}"]
        expected += ["1", "1"]
    script.write_text("\n".join(lines) + "\n")
    said = account.run("srun", "--mpi=none", "--nodes=1", "--ntasks=2", "--time=1", "bash", script, seconds=SECONDS)
    assert said.split() == expected


def test_srun_starts_the_ranks_of_pypis_mpich(account: Account, tmp_path: Path) -> None:
    """By the line of site.sh for that; and where nobody has said what carries MPICH's messages, by ``world``.

    Left to itself MPICH tells SLURM what is in memory behind an address, and more than it can read where that has been
    used before: none of four starts of this program went well.
    """
    if mpi_vendor() != "mpich":
        pytest.skip("srun starts Open MPI's ranks in all other tests of clusters")
    recording, output = account.recording("recording", megabytes=1), account.home / "by-srun.nwb"
    mpiexec, srun = "    *) launcher=(mpiexec) ;;\n", "    # *) export MPIR_CVAR_CH4_NETMOD=ofi"
    text = (JOBSCRIPTS / "site.sh").read_text()
    assert mpiexec in text and srun in text
    (tmp_path / "site.sh").write_text(text.replace(mpiexec, "").replace(srun, srun.replace("# ", "")))
    given = [recording, output, *account.reading]
    number = account.submit("many_nodes", *given, PARNWB_SITE=str(tmp_path / "site.sh"))
    (tmp_path / "program.py").write_text(USED)
    unset = ("env", "-u", "MPIR_CVAR_CH4_NETMOD", sys.executable)
    size = ("--mpi=pmi2", "--nodes=2", "--ntasks-per-node=2", "--kill-on-bad-exit=1", "--time=2")
    assert account.run("srun", *size, *unset, tmp_path / "program.py", seconds=SECONDS).split() == ["4"] * 4
    job = account.slurm.wait(number, seconds=SECONDS)
    assert_done(job)
    assert "4 on 2 host(s): node1 (2), node2 (2)" in job.log and f"GOOD: {output}" in job.log, job.log
    assert "with MPIR_CVAR_CH4_NETMOD=ofi" in job.log, job.log
