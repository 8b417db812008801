"""An append that is ended at any moment leaves the file as it was or as committed; the next one goes well."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import h5py
import pytest
from contract.compare import Allowed, Snapshot, differences
from failure.appending import append, change, prepare
from failure.calls import KILLED, Call, EndAfter, Log, in_child, unwatch, watch
from failure.pages import Disk
from failure.resuming import (
    SETTINGS,
    Stop,
    commits_every,
    comparable,
    partial_of,
    session,
    small_pieces,
    stopped_at,
    write,
    write_plainly,
)
from mpi_launch import run_mpi
from pynwb import NWBHDF5IO, TimeSeries

from parnwb import NWBParallelIO
from parnwb.backends import encoder
from parnwb.commits.amendment import Amendment, finish_append, journal_of
from parnwb.errors import ResumeError, StorageError, TargetError, VerificationError
from parnwb.target import ExistingBytes, Target
from parnwb.target.process import Process
from parnwb.verification import verify

pytestmark = [pytest.mark.mpi_skip, pytest.mark.filterwarnings("ignore::UserWarning")]

OUT = "out.nwb"


@dataclass(frozen=True)
class Material:
    """The file before, and what it is before and after."""

    old: bytes
    before: Snapshot
    after: Snapshot

    def lay_out(self, folder: Path) -> Path:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / OUT).write_bytes(self.old)
        return folder / OUT

    def check_old(self, path: Path) -> None:
        """Check that HDF5 and pynwb, which know of no journal, find what was there."""
        assert path.read_bytes()[: len(self.old)] == self.old
        assert not (different := differences(self.before, comparable(path), Allowed())), "\n".join(different)
        with NWBHDF5IO(path, "r") as io:
            assert "added" not in io.read().acquisition

    def check_new(self, path: Path) -> None:
        different = differences(self.after, comparable(path), Allowed(size_ratio=2.0))
        assert not different, "\n".join(different)
        left = {item.name for item in path.parent.iterdir()} - {f"{OUT}.lock"}  # that of a process that was killed
        assert left == {OUT}


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    path = write_plainly(tmp_path_factory.mktemp("material") / OUT, session(1, movie=False))
    prepare(path)
    old, before = path.read_bytes(), comparable(path)
    append(path, lambda path: NWBHDF5IO(path, "a"))
    return Material(old, before, comparable(path))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory, if that can be: `fsync` takes no time there."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="parnwb-append-", dir=base) as name:
        yield Path(name) / "out"


def calls_of(path: Path) -> list[Call]:
    log = Log([])
    watch(path.parent, log)
    try:
        append(path)
    finally:
        unwatch()
    return log.calls


def committed(path: Path) -> bool:
    return journal_of(path).exists() and Amendment.recorded(journal_of(path)) is not None


def is_finished(path: Path, calls: list[Call]) -> bool:
    """Tell whether the last of an append's steps is among these calls."""
    return any(call.kind == "unlink" and call.path == str(journal_of(path)) for call in calls)


def check_ended(path: Path, material: Material, finished: bool) -> None:
    """Check what is there after an end, and that one can go on from it."""
    if finished:
        material.check_new(path)
    elif committed(path):
        finish_append(path)
        material.check_new(path)
    else:
        material.check_old(path)
        append(path)
        material.check_new(path)


def ended_after(path: Path, end: EndAfter) -> int:
    def run() -> None:
        watch(path.parent, end)
        append(path)

    return in_child(run)


def test_nothing_of_the_old_file_is_written_before_the_commit(material: Material, folder: Path) -> None:
    path = material.lay_out(folder)
    calls = calls_of(path)
    material.check_new(path)
    journal = [number for number, call in enumerate(calls) if call.path.endswith(".journal") and call.kind == "sync"]
    lowest = [call.address for call in calls[: journal[-1]] if call.kind == "write" and call.path == str(path)]
    assert len(lowest) > 5 and min(lowest) >= len(material.old)
    inside = [call for call in calls[journal[-1] :] if call.kind == "write"]
    assert inside and max(call.address + len(call.data) for call in inside) <= len(material.old)
    last = [call.kind for call in calls if not call.path.endswith(".lock")][-3:]
    assert last == ["sync", "unlink", "sync folder"]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [None, pytest.param(1, marks=pytest.mark.once)], ids=["between", "within"])
def test_every_boundary(material: Material, folder: Path, seed: int | None) -> None:
    """The process ends after every call, or within every write."""
    path = material.lay_out(folder)
    calls = calls_of(path)
    rng = random.Random(seed)
    for number, call in enumerate(calls, start=1):
        if seed is not None and call.kind != "write":
            continue
        path = material.lay_out(folder)
        torn = None if seed is None else rng.random()
        assert ended_after(path, EndAfter(number, torn)) == KILLED
        try:
            check_ended(path, material, finished=is_finished(path, calls[:number]))
        except Exception as error:
            raise AssertionError(f"after call {number}, {call} ({torn}): {error}") from error


