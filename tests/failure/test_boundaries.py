"""A process may end between any two calls, or within one, and the power may fail at any: recovery is always right."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from contract.compare import Snapshot
from failure.calls import KILLED, Call, EndAfter, Log, in_child, unwatch, watch
from failure.nursery import Nursery
from failure.pages import Disk
from failure.resuming import (
    Stop,
    assert_finished,
    assert_goes_on,
    assert_same,
    commits_every,
    committed_in,
    comparable,
    journal_of,
    partial_of,
    session,
    stopped_at,
    write,
    write_plainly,
)
from mpi_launch import mpi_vendor, run_mpi

from parnwb.commits.journal import Committed
from parnwb.errors import ResumeError

pytestmark = [pytest.mark.mpi_skip, pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]

SCALE = 2
EVERY = 4  # batches between commits
OUT = "out.nwb"
STATES = {"looked_at": 400, "resumed": 40}


def attempt(path: Path, mode: str = "resume", *, seed: int = 0, overwrite: bool = False) -> None:
    with commits_every(EVERY):
        write(path, session(SCALE, seed=seed), mode, specs=False, commit_interval=1, overwrite=overwrite)


@dataclass(frozen=True)
class Situation:
    """A folder before an attempt, and the attempt.

    Parameters
    ----------
    files
        What is there, by name.
    attempt
        What is to be ended too early.
    go_on
        What is done afterwards, until the file is there.
    old
        Whether there is an older file of this name, and it may still be there.
    """

    files: dict[str, bytes]
    attempt: Callable[[Path], None]
    go_on: Callable[[Path], None] = attempt
    old: bytes | None = None

    def lay_out(self, folder: Path) -> Path:
        """Make the folder and return the path of the output."""
        fill(folder, self.files)
        return folder / OUT


def fill(folder: Path, files: dict[str, bytes]) -> None:
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)


def files_in(folder: Path) -> dict[str, bytes]:
    return {item.name: item.read_bytes() for item in folder.iterdir()}


@dataclass(frozen=True)
class Material:
    """What every file must become, and the situations."""

    expected: Snapshot
    size: int
    situations: dict[str, Situation]


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    folder = tmp_path_factory.mktemp("material")
    expected = comparable(write_plainly(folder / "plain.nwb", session(SCALE), specs=False))
    whole = folder / "whole.nwb"
    write(whole, session(SCALE), "w", specs=False)
    half = folder / "half"
    half.mkdir()
    with stopped_at(9), pytest.raises(Stop):
        attempt(half / OUT)
    complete = folder / "complete"
    complete.mkdir()
    assert in_child(lambda: until(complete, "replace", lambda: attempt(complete / OUT))) == KILLED
    other = folder / "other"
    other.mkdir()
    with stopped_at(9), pytest.raises(Stop):
        attempt(other / OUT, seed=7)
    old = write_plainly(folder / "old.nwb", session(1, movie=False)).read_bytes()
    situations = {
        "begun": Situation({}, attempt),
        "resumed": Situation(files_in(half), attempt),
        "completed": Situation(files_in(complete), attempt),
        # An unfinished file of another recording, which the user gives up, and an older file, which goes as well.
        "replaced": Situation(
            {**files_in(other), OUT: old}, lambda path: attempt(path, "w", overwrite=True), replace_it, old
        ),
    }
    return Material(expected, whole.stat().st_size, situations)


def replace_it(path: Path) -> None:
    """Resume with overwrite; where the other recording's work is still there this is refused, and done anew."""
    try:
        attempt(path, overwrite=True)
    except ResumeError as error:
        assert "must be the same" in str(error)
        attempt(path, "w", overwrite=True)


def until(folder: Path, kind: str, function: Callable[[], None], ending: str = "") -> None:
    """Run a function and end the process before its first call of a kind, to a file whose name ends so."""

    def watcher(call: Call, make: Callable[[], object], tear: Callable[[int], None]) -> object:
        if call.kind == kind and call.path.endswith(ending):
            EndAfter(0)(call, make, tear)
        return make()

    watch(folder, watcher)
    function()


@contextmanager
def logged(folder: Path) -> Iterator[list[Call]]:
    log = Log([])
    watch(folder, log)
    try:
        yield log.calls
    finally:
        unwatch()


def check_found(path: Path, material: Material, situation: Situation, before: Committed | None) -> Committed | None:
    """Check what an ended attempt has left, and return its last commit."""
    committed = committed_in(path)
    if not path.exists() or path.read_bytes() == situation.old:
        if situation.old is None:
            assert_goes_on(before, committed)
    else:
        assert_same(path, material.expected)
    return committed


