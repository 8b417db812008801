"""Jobs that were thought dead and write again: after another job has taken their output they cannot reach it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from contract.compare import Allowed, Snapshot, differences
from failure.calls import KILLED, EndAfter, in_child, watch
from failure.resuming import (
    Stop,
    assert_finished,
    assert_goes_on,
    commits_every,
    committed_in,
    comparable,
    partial_of,
    session,
    stopped_at,
    write,
    write_plainly,
)
from mpi_launch import run_mpi

from parnwb.backends.own import OwnPlaces
from parnwb.backends.virtual import VirtualFile
from parnwb.comm import Ranks
from parnwb.commits.generation import renew
from parnwb.errors import ResumeError, StorageError, TargetError
from parnwb.target import Target
from parnwb.target.process import Process

pytestmark = [pytest.mark.mpi_skip, pytest.mark.filterwarnings("ignore::UserWarning")]

ROOT = Path(__file__).parents[2]
SECONDS = 60


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> tuple[Snapshot, int]:
    folder = tmp_path_factory.mktemp("expected")
    plain = comparable(write_plainly(folder / "plain.nwb", session()))
    return plain, write(folder / "whole.nwb", session(), "w").path.stat().st_size


@contextmanager
def lost(path: Path, what: str) -> Iterator[Callable[[], str]]:
    """Give a job that has stopped, and a function that wakes it up and returns what it says at its end."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    argv = [sys.executable, str(Path(__file__).with_name("lost.py")), str(path), what]
    job = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env=environment)

    def wake() -> str:
        job.send_signal(signal.SIGCONT)
        said = job.communicate(timeout=SECONDS)[1]
        assert job.returncode == 1, said
        return said

    try:
        _, status = os.waitpid(job.pid, os.WUNTRACED)
        if not os.WIFSTOPPED(status):
            raise AssertionError(f"it did not stop: {job.stderr.read() if job.stderr else ''}")
        yield wake
    finally:
        job.kill()
        job.communicate()


@pytest.mark.parametrize("what", ["chunk", "frame", "name"])
def test_a_write_that_comes_after_the_file_has_its_name(tmp_path, expected, what):
    """No check at the end of the second job could have seen it."""
    path = tmp_path / "out.nwb"
    with lost(path, what) as wake:
        with pytest.raises(TargetError, match=r"another job is writing.*process \d+ on host .*--break-lock"):
            write(path, session())
        write(path, session(), break_lock=True)
        assert_finished(path, *expected)
        before = path.read_bytes()
        said = wake()
        assert "another job" in said or "No such file" in said or "another program" in said, said
    assert path.read_bytes() == before
    assert_finished(path, *expected)


@pytest.mark.parametrize("what", ["chunk", "frame"])
def test_a_write_that_comes_while_the_next_job_writes(tmp_path, expected, what):
    path = tmp_path / "out.nwb"
    with lost(path, what) as wake:
        before = committed_in(path)
        with commits_every(2), stopped_at(3), pytest.raises(Stop):
            write(path, session(), commit_interval=1, break_lock=True)
        after = committed_in(path)
        assert_goes_on(before, after)
        wake()
        assert_goes_on(after, committed_in(path))
    write(path, session())
    assert_finished(path, *expected)


@pytest.mark.parametrize("moment", ["begin", "_complete_part"])
def test_the_parts_of_the_next_job_are_out_of_reach(tmp_path, expected, moment):
    """They have the paths that those of the lost job had."""
    path = tmp_path / "out.nwb"
    owner = OwnPlaces if moment == "begin" else VirtualFile
    go_on, said = getattr(owner, moment), []
    with lost(path, "part") as wake, pytest.MonkeyPatch.context() as patch:

        def woken(self, *arguments):
            said.append(wake()) if not said else None
            return go_on(self, *arguments)

        patch.setattr(owner, moment, woken)
        write(path, session(), "w", backend="virtual", break_lock=True)
    assert "another job" in said[0] or "another program" in said[0], said
    different = differences(expected[0], comparable(path), Allowed(size_ratio=2.0, parts=True))
    assert not different, "\n".join(different)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["out.nwb", "out.nwb.parts"]


