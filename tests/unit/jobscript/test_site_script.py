"""What jobscripts/site.sh sets for each kind of MPI; and what scripts start, where a site only says it."""

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


@pytest.mark.parametrize(("variables", "options"), [({}, ""), ({"break_lock": "yes"}, "--break-lock ")])
def test_a_session_of_an_array_is_taken_from_a_lost_job_where_that_is_said(
    tmp_path: Path, variables: dict[str, str], options: str
) -> None:
    """A job cannot know whether the nodes of another still write."""
    (tmp_path / "site.sh").write_text('launch() { echo "$@"; }\n')
    (tmp_path / "sessions.txt").write_text(f"one {tmp_path}/one.nwb\ntwo {tmp_path}/two.nwb --metadata m.yaml\n")
    environment = {"PATH": "/usr/bin:/bin", "PARNWB_SITE": str(tmp_path / "site.sh"), "SLURM_ARRAY_TASK_ID": "2"}
    argv = ["bash", SITE.with_name("array.sbatch"), tmp_path / "sessions.txt"]
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=20, env={**environment, **variables}, check=True
    )
    assert done.stdout.splitlines() == [
        f"parnwb convert two {tmp_path}/two.nwb --resume {options}--metadata m.yaml",
        f"parnwb verify {tmp_path}/two.nwb --against two --metadata m.yaml",
    ]