def finish(path: Path, material: Material, situation: Situation) -> None:
    """Go on until the file is there, and check it."""
    if path.exists() and path.read_bytes() != situation.old and not journal_of(path).exists():
        return  # and has been compared
    situation.go_on(path)
    assert_finished(path, material.expected, material.size)


def count_calls(path: Path, situation: Situation) -> list[Call]:
    with logged(path.parent) as calls:
        situation.attempt(path)
    return list(calls)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder in memory, if that can be: `fsync` takes no time there, and these tests simulate what it is for."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="parnwb-boundaries-", dir=base) as name:
        yield Path(name) / "out"


# A new file, where HDF5 makes all of its calls, with either HDF5; the others are about parnwb's own.
NAMES = ["begun", *(pytest.param(name, marks=pytest.mark.once) for name in ("resumed", "completed", "replaced"))]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_calls_are_made_each_time(material, folder, name):
    """Or the numbers of the tests below would mean nothing; and that they are the ones one expects."""
    situation = material.situations[name]
    first, second = (count_calls(situation.lay_out(folder), situation) for _ in range(2))
    shown = [[re.sub(r"lock\.[0-9a-f]{8}", "lock.RANDOM", str(call)) for call in calls] for calls in (first, second)]
    assert shown[0] == shown[1]
    kinds = [call.kind for call in first]
    assert kinds[-4:] == ["replace", "sync folder", "unlink", "unlink"]  # the journal, then the lock
    assert kinds.count("sync") >= {"begun": 8, "resumed": 5, "completed": 4, "replaced": 8}[name]


@pytest.mark.parametrize("name", NAMES)
def test_every_boundary(material, folder, name):
    """The end of the process right after every call, which is right before the next one, and before the first."""
    situation = material.situations[name]
    path = situation.lay_out(folder)
    before = committed_in(path)
    calls = count_calls(path, situation)
    assert_same(path, material.expected)
    for number in range(len(calls) + 1):
        where = f"after call {number}, {calls[number - 1] if number else 'none'}"
        situation.lay_out(path.parent)
        assert in_child(lambda n=number: end_after(path, situation, EndAfter(n))) == KILLED, where
        try:
            check_found(path, material, situation, before)
            assert path.exists() == ("replace" in [call.kind for call in calls[:number]] or situation.old is not None)
            finish(path, material, situation)
        except Exception as error:
            raise AssertionError(f"{where}: {error}") from error


@pytest.mark.parametrize("name", NAMES)
def test_within_every_write(material, folder, name):
    """Only the first part of a write is done."""
    situation = material.situations[name]
    path = situation.lay_out(folder)
    before = committed_in(path)
    calls = count_calls(path, situation)
    rng = random.Random(name)
    journal = str(journal_of(path))
    for number, call in enumerate(calls, start=1):
        if call.kind != "write" or (call.path != journal and rng.random() < 0.7):
            continue
        torn = rng.random()
        where = f"{torn:.2f} of call {number}, {call}"
        situation.lay_out(path.parent)
        assert in_child(lambda n=number, t=torn: end_after(path, situation, EndAfter(n, t))) == KILLED, where
        try:
            check_found(path, material, situation, before)
            finish(path, material, situation)
        except Exception as error:
            raise AssertionError(f"{where}: {error}") from error


def end_after(path: Path, situation: Situation, end: EndAfter) -> None:
    watch(path.parent, end)
    situation.attempt(path)


def test_one_attempt_after_the_other_each_a_few_calls_longer(material, folder):
    """Until one comes to its end; nothing of what was committed is ever lost or moved."""
    situation = material.situations["begun"]
    path = situation.lay_out(folder)
    before, number = None, 3
    while in_child(lambda n=number: end_after(path, situation, EndAfter(n))) == KILLED:
        before = check_found(path, material, situation, before) or before
        number += 1
    assert number > 10
    assert_finished(path, material.expected, material.size)


# -- power ---------------------------------------------------------------------------------------------------------


def durable_frames(calls: list[Call], journal: str, before: int) -> int:
    """Return how many frames of the journal must be there after these calls, if it is there."""
    count, unsafe = before, 0
    for call in calls:
        if call.path == journal:
            if call.kind in ("create", "unlink"):
                count = unsafe = 0
            elif call.kind == "write":
                unsafe += 1  # a frame is one write here
            elif call.kind == "sync":
                count, unsafe = count + unsafe, 0
    return count