def test_it_is_not_forgotten_when_the_next_job_ends_before_it_begins(tmp_path, expected):
    """The lock is free afterwards, and the writer still there."""
    path = tmp_path / "out.nwb"
    with lost(path, "chunk") as wake:
        with pytest.raises(StorageError), pytest.MonkeyPatch.context() as patch:
            patch.setattr("parnwb.commits.generation._copy_journal", refuse)
            write(path, session(), break_lock=True)
        assert not (tmp_path / "out.nwb.lock").exists()
        inode = partial_of(path).stat().st_ino
        write(path, session())
        assert path.stat().st_ino != inode
        before = path.read_bytes()
        wake()
    assert path.read_bytes() == before
    assert_finished(path, *expected)


def refuse(*arguments: object) -> None:
    raise StorageError("no")


def test_the_next_job_may_be_killed_at_any_call_while_it_takes_over(tmp_path, expected):
    path = tmp_path / "out.nwb"
    with lost(path, "chunk") as wake:
        inode, number, before = partial_of(path).stat().st_ino, 0, committed_in(path)

        def taken_over(number: int) -> None:
            watch(tmp_path, EndAfter(number))
            with stopped_at(0):
                write(path, session(), break_lock=True)

        while in_child(lambda: taken_over(number)) == KILLED:  # noqa: B023 - called at once
            assert_goes_on(before, committed_in(path))
            number += 3 if number < 60 else 7
        assert number > 20
        write(path, session(), break_lock=True)
        assert path.stat().st_ino != inode
        content = path.read_bytes()
        wake()
    assert path.read_bytes() == content
    assert_finished(path, *expected)


def test_what_does_not_agree_with_its_checksum_is_not_copied(tmp_path):
    path = tmp_path / "out.nwb"
    with lost(path, "chunk"):
        committed = committed_in(path)
        address = int(committed.records[len(committed.records) // 2, 2])
        with partial_of(path).open("r+b") as file:
            file.seek(address)
            file.write(b"\xee\xee\xee\xee")
        with pytest.raises(ResumeError, match="1 of its committed chunks are not what was written"):
            write(path, session(), break_lock=True)
        target = Target(path)
        target.reserve([Process.this()])
        with pytest.raises(StorageError, match=f"bytes at byte {address} are not those that were committed"):
            renew(Ranks(), target, committed)  # as when the lost job writes just after they were checked
        target.lock.release()
    assert not path.exists()


def test_a_copy_that_was_not_finished_gives_its_room_back(tmp_path, expected):
    """Or what it takes could be missing for the next one for ever."""
    path = tmp_path / "out.nwb"
    with lost(path, "chunk"):
        with pytest.raises(StorageError), pytest.MonkeyPatch.context() as patch:
            patch.setattr("parnwb.commits.generation._copy_journal", refuse)
            write(path, session(), break_lock=True)
        left = [path.with_name(f"{path.name}.partial{ending}") for ending in (".next", ".journal.next")]
        assert all(item.exists() for item in left)

        def require_space(self, nbytes):
            assert nbytes > 0 and not any(item.exists() for item in left)
            raise StorageError("full")

        with pytest.raises(StorageError, match="full"), pytest.MonkeyPatch.context() as patch:
            patch.setattr(Target, "require_space", require_space)
            write(path, session())
        write(path, session())
    assert_finished(path, *expected)


def test_several_ranks_copy(tmp_path, expected):
    path = tmp_path / "out.nwb"
    program = (
        "import sys, warnings; warnings.simplefilter('ignore'); sys.path.insert(0, sys.argv[2])\n"
        "from mpi4py import MPI; from pathlib import Path; from failure.resuming import session, write\n"
        "write(Path(sys.argv[1]), session(), comm=MPI.COMM_WORLD, break_lock=True)\n"
    )
    with lost(path, "chunk") as wake:
        inode = partial_of(path).stat().st_ino
        argv = [sys.executable, "-c", program, path, Path(__file__).parents[1]]
        done = run_mpi(3, argv, timeout=SECONDS, env={"PYTHONPATH": str(ROOT)})
        assert done.returncode == 0, done.stderr
        assert path.stat().st_ino != inode
        wake()
    assert_finished(path, *expected)