@pytest.mark.slow
@pytest.mark.once  # the calls are simulated
def test_power_failures(material: Material, folder: Path) -> None:
    """Of what was written since the last `fsync` any page is lost."""
    path = material.lay_out(folder)
    calls = calls_of(path)
    rng = random.Random("power")
    journals = 0
    for _ in range(150):
        point = rng.choice([rng.randint(0, len(calls)), len(calls) - rng.randint(0, 15)])
        disk = Disk({str(path): material.old})
        for call in calls[:point]:
            disk.make(call)
        path = material.lay_out(folder)
        for name, content in disk.after_a_crash(rng).items():
            Path(name).write_bytes(content)
        journals += committed(path)
        finished = not journal_of(path).exists() and is_finished(path, calls[:point])
        try:
            check_ended(path, material, finished)
        except Exception as error:
            raise AssertionError(f"after call {point} of {len(calls)}: {error}") from error
    assert journals > 10


@pytest.mark.slow
@pytest.mark.parametrize(("rank", "numbers"), [(0, (1, 3, 6, 12, 14)), (1, (1, 3, 5))])
def test_a_rank_of_two_is_killed(material: Material, folder: Path, rank: int, numbers: tuple[int, ...]) -> None:
    """The other one does not wait for it."""
    program = Path(__file__).with_name("appending.py")
    ended = 0
    for number in numbers:
        path = material.lay_out(folder)
        done = run_mpi(2, [sys.executable, "-W", "ignore", program, path, str(rank), str(number)], timeout=60)
        ended += done.returncode != 0
        check_ended(path, material, finished=done.returncode == 0)
    assert ended >= len(numbers) - 1


def until_commit(path: Path) -> None:
    """End the process between the commit and the change."""

    def run() -> None:
        settings = {"bulk_threshold": 1024, "progress": False}
        with NWBParallelIO(path, "a", **settings) as io:
            file = io.read()
            change(io, file)
            io.write(file)
            io.commit()
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(run) == -signal.SIGKILL
    assert committed(path)


def test_whoever_opens_the_file_next_finishes_it(material: Material, folder: Path) -> None:
    path = material.lay_out(folder)
    until_commit(path)
    material.check_old(path)
    assert not verify(path).findings
    material.check_new(path)
    path = material.lay_out(folder)
    until_commit(path)
    with NWBParallelIO(path, "a", progress=False) as io:
        assert "added" in io.read().acquisition
    material.check_new(path)


def test_a_link_leads_to_the_one_lock_and_journal(material: Material, folder: Path) -> None:
    path = material.lay_out(folder)
    link = folder.parent / "link.nwb"
    link.symlink_to(path)
    for first, second in ((path, link), (link, path)):
        with NWBParallelIO(first, "a", progress=False) as io:
            assert io.path == path
            with pytest.raises(TargetError, match="another job is writing this output"):
                NWBParallelIO(second, "a", progress=False)
    until_commit(link)
    assert committed(path)
    with NWBParallelIO(link, "r+", progress=False):
        pass
    material.check_new(path)
    path = material.lay_out(folder)
    until_commit(path)
    assert not verify(link).findings
    material.check_new(path)
    assert [item.name for item in folder.parent.iterdir() if item != folder] == [link.name] and link.is_symlink()


def test_verify_leaves_an_append_alone_that_goes_on(material: Material, folder: Path) -> None:
    """Where the file system has no locks, too: a job that failed later would cut a file that is changed already."""
    path = material.lay_out(folder)
    with NWBParallelIO(path, "a", progress=False, bulk_threshold=1024) as io:
        file = io.read()
        change(io, file)
        io.write(file)
        assert committed(path)
        with pytest.raises(TargetError, match="another job is writing this output"):
            verify(path)
        assert path.read_bytes()[: len(material.old)] == material.old
        assert committed(path)
    material.check_new(path)


def test_what_a_lost_job_may_write_to_is_not_appended_to(material: Material, folder: Path) -> None:
    """Its late writes would go to where the next job's data are."""
    path = material.lay_out(folder)
    job = Target(path)
    job.reserve([Process.this()])
    try:
        with pytest.warns(UserWarning, match="taken over"), pytest.raises(TargetError, match="may still write"):
            NWBParallelIO(path, "a", progress=False, break_lock=True)
        with pytest.raises(TargetError, match=r"Copy it.*remove out\.nwb\.partial\.lost"):
            append(path)
    finally:
        job.lock.release()
    shutil.copy(path, folder / "copy")
    (folder / "copy").rename(path)
    job.lost.unlink()
    append(path)
    material.check_new(path)