@pytest.mark.parametrize("name", NAMES)
def test_power_failures(material, folder, tmp_path, name):
    """Of what was written since the last `fsync` any page is lost, and of changed names any."""
    situation = material.situations[name]
    path = situation.lay_out(folder)
    first = committed_in(path)
    calls = count_calls(path, situation)
    journal = str(journal_of(path))
    rng = random.Random(f"power {name}")
    resumed = 0
    points = [rng.randint(0, len(calls)) for _ in range(STATES["looked_at"])]
    resume_at = set(rng.sample(range(STATES["looked_at"]), STATES["resumed"]))
    for number, point in enumerate(points):
        disk = Disk({f"{folder}/{item}": content for item, content in situation.files.items()})
        for call in calls[:point]:
            disk.make(call)
        found = disk.after_a_crash(rng)
        fill(path.parent, {Path(item).name: content for item, content in found.items()})
        try:
            committed = check_found(path, material, situation, first)
            published = path.exists() and path.read_bytes() != situation.old
            if not published and situation.old is None:
                least = durable_frames(calls[:point], journal, first.sequence if first else 0)
                assert (committed.sequence if committed else 0) >= least, "a safe commit is lost"
            if number in resume_at:
                resumed += 1
                finish(path, material, situation)
        except Exception as error:
            last = calls[point - 1] if point else "none"
            kept = tmp_path / "found"
            fill(kept, {Path(item).name: content for item, content in found.items()})
            raise AssertionError(f"state {number} after call {point}, {last}, kept in {kept}: {error}") from error
    assert resumed == STATES["resumed"]


def test_the_simulator_loses_what_is_not_safe_and_nothing_else():
    """A test of the test: without an `fsync` in the right place it finds the damage."""
    rng = random.Random(1)

    def found(*calls: Call) -> set[tuple[tuple[str, bytes], ...]]:
        states = set()
        for _ in range(300):
            disk = Disk({"/d/old": b"o" * 5000})
            for call in calls:
                disk.make(call)
            states.add(tuple(sorted(disk.after_a_crash(rng).items())))
        return states

    old = ("/d/old", b"o" * 5000)
    new, sync, folder = Call("create", "/d/new"), Call("sync", "/d/new"), Call("sync folder", "/d")
    text = Call("write", "/d/new", 0, b"a" * 4096 + b"b")
    assert found() == {(old,)}
    assert found(new) == {(old,), (("/d/new", b""), old)}
    assert found(new, text, sync, folder) == {(("/d/new", text.data), old)}
    assert found(new, text, sync) == {(old,), (("/d/new", text.data), old)}
    unsafe = found(new, folder, text)
    for content in (b"", text.data, bytes(4097), b"a" * 4096 + b"\0", bytes(4096) + b"b"):
        assert (("/d/new", content), old) in unsafe
    cut = found(Call("truncate", "/d/old", 10))
    assert {(("/d/old", b"o" * 10),), (old,)} <= cut
    moved = found(Call("replace", "/d/old", to="/d/x"))
    assert moved == {(old,), (("/d/x", old[1]),)}
    twice = found(Call("write", "/d/old", 0, b"1"), Call("write", "/d/old", 0, b"2"))
    assert {content[:1] for ((_, content),) in twice} == {b"o", b"1", b"2"}


# -- two ranks -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def ranks() -> Iterator[tuple[list[str], dict[str, str], Callable[[], None]]]:
    if mpi_vendor() == "mpich":
        with Nursery("failure.attempt") as nursery:
            yield nursery.rank(), nursery.environment, nursery.wait_for_the_end
    else:
        yield [sys.executable, "-W", "ignore", str(Path(__file__).with_name("attempt.py"))], {}, lambda: None


@pytest.mark.parametrize(("rank", "numbers"), [(0, range(1, 90, 6)), (1, range(1, 24, 4))])
def test_a_rank_of_two_ends_after_a_call(material, folder, tmp_path, ranks, rank, numbers):
    """The other one does not wait for it, and one rank goes on."""
    command, environment, settle = ranks
    situation = material.situations["begun"]
    ended = 0
    for number in numbers:
        path = situation.lay_out(folder)
        marks = tmp_path / f"marks{number}"
        marks.mkdir()
        options = {"scale": SCALE, "seconds": 0.001, "commit_interval": 0.01, "specs": False}
        options["end_after"] = [rank, number]
        done = run_mpi(2, [*command, str(path), str(marks), json.dumps(options)], timeout=60, env=environment)
        settle()
        ended += done.returncode != 0
        try:
            assert (done.returncode == 0) <= path.exists()
            check_found(path, material, situation, None)
            finish(path, material, situation)
        except Exception as error:
            raise AssertionError(f"rank {rank} after call {number}: {error}\n{done.stderr[-2000:]}") from error
    assert ended > len(numbers) / 3
    assert not partial_of(path).exists()
