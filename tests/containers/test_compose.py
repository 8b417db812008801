"""The small SLURM of docker/compose.yaml comes up, and a job script runs on both of its nodes."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from containers.podman import ROOT, Podman
from mpi_launch import mpi_vendor

pytestmark = [
    pytest.mark.mpi_skip,
    pytest.mark.slow,
    pytest.mark.skipif(mpi_vendor() != "openmpi", reason="its nodes are the image with Open MPI"),
]
FILE = ROOT / "docker" / "compose.yaml"
JOB = """
parnwb demo --megabytes 4 --folder first && cp -r /jobscripts . && cd jobscripts
sbatch --nodes=2 --ntasks-per-node=1 --time=5 --output=job.log many_nodes.sbatch ../first/recording/demo_g0 ../out.nwb \
    --metadata ../first/metadata.yaml
until [[ $(squeue --noheader) == '' ]]; do sleep 0.5; done
cat job.log
"""


def program() -> str | None:
    beside = Path(sys.executable).parent / "podman-compose"
    return str(beside) if beside.exists() else shutil.which("podman-compose")


@pytest.fixture
def head(podman: Podman, image: str) -> Iterator[str]:
    """Bring the cluster up, and give its head's name."""
    if (compose := program()) is None:
        pytest.skip("podman-compose is not installed")
    podman.build("localhost/parnwb-slurm", ROOT / "docker/slurm/Dockerfile", ROOT / "docker/slurm", PARNWB=image)
    podman.call("tag", "localhost/parnwb-slurm", "docker.io/library/parnwb-slurm")
    command = [compose, "--project-name", "parnwb-slurm", "--file", str(FILE)]
    try:
        up = [*command, "up", "--no-build", "--detach"]
        done = subprocess.run(up, env=podman.environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        yield "parnwb-slurm_head_1"
    finally:
        subprocess.run([*command, "down", "--volumes"], env=podman.environment, capture_output=True, timeout=120)


def test_a_job_script_runs_on_both_nodes(podman: Podman, head: str) -> None:
    end = time.monotonic() + 60
    ask = ["exec", head, "sinfo", "--noheader", "--Node", "--format=%T"]
    while podman.call(*ask, check=False).stdout.split() != ["idle", "idle"]:
        assert time.monotonic() < end, podman.call("logs", head, check=False)
        time.sleep(0.5)
    user = ["--user", "parnwb", "--env", "HOME=/home/parnwb", "--workdir", "/home/parnwb"]
    said = podman.call("exec", *user, head, "timeout", "150", "bash", "-ec", JOB).stdout
    assert "2 on 2 host(s): node1 (1), node2 (1)" in said and "GOOD: " in said and "out.nwb: " in said, said