def test_a_journal_that_does_not_fit_is_refused(material: Material, folder: Path) -> None:
    path = material.lay_out(folder)
    until_commit(path)
    with NWBHDF5IO(path, "a") as io:
        file = io.read()
        file.add_acquisition(TimeSeries(name="other", data=[1.0], unit="V", rate=1.0))
        io.write(file)
    changed = path.read_bytes()
    with pytest.raises(ResumeError, match=r"another program has changed the file since.*remove out\.nwb\.append\.j"):
        append(path)
    assert path.read_bytes() == changed
    with h5py.File(path, "r+"):
        pass


def test_the_journal_of_an_unfinished_file_is_none_of_an_append(tmp_path: Path) -> None:
    """Whatever is called with the name of a partial file, what was committed of it stays."""
    path = tmp_path / OUT
    with commits_every(3), stopped_at(10), pytest.raises(Stop):
        write(path, session(1), "w", commit_interval=1)
    before = {item: item.read_bytes() for item in tmp_path.iterdir()}
    assert len(before) == 2
    with pytest.raises(VerificationError, match="not complete"):
        verify(partial_of(path))
    for mode in ("a", "r+"):
        with pytest.raises(TargetError, match="HDF5 cannot open"):
            NWBParallelIO(partial_of(path), mode, progress=False)
    assert {item: item.read_bytes() for item in tmp_path.iterdir()} == before
    partial_journal = path.with_name(f"{OUT}.partial.journal")
    partial_of(path).rename(path)
    partial_journal.rename(journal_of(path))
    with pytest.raises(ResumeError, match="not that of an append"):
        finish_append(path)
    assert journal_of(path).exists()


def test_a_journal_whose_file_is_gone_is_not_left_to_another_file(material: Material, folder: Path) -> None:
    """Or that one would be thought to be damaged."""
    path = material.lay_out(folder)
    until_commit(path)
    path.rename(folder / "elsewhere")
    with pytest.raises(ResumeError, match=r"not here any more.*remove out\.nwb\.append\.journal"):
        NWBParallelIO(path, "w", progress=False)
    (folder / "elsewhere").rename(path)
    assert not verify(path).findings
    material.check_new(path)


def test_what_was_committed_stays_if_the_program_fails(material: Material, folder: Path) -> None:
    path = material.lay_out(folder)
    with pytest.raises(KeyError), NWBParallelIO(path, "a", progress=False, bulk_threshold=1024) as io:
        file = io.read()
        change(io, file)
        io.write(file)
        io.commit()
        raise KeyError("later")
    material.check_new(path)


def test_a_new_file_is_finished_after_its_commit_without_writing_again(tmp_path: Path) -> None:
    plain = comparable(write_plainly(tmp_path / "plain.nwb", session(1, movie=False)))
    path = tmp_path / OUT

    def killed() -> None:
        with small_pieces(), NWBParallelIO(path, "w", progress=False, **SETTINGS) as io:
            io.write(session(1, movie=False))
            io.commit()
            os.kill(os.getpid(), signal.SIGKILL)

    assert in_child(killed) == -signal.SIGKILL
    assert not path.exists()
    with patch.object(encoder, "encode", side_effect=AssertionError("a chunk is written again")):
        write(path, session(1, movie=False))
    assert not (different := differences(plain, comparable(path), Allowed(size_ratio=2.0))), "\n".join(different)
    with pytest.raises(KeyError), NWBParallelIO(tmp_path / "other.nwb", "w", progress=False) as io:
        io.write(session(1, movie=False))
        io.commit()
        raise KeyError("later")
    assert not (tmp_path / "other.nwb").exists()
    with NWBParallelIO(tmp_path / "other.nwb", "resume", progress=False) as io:
        io.write(session(1, movie=False))
    with NWBHDF5IO(tmp_path / "other.nwb", "r") as reader:
        assert "filtered" in reader.read().acquisition


def test_reading_errors_come_out_after_hdf5(tmp_path: Path) -> None:
    path = tmp_path / OUT
    path.write_bytes(b"a" * 100)
    existing = ExistingBytes(path, lock=True)
    assert existing.read(90, 20) == b"a" * 10 + bytes(10)
    with pytest.raises(TargetError, match="open elsewhere"):
        ExistingBytes(path, lock=True)
    os.close(existing._descriptor)
    view = bytearray(b"x" * 30)
    existing.read_into(memoryview(view), 0)
    assert view == bytes(30)
    with pytest.raises(StorageError, match=r"reading the existing file failed: Bad file descriptor.*out\.nwb"):
        existing.check()
