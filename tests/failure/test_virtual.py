"""Backend ``virtual``: a process may end after any call that changes a folder; no file is there without its parts."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from contract.compare import Allowed, Snapshot, differences
from failure.calls import KILLED, EndAfter, in_child, unwatch, watch
from failure.resuming import comparable, session, write, write_plainly
from mpi_launch import run_mpi

from parnwb.links.following import parts_of

pytestmark = [pytest.mark.mpi_skip, pytest.mark.filterwarnings("ignore::UserWarning")]

SCALE = 1
PROGRAM = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from mpi4py import MPI
from failure.resuming import session, write
import parnwb.backends.own as own
comm = MPI.COMM_WORLD
place = own.OwnPlaces.of
def dying(self, batch):
    if comm.rank == 1 and self.written:
        os._exit(9)
    return place(self, batch)
own.OwnPlaces.of = dying
write(Path(sys.argv[2]), session(1), "w", specs=False, comm=comm, backend="virtual", overwrite=True, watchdog=20)
"""


def attempt(path: Path, *, seed: int = 0, overwrite: bool = False, local: Path | None = None) -> None:
    write(path, session(SCALE, seed=seed), "w", specs=False, backend="virtual", overwrite=overwrite, local=local)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[Snapshot]:
    """Return what an older file and a newer one must hold."""
    folder = tmp_path_factory.mktemp("plain")
    sessions = {folder / f"{seed}.nwb": session(SCALE, seed=seed) for seed in (1, 0)}
    return [comparable(write_plainly(path, content, specs=False)) for path, content in sessions.items()]


def held(path: Path, expected: list[Snapshot]) -> int:
    """Return which of two files is there, whole: HDF5 would read what is missing as fill values."""
    found = comparable(path)
    lines = [differences(one, found, Allowed(parts=True)) for one in expected]
    assert [] in lines, lines
    return lines.index([])


def leftovers(path: Path) -> set[str]:
    own = {path.name, *(part.parent.name for part in parts_of(path))}
    return {item.name for item in path.parent.iterdir()} - own


def calls() -> Iterator[int]:
    """Iterate over numbers of calls: all at the end, where names change, and some of those before."""
    yield from (1, 2, 3, 5, 8, 13, 21)
    yield from range(22, 200)


def test_ended_after_any_call(tmp_path: Path, expected: list[Snapshot]) -> None:
    folder, local = tmp_path / "out", tmp_path / "out" / "local"
    seen = []
    for number in calls():
        path = folder / "out.nwb"
        if not path.exists() or seen[-1:] == [1]:
            for item in sorted(folder.rglob("*"), reverse=True):
                item.rmdir() if item.is_dir() else item.unlink()
            local.mkdir(parents=True, exist_ok=True)
            attempt(path, seed=1, overwrite=True)

        def ended(path: Path = path, number: int = number) -> None:
            watch(folder, EndAfter(number))
            attempt(path, overwrite=True, local=local)
            unwatch()

        status = in_child(ended)
        assert status in (0, KILLED)
        seen.append(held(path, expected))
        if status == 0:
            break
    else:
        pytest.fail("it makes more calls than are tried")
    assert seen == sorted(seen) and set(seen) == {0, 1}
    assert leftovers(path) == {"local"} and not list(local.iterdir())


def test_a_new_file_after_one_that_was_not_finished(tmp_path: Path, expected: list[Snapshot]) -> None:
    """Without ``overwrite``: what is left of a job stands in no other's way."""
    path = tmp_path / "out.nwb"
    for number in (12, 30, 36, 40, 44):

        def ended(number: int = number) -> None:
            watch(tmp_path, EndAfter(number))
            attempt(path)

        if in_child(ended) == 0 or path.exists():
            break
    if not path.exists():
        attempt(path)
    assert held(path, expected) == 1
    assert not leftovers(path)


def test_a_rank_that_dies_takes_the_job_down_and_leaves_the_older_file(
    tmp_path: Path, expected: list[Snapshot]
) -> None:
    path = tmp_path / "out.nwb"
    attempt(path, seed=1)
    done = run_mpi(3, [sys.executable, "-c", PROGRAM, Path(__file__).parents[1], path], timeout=60)
    assert done.returncode != 0
    assert held(path, expected) == 0
    attempt(path, overwrite=True)
    assert held(path, expected) == 1
