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


@pytest.mark.parametrize("output", ["two.nwb", "two.nwb.zarr"])
@pytest.mark.parametrize("variables", [{}, {"break_lock": "yes"}])
def test_a_session_of_an_array_is_resumed_or_begun_anew(
    tmp_path: Path, output: str, variables: dict[str, str]
) -> None:
    """Anew if it is a store; from a lost job where that is said: no job knows whether another's nodes still write."""
    (tmp_path / "site.sh").write_text('launch() { echo "$@"; }\n')
    (tmp_path / "sessions.txt").write_text(f"one {tmp_path}/one.nwb\ntwo {tmp_path}/{output} --metadata m.yaml\n")
    done = run_script(tmp_path, "array", tmp_path / "sessions.txt", SLURM_ARRAY_TASK_ID="2", **variables)
    options = ["--resume"] * (output == "two.nwb") + ["--break-lock"] * len(variables)
    assert done.stdout.splitlines() == [
        " ".join([f"parnwb convert two {tmp_path}/{output}", *options, "--metadata m.yaml"]),
        f"parnwb verify {tmp_path}/{output} --against two --metadata m.yaml",
    ]
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("journal", [False, True])
def test_a_session_of_an_array_that_is_there_is_verified(tmp_path: Path, journal: bool) -> None:
    """It may never have been, or was found to be bad; with a journal it is being replaced."""
    (tmp_path / "site.sh").write_text('launch() { echo "$2"; [[ $2 != verify ]] || exit 1; }\n')
    (tmp_path / "sessions.txt").write_text(f"one {tmp_path}/one.nwb\n")
    (tmp_path / "one.nwb").touch()
    if journal:
        (tmp_path / "one.nwb.partial.journal").touch()
    done = run_script(tmp_path, "array", tmp_path / "sessions.txt", SLURM_ARRAY_TASK_ID="1")
    assert done.stdout.split() == ["convert"] * journal + ["verify"]
    assert done.returncode == 1


@pytest.mark.parametrize("name", ["single_node", "many_nodes", "container"])
def test_a_job_that_is_not_requeued_goes_on_when_it_is_submitted_again(tmp_path: Path, name: str) -> None:
    """SLURM requeues by itself what has lost a node, unless it is told not to. A store cannot be resumed."""
    (tmp_path / "site.sh").write_text('launch() { echo "$@"; }\nstripe() { :; }\n')
    given = {"PARNWB_CONTAINER": "within"} if name == "container" else {}
    for variables, words in (({}, []), ({"break_lock": "yes"}, ["--break-lock"])):
        for output, resume in (("one.nwb", ["--resume"]), ("one.nwb.zarr", [])):
            done = run_script(tmp_path, name, "one", output, "--metadata=m", **given, **variables)
            (convert,) = [line for line in done.stdout.splitlines() if "parnwb convert" in line]
            given_words = convert.split("parnwb convert ")[1].split()
            assert given_words == ["one", output, *resume, *words, "--metadata=m"], done
            assert not {"--break-lock", "--resume"} & set(done.stdout.splitlines()[-1].split())
    text = SITE.with_name(f"{name}.sbatch").read_text()
    assert "\n#SBATCH --no-requeue\n" in text and "goes on after its last commit" in text
    assert f"break_lock=yes {name}.sbatch" in text


def test_strong_scaling_replaces_no_file_that_was_there(tmp_path: Path) -> None:
    (tmp_path / "site.sh").write_text('launch() { : > "$output"; echo "1 MB/s on 1"; }\nstripe() { :; }\n')
    job = {"SLURM_NTASKS_PER_NODE": "2", "SLURM_NTASKS": "2", "REPETITIONS": "2"}
    output = tmp_path / "one.nwb"
    done = run_script(tmp_path, "strong_scaling", "one", output, **job)
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 5), done
    output.write_text("a user's")
    done = run_script(tmp_path, "strong_scaling", "one", output, **job)
    assert (done.returncode, done.stdout) == (2, "") and "would be replaced" in done.stderr
    assert output.read_text() == "a user's"


def test_weak_scaling_has_a_folder_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "site.sh").write_text('launch() { echo "$@ MB/s on 1"; }\nstripe() { :; }\npython() { :; }\n')
    for name in ("metadata.yaml", "out.nwb"):
        (tmp_path / name).write_text("a user's")
    job = {"SLURM_NTASKS_PER_NODE": "2", "SLURM_NTASKS": "2", "SLURM_JOB_ID": "17"}
    assert run_script(tmp_path, "weak_scaling", tmp_path, "1", **job).returncode == 0
    assert {(tmp_path / name).read_text() for name in ("metadata.yaml", "out.nwb")} == {"a user's"}
    assert (tmp_path / "weak-17" / "metadata.yaml").read_text().startswith("NWBFile")
    assert run_script(tmp_path, "weak_scaling", tmp_path, "1", **job).returncode == 1


@pytest.mark.parametrize("script", sorted(SITE.parent.glob("*.sbatch")), ids=lambda path: path.stem)
def test_the_site_file_may_read_what_is_not_set(tmp_path: Path, script: Path) -> None:
    """As modules and conda do; what the scripts themselves read must be set."""
    (tmp_path / "site.sh").write_text('echo "read$NEVER_SET"; trap \'[[ $- != *u* ]] || echo strict\' EXIT\n')
    done = run_script(tmp_path, script.stem, PARNWB_CONTAINER="within")
    assert done.returncode != 0 and done.stdout.split() == ["read", "strict"], done


def test_a_store_is_refused_where_the_job_could_not_go_on(tmp_path: Path) -> None:
    """It would begin anew each time that the job is requeued."""
    (tmp_path / "site.sh").write_text('launch_and_requeue() { echo "$@"; }\n')
    done = run_script(tmp_path, "requeue", "one", "one.nwb.zarr")
    assert (done.returncode, done.stdout) == (2, "")
    assert "one.nwb.zarr is a Zarr store, which cannot be resumed: take many_nodes.sbatch" in done.stderr


def run_script(
    folder: Path, name: str, *arguments: str | Path, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a job script with the site file that is in a folder."""
    environment = {"PATH": "/usr/bin:/bin", "PARNWB_SITE": str(folder / "site.sh"), **variables}
    argv = ["bash", SITE.with_name(f"{name}.sbatch"), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, timeout=20, env=environment)
