"""An append that is ended at any moment leaves the file as it was or as committed; the next one goes well."""

from __future__ import annotations

import json
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
from failure.appending import add, append
from failure.calls import KILLED, Call, EndAfter, Log, in_child, unwatch, watch
from failure.pages import Disk
from failure.resuming import SETTINGS, comparable, open_and_close, session, small_pieces, write, write_plainly
from mpi_launch import run_mpi
from pynwb import NWBHDF5IO, TimeSeries

from parnwb import NWBParallelIO
from parnwb.amendment import Amendment, finish_append, journal_of
from parnwb.backends import encoder
from parnwb.errors import ResumeError, StorageError, TargetError
from parnwb.storage import ExistingBytes
from parnwb.verify import verify

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

    def check_changed(self, path: Path) -> None:
        different = differences(self.after, comparable(path), Allowed(size_ratio=2.0))
        assert not different, "\n".join(different)

    def check_new(self, path: Path) -> None:
        self.check_changed(path)
        assert [item.name for item in path.parent.iterdir()] == [OUT]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    path = write_plainly(tmp_path_factory.mktemp("material") / OUT, session(1, movie=False))
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


def check_ended(path: Path, material: Material, finished: bool) -> None:
    """Check what is there after an end, and that one can go on from it."""
    if finished:
        material.check_changed(path)
    elif committed(path):
        finish_append(path)
        material.check_changed(path)
    else:
        material.check_old(path)
        append(path)
        material.check_new(path)
    open_and_close(path)
    material.check_new(path)


def is_unlink_of_journal(call: Call) -> bool:
    return call.kind == "unlink" and call.path.endswith(".journal")


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
    assert list(map(str, calls[-4:-2])) == [f"sync {OUT}", f"unlink {OUT}.journal"]
    assert calls[-2].kind == "sync folder" and str(calls[-1]) == f"unlink {OUT}.lock"


@pytest.mark.slow
@pytest.mark.parametrize("seed", [None, 1], ids=["between", "within"])
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
            check_ended(path, material, finished=any(map(is_unlink_of_journal, calls[:number])))
        except Exception as error:
            raise AssertionError(f"after call {number}, {call} ({torn}): {error}") from error


@pytest.mark.slow
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
        finished = not journal_of(path).exists() and any(map(is_unlink_of_journal, calls[:point]))
        try:
            check_ended(path, material, finished)
        except Exception as error:
            raise AssertionError(f"after call {point} of {len(calls)}: {error}") from error
    assert journals > 10


@pytest.mark.slow
@pytest.mark.parametrize(("rank", "numbers"), [(0, (1, 3, 6, 8, 11, 17, 19)), (1, (1, 3, 5))])
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
            add(file)
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


def test_what_a_job_elsewhere_may_still_be_at_is_not_finished(material: Material, folder: Path) -> None:
    """A lock of HDF5's kind may be known on one host only; the file beside it is seen by all."""
    path = material.lay_out(folder)
    until_commit(path)
    lock = path.with_name(f"{OUT}.lock")
    head = json.loads(lock.read_bytes())
    head["places"][0].update(host="elsewhere", boot="another", machine="another")
    lock.write_text(json.dumps(head))
    before = {item: item.read_bytes() for item in folder.iterdir()}
    said = r"append to the file is not finished: another job is writing .*host elsewhere.*break_lock=True\) if that job has ended"
    with pytest.raises(TargetError, match=said):
        verify(path)
    with pytest.raises(TargetError, match="another job is writing"):
        NWBParallelIO(path, "a", progress=False)
    assert {item: item.read_bytes() for item in folder.iterdir()} == before
    open_and_close(path, break_lock=True)
    material.check_new(path)


def test_a_journal_that_does_not_fit_is_refused(material: Material, folder: Path) -> None:
    path = material.lay_out(folder)
    until_commit(path)
    with NWBHDF5IO(path, "a") as io:
        file = io.read()
        file.add_acquisition(TimeSeries(name="other", data=[1.0], unit="V", rate=1.0))
        io.write(file)
    changed = path.read_bytes()
    with pytest.raises(ResumeError, match=r"another program has changed the file since.*remove out\.nwb\.journal"):
        append(path)
    assert path.read_bytes() == changed
    with h5py.File(path, "r+"):
        pass


def test_what_was_committed_stays_if_the_program_fails(material: Material, folder: Path) -> None:
    path = material.lay_out(folder)
    with pytest.raises(KeyError), NWBParallelIO(path, "a", progress=False, bulk_threshold=1024) as io:
        file = io.read()
        add(file)
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
