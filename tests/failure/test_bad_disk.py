"""Disks that fill up or break and sources that cannot be read, all of them real: one error, and the job goes on."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from contract.compare import Snapshot
from failure.bad_disk import fill, make_recording, session
from failure.injected.injection import compiled
from failure.mounts import Disk, disk, mounted
from failure.resuming import assert_same, committed_in, comparable, journal_of, partial_of, write_plainly
from mpi_launch import run_mpi

pytestmark = [pytest.mark.mpi_skip, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
PROGRAM = Path(__file__).with_name("bad_disk.py")
SECONDS = 90
SOON = 45
FREE = 6 * 2**20  # half of the file
NO_ROOT = "mounting a file system is refused here; it needs root"


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_recording(tmp_path_factory.mktemp("recording") / "probe.bin")


@pytest.fixture(scope="module")
def expected(recording: Path) -> Snapshot:
    return comparable(write_plainly(recording.with_name("plain.nwb"), session(recording)))


@pytest.fixture
def ext4() -> Iterator[Disk]:
    with disk() as made:
        if made is None:
            pytest.skip(NO_ROOT)
        yield made


@pytest.fixture
def tmpfs() -> Iterator[Path]:
    with mounted("size=32m") as folder:
        if folder is None:
            pytest.skip(NO_ROOT)
        yield folder


def run(ranks: int, way: str, output: Path, recording: Path, marks: Path, **environment: str) -> tuple[int, str]:
    """Run the program and return its status and what it said."""
    python_path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    argv = [sys.executable, PROGRAM, way, output, recording, marks]
    done = run_mpi(ranks, argv, timeout=SECONDS, env={"PYTHONPATH": python_path, **environment})
    return done.returncode, done.stderr


def must_fail(
    ranks: int, way: str, output: Path, recording: Path, marks: Path, kind: str, *says: str, **environment: str
) -> None:
    """Run the program: it must fail soon on every rank, say once why, and leave what it had committed."""
    began = time.monotonic()
    status, said = run(ranks, way, output, recording, marks, **environment)
    assert time.monotonic() - began < SOON
    assert status != 0, "it succeeded"
    lines = [line for line in said.splitlines() if line.startswith("parnwb.errors.")]
    assert len(lines) == 1, said
    assert lines[0].startswith(f"parnwb.errors.{kind}: "), said
    for pattern in says:
        assert re.search(pattern, lines[0]), f"{pattern} is not said: {lines[0]}"
    left = {path.name: path.read_text() for path in marks.iterdir()}
    assert left == {f"rank-{rank}": kind for rank in range(ranks)}
    assert not output.exists()


def must_go_on(ranks: int, output: Path, recording: Path, marks: Path, expected: Snapshot) -> None:
    """Check what is left and resume: no committed chunk may be lost, and the file must be right."""
    committed = committed_in(output)
    assert partial_of(output).exists() and committed is not None and len(committed.records) > 0
    status, said = run(ranks, "peace", output, recording, marks)
    assert status == 0, said
    assert_same(output, expected)
    assert not partial_of(output).exists() and not journal_of(output).exists()


@pytest.mark.parametrize(("ranks", "later"), [(1, 3), (3, 1)])
@pytest.mark.parametrize("way", ["full", "journal"])
def test_full_ext4(
    ext4: Disk, recording: Path, expected: Snapshot, tmp_path: Path, way: str, ranks: int, later: int
) -> None:
    full(ext4.folder, recording, expected, tmp_path, way, ranks, later)


@pytest.mark.once  # ext4, which says in other calls that it is full, is tried with either MPI, and while it commits
@pytest.mark.parametrize(("ranks", "later"), [(1, 3), (3, 1)])
def test_full_tmpfs(
    tmpfs: Path, recording: Path, expected: Snapshot, tmp_path: Path, ranks: int, later: int
) -> None:
    full(tmpfs, recording, expected, tmp_path, "full", ranks, later)


def full(folder: Path, recording: Path, expected: Snapshot, marks: Path, way: str, ranks: int, later: int) -> None:
    """Half of the file has room, or all is full when a commit is to be recorded; then somebody tidies up."""
    output, other = folder / "out.nwb", folder / "other-program"
    if way == "full":
        fill(other, FREE)
    where = r"\.partial\]" if way == "full" else r"\.journal\]"
    must_fail(ranks, way, output, recording, marks, "StorageError", "No space left", "free some space", where)
    other.unlink()
    must_go_on(later, output, recording, marks, expected)


@pytest.mark.parametrize(("ranks", "later"), [(1, 2), (3, 1)])
def test_file_system_that_goes_read_only(
    ext4: Disk, recording: Path, expected: Snapshot, tmp_path: Path, ranks: int, later: int
) -> None:
    """As ext4 does after an error; what had been made safe is there when it is mounted again."""
    output = ext4.folder / "out.nwb"
    reason = "Read-only file system|Input/output error"
    must_fail(ranks, "breaks", output, recording, tmp_path, "StorageError", reason, "Check the file system")
    ext4.repair()
    must_go_on(later, output, recording, tmp_path, expected)


HYPERSLAB = r"/acquisition/probe/data\[\d+:\d+, 0:16\]"


@pytest.mark.once  # one that cannot be read ends in the same way
@pytest.mark.parametrize(("ranks", "later"), [(1, 3), (3, 1)])
def test_recording_that_shrinks(
    recording: Path, expected: Snapshot, tmp_path: Path, ranks: int, later: int
) -> None:
    whole, (marks, output) = recording.read_bytes(), folders(tmp_path)
    try:
        says = [HYPERSLAB, r"probe\.bin", "must not shrink"]
        must_fail(ranks, "truncated", output, recording, marks, "SourceError", *says)
    finally:
        recording.write_bytes(whole)
    must_go_on(later, output, recording, marks, expected)


@pytest.mark.parametrize(("ranks", "later"), [(1, 3), (3, 1)])
def test_recording_that_cannot_be_read(
    recording: Path, expected: Snapshot, tmp_path: Path, ranks: int, later: int
) -> None:
    marks, output = folders(tmp_path)
    says = [HYPERSLAB, r"probe\.bin", "Input/output error"]
    preload = {"LD_PRELOAD": str(compiled(tmp_path))}
    must_fail(ranks, "unreadable", output, recording, marks, "SourceError", *says, **preload)
    must_go_on(later, output, recording, marks, expected)


def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Return a folder for marks, and an output in another one."""
    for name in ("marks", "output"):
        (tmp_path / name).mkdir()
    return tmp_path / "marks", tmp_path / "output" / "out.nwb"
