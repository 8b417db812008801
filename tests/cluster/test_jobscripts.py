"""Every script in jobscripts/ is submitted as it is, with its own site file, and leaves a verified file."""

from __future__ import annotations

from pathlib import Path

import pytest
from cluster.account import JOBSCRIPTS, Account, assert_done

pytestmark = pytest.mark.mpi_skip
SECONDS = 300
EACH = ["container", "many_nodes", "requeue", "single_node"]
SCALING = ["strong_scaling", "weak_scaling"]
ARRAY = {1: "array-1.nwb", 2: "array-2.nwb.zarr"}
JOBS = {"test_many_nodes_are_two": "many_nodes", "test_an_array_converts_every_session_once": "array"}


def job_of(item: pytest.Item) -> str | None:
    """Return the script that a test waits for."""
    given = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
    return given.get("name", JOBS.get(item.name))


@pytest.fixture(scope="module")
def jobs(account: Account, request: pytest.FixtureRequest) -> dict[str, int]:
    """Submit all at once that are waited for; each test waits for one."""
    chosen = {job_of(item) for item in request.session.items if item.path == request.path}
    one, two = account.recording("one"), account.recording("two", seed=1)
    home, reading = account.home, account.reading
    sessions = home / "sessions.txt"
    lines = [f"{recording} {home / ARRAY[task]} {' '.join(reading)}" for task, recording in ((1, one), (2, two))]
    sessions.write_text("\n".join(lines) + "\n")
    (home / "weak").mkdir()
    arguments = {
        "array": [sessions],
        "container": [one, home / "container.nwb", *reading],
        "many_nodes": [one, home / "many_nodes.nwb", *reading],
        "requeue": [one, home / "requeue.nwb", *reading],
        "single_node": [one, home / "single_node.nwb", *reading],
        "strong_scaling": [one, home / "strong_scaling.nwb", *reading],
        "weak_scaling": [home / "weak", "1"],
    }
    beside_others = ("--oversubscribe",)  # the last of it and --exclusive counts
    options = {"array": ("--array=1-2%4",), "strong_scaling": beside_others, "weak_scaling": beside_others}
    env = {"container": {"PARNWB_CONTAINER": stand_in(home)}} if "container" in chosen else {}
    return {
        name: account.submit(name, *given, options=options.get(name, ()), REPETITIONS="1", **env.get(name, {}))
        for name, given in arguments.items()
        if name in chosen
    }


def stand_in(home: Path) -> str:
    """Return what runs a program in mounts and a root folder of its own: no image is to be had for a container."""
    program, root = home / "within", home / "root"
    root.mkdir()
    inside = f'mount --rbind / {root} && exec chroot {root} env IN_CONTAINER=yes "$@"'
    program.write_text(f"#!/bin/sh\nexec unshare --mount bash -c '{inside}' within \"$@\"\n")
    program.chmod(0o755)
    return str(program)


def test_none_is_left_out() -> None:
    scripts = {path.stem for path in JOBSCRIPTS.glob("*.sbatch")}
    assert scripts == {*JOBS.values(), "campaign", *EACH, *SCALING}


@pytest.mark.parametrize("name", EACH)
def test_it_leaves_a_verified_file(account: Account, jobs: dict[str, int], name: str) -> None:
    job = account.slurm.wait(jobs[name], seconds=SECONDS)
    assert_done(job)
    assert f"GOOD: {account.home}/{name}.nwb" in job.log
    assert sorted(path.name for path in account.home.glob(f"{name}.nwb*")) == [f"{name}.nwb"]


def test_many_nodes_are_two(account: Account, jobs: dict[str, int]) -> None:
    assert "4 on 2 host(s): node1 (2), node2 (2)" in account.slurm.wait(jobs["many_nodes"], seconds=SECONDS).log


def test_an_array_converts_every_session_once(account: Account, jobs: dict[str, int]) -> None:
    """Also one that becomes a store."""
    for task, name in ARRAY.items():
        job = account.slurm.wait(f"{jobs['array']}_{task}", seconds=SECONDS)
        assert_done(job)
        assert f"GOOD: {account.home / name}: " in job.log
    before = [(account.home / name).stat() for name in ARRAY.values()]
    again = account.submit("array", account.home / "sessions.txt", options=("--array=1-2",))
    for task, name in ARRAY.items():
        job = account.slurm.wait(f"{again}_{task}", seconds=SECONDS)
        assert_done(job)
        assert f"GOOD: {account.home / name}: " in job.log and " MB/s on " not in job.log
    assert [(account.home / name).stat() for name in ARRAY.values()] == before


@pytest.mark.parametrize("name", SCALING)
def test_scaling_is_measured_at_each_number_of_ranks(account: Account, jobs: dict[str, int], name: str) -> None:
    job = account.slurm.wait(jobs[name], seconds=SECONDS)
    assert_done(job)
    measured = [line.split(":")[0] for line in job.log.splitlines() if " MB/s on " in line]
    assert measured == [f"{size}, 1" for size in ("1 ranks on 1 nodes", "2 ranks on 1 nodes", "4 ranks on 2 nodes")]
    assert "GOOD: " in job.log
    if name == "weak_scaling":
        assert [path.name for path in (account.home / "weak").iterdir()] == [f"weak-{jobs[name]}"]
