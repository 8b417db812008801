"""What jobscripts/site.sh sets for each kind of MPI."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SITE = Path(__file__).parents[3] / "jobscripts" / "site.sh"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return a home with an environment in which the program's name is all that there is of parnwb."""
    activate = tmp_path / "parnwb" / ".venv" / "bin" / "activate"
    activate.parent.mkdir(parents=True)
    activate.write_text('parnwb() { echo "$VENDOR"; }\n')
    return tmp_path


def told(home: Path, vendor: str, words: str, **variables: str) -> str:
    """Return what a script says that has read the file."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), "VENDOR": vendor, **variables}
    argv = ["bash", "-euc", f'source "{SITE}"; echo {words}']
    done = subprocess.run(argv, capture_output=True, text=True, timeout=20, env=environment, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize(
    ("vendor", "variables", "expected"),
    [
        ("Open MPI 4.1.4", {}, "1"),
        ("Open MPI 4.1.4", {"SLURM_CPUS_PER_TASK": "4"}, "4"),
        ("MPICH 5.0.2", {}, "unset"),
        ("MPICH 5.0.2", {"SLURM_CPUS_PER_TASK": "4"}, "unset"),
    ],
)
def test_only_an_srun_of_ranks_is_told_the_cores_of_a_rank(
    home: Path, vendor: str, variables: dict[str, str], expected: str
) -> None:
    """MPICH's mpiexec starts one program on each node by srun, within whose cores all ranks of the node are."""
    assert told(home, vendor, '"${SRUN_CPUS_PER_TASK-unset}"', **variables) == expected
