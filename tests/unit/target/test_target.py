"""Bytes on disk: writes that do less than they were asked for, full disks, and the last step."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
from pathlib import Path

import numpy as np
import pytest
from failure.mounts import mounted
from hypothesis import given, settings
from hypothesis import strategies as st

from parnwb.commits.journal import Journal
from parnwb.errors import StorageError, TargetError
from parnwb.target import FileBytes, Target
from parnwb.target import disk as on_disk
from parnwb.target import target as targets
from parnwb.target.disk import IOV_MAX
from parnwb.target.permissions import Permissions, create_file
from parnwb.target.process import Process

REAL_PWRITEV = os.pwritev


@pytest.fixture
def disk(tmp_path: Path):
    path = tmp_path / "out.nwb.partial"
    path.touch()
    opened = FileBytes(path)
    yield path, opened
    opened.close()


# -- writes --------------------------------------------------------------------------------------------------


@given(
    st.lists(st.binary(max_size=50), max_size=40),
    st.integers(0, 100),
    st.lists(st.integers(1, 60), min_size=1),
    st.integers(1, 8),
    st.integers(1, 70),
)
@settings(deadline=None, max_examples=80)
def test_short_writes_are_gone_on_with(tmp_path_factory, pieces, address, sizes, iov_max, max_call):
    """The system may write less than it was asked to, at any place and any number of times."""
    path = tmp_path_factory.mktemp("short") / "f"
    path.touch()
    calls = []

    def short(descriptor: int, batch: list[memoryview], offset: int) -> int:
        assert 0 < len(batch) <= iov_max
        assert 0 < sum(map(len, batch)) <= max_call
        joined = b"".join(batch)[: sizes[len(calls) % len(sizes)]]
        calls.append(len(joined))
        return os.pwrite(descriptor, joined, offset)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "pwritev", short)
        patch.setattr(on_disk, "IOV_MAX", iov_max)
        patch.setattr(on_disk, "MAX_CALL_BYTES", max_call)
        disk = FileBytes(path)
        disk.write_at(pieces, address)
        disk.close()
    whole = b"".join(pieces)
    assert path.read_bytes() == (bytes(address) + whole if whole else b"")
    assert sum(calls) == len(whole)


def test_a_run_of_pieces_is_one_call(disk, monkeypatch):
    path, file = disk
    calls = []
    monkeypatch.setattr(os, "pwritev", lambda *a: calls.append(a[2]) or REAL_PWRITEV(*a))
    file.write_at([b"ab", b"", b"cde", b"f"], 7)
    assert calls == [7]
    assert path.read_bytes() == bytes(7) + b"abcdef"


def test_more_pieces_than_one_call_takes(disk, monkeypatch):
    path, file = disk
    calls = []
    monkeypatch.setattr(os, "pwritev", lambda *a: calls.append(len(a[1])) or REAL_PWRITEV(*a))
    pieces = [bytes([n % 251]) * (n % 7) for n in range(3 * IOV_MAX + 50)]
    file.write_at(pieces, 3)
    assert path.read_bytes() == bytes(3) + b"".join(pieces)
    assert max(calls) <= IOV_MAX and len(calls) <= 4


@pytest.mark.parametrize(
    "piece",
    [
        b"abcd",
        bytearray(b"abcd"),
        memoryview(b"abcd"),
        np.frombuffer(b"abcd", "<i2"),
        np.arange(6).reshape(2, 3),
    ],
)
def test_all_kinds_of_pieces(disk, piece):
    path, file = disk
    file.write_at([piece, piece], 0)
    assert path.read_bytes() == 2 * bytes(memoryview(piece).cast("B"))


@pytest.mark.parametrize("pieces", [[], [b""], [b"", np.empty(0, "<i2")]])
def test_nothing_to_write(disk, pieces):
    path, file = disk
    file.write_at(pieces, 1000)
    assert path.stat().st_size == 0


def test_pieces_are_not_changed(disk):
    pieces = [b"abc", b"def"]
    disk[1].write_at(pieces, 0)
    assert pieces == [b"abc", b"def"]


def test_far_addresses(disk):
    path, file = disk
    file.write_at([b"end"], 1 << 41)
    assert path.stat().st_size == (1 << 41) + 3


# -- failures ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (errno.ENOSPC, "The file system is full"),
        (errno.EDQUOT, "The quota is used up"),
        (errno.EFBIG, "ulimit -f"),
        (errno.EIO, "Check the file system"),
        (errno.EROFS, "Check the file system"),
    ],
)
@pytest.mark.parametrize("doing", ["writing", "setting the size", "fsync"])
def test_what_the_system_says_is_passed_on(disk, monkeypatch, number, remedy, doing):
    path, file = disk

    def fail(*arguments: object) -> int:
        raise OSError(number, os.strerror(number))

    for name in ("pwritev", "ftruncate", "fsync"):
        monkeypatch.setattr(os, name, fail)
    action = {
        "writing": lambda: file.write_at([b"abc"], 4096),
        "setting the size": lambda: file.truncate(4096),
        "fsync": file.sync,
    }[doing]
    with pytest.raises(StorageError, match=f"^{doing} at byte") as caught:
        action()
    assert os.strerror(number) in str(caught.value)
    assert remedy in str(caught.value)
    assert caught.value.where == str(path)
    assert doing == "fsync" or "4096" in str(caught.value)
    assert caught.value.__cause__.errno == number


def test_failure_after_a_short_write_names_the_place(disk, monkeypatch):
    _, file = disk

    def fills_up(descriptor: int, batch: list[memoryview], offset: int) -> int:
        if offset >= 106:
            raise OSError(errno.ENOSPC, "No space left on device")
        return os.pwrite(descriptor, b"".join(batch)[:3], offset)

    monkeypatch.setattr(os, "pwritev", fills_up)
    with pytest.raises(StorageError, match="writing at byte 106 failed"):
        file.write_at([b"0123456789"], 100)


def test_a_write_of_nothing_is_an_error_and_no_endless_loop(disk, monkeypatch):
    monkeypatch.setattr(os, "pwritev", lambda *a: 0)
    with pytest.raises(StorageError, match="the system wrote nothing"):
        disk[1].write_at([b"abc"], 0)


def test_limit_of_the_shell(disk):
    """`ulimit -f`, for real: the first write is short, the second fails."""
    path, file = disk
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(StorageError, match="writing at byte 1000 failed.*ulimit -f"):
            file.write_at([b"a" * 600, b"b" * 600], 0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == b"a" * 600 + b"b" * 400


@pytest.mark.skipif(not os.access("/dev/full", os.W_OK), reason="needs /dev/full")
def test_full_device():
    file = FileBytes(Path("/dev/full"))
    with pytest.raises(StorageError, match="No space left on device.*free some space"):
        file.write_at([b"abc"], 0)
    file.close()


def test_truncate_sync_and_close(disk):
    path, file = disk
    file.write_at([b"0123456789"], 0)
    file.truncate(4)
    file.sync()
    file.close()
    file.close()
    assert path.read_bytes() == b"0123"


# -- target --------------------------------------------------------------------------------------------------


def test_partial_lies_beside(tmp_path):
    target = Target(tmp_path / "a.b.nwb")
    assert target.partial == tmp_path / "a.b.nwb.partial"


def test_folder_must_exist(tmp_path):
    with pytest.raises(TargetError, match="the output folder must exist") as caught:
        Target(tmp_path / "missing" / "x.nwb").check(overwrite=True)
    assert caught.value.where == str(tmp_path / "missing")


def test_folder_must_not_be_a_file(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(TargetError, match="the output folder must exist"):
        Target(tmp_path / "file" / "x.nwb").check(overwrite=False)


@pytest.mark.parametrize("overwrite", [False, True])
def test_output_must_not_be_a_folder(tmp_path, overwrite):
    (tmp_path / "x.nwb").mkdir()
    with pytest.raises(TargetError, match="must be a file, not a folder"):
        Target(tmp_path / "x.nwb").check(overwrite=overwrite)


def test_existing_file_is_replaced_only_when_asked(tmp_path):
    target = Target(tmp_path / "x.nwb")
    target.check(overwrite=False)
    target.path.touch()
    with pytest.raises(TargetError, match="exists and is not replaced.*--overwrite"):
        target.check(overwrite=False)
    target.check(overwrite=True)


@pytest.mark.parametrize("name", ["x" * 252 + ".nwb", "x" * 250])
def test_name_must_leave_room_for_that_of_the_partial_file(tmp_path, name):
    with pytest.raises(TargetError, match="cannot have this name: File name too long.*shorter"):
        Target(tmp_path / name).check(overwrite=False)


def test_name_with_a_null_byte(tmp_path):
    with pytest.raises(TargetError, match="null byte"):
        Target(tmp_path / "x\0.nwb").check(overwrite=False)


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFSOCK])
def test_what_is_not_a_regular_file_is_never_replaced(tmp_path, kind):
    target = Target(tmp_path / "x.nwb")
    os.mknod(target.path, kind | 0o600)
    for step in (lambda: target.check(overwrite=True), lambda: target.reserve([Process.this()])):
        with pytest.raises(TargetError, match="must be a regular file, not a device, pipe or socket.*another name"):
            step()
    assert stat.S_IFMT(os.lstat(target.path).st_mode) == kind
    assert [item.name for item in tmp_path.iterdir()] == ["x.nwb"]


def test_dangling_link_is_an_existing_file(tmp_path):
    target = Target(tmp_path / "x.nwb")
    target.path.symlink_to(tmp_path / "gone")
    with pytest.raises(TargetError, match="exists and is not replaced"):
        target.check(overwrite=False)


def test_create_replaces_an_earlier_attempt_and_nothing_else(tmp_path):
    target = Target(tmp_path / "x.nwb")
    target.path.write_text("final")
    target.partial.write_text("left by a failed attempt")
    token = target.create()
    assert (target.partial.read_bytes(), target.path.read_text()) == (token, "final")


def test_other_ranks_recognise_what_the_root_created(tmp_path, monkeypatch):
    monkeypatch.setattr("parnwb.target.visible.PATIENCE_SECONDS", 0.1)
    root, other = Target(tmp_path / "x.nwb"), Target(tmp_path / "x.nwb")
    token = root.create()
    other.recognise(token)
    assert Target(tmp_path / "y.nwb").create() != token
    with pytest.raises(TargetError, match="every rank must see the file.*No such file") as caught:
        Target(tmp_path / "z.nwb").recognise(token)
    assert str(tmp_path / "z.nwb.partial") in caught.value.where and "on host" in caught.value.where
    with pytest.raises(
        TargetError, match="this rank sees another file of this name.*folder that all hosts share"
    ):
        Target(tmp_path / "y.nwb").recognise(token)


@pytest.mark.parametrize("harm", ["replace", "remove"])
def test_file_that_another_job_has_taken_is_left_to_it(tmp_path, harm):
    target, other = Target(tmp_path / "x.nwb"), Target(tmp_path / "x.nwb")
    target.create()
    target.check_ours()
    if harm == "replace":
        other.partial.rename(tmp_path / "aside")  # keeps its inode, so that the new file surely has another
        other.create()
    else:
        other.partial.unlink()
    for action in (target.check_ours, target.publish):
        with pytest.raises(TargetError, match="replaced or removed by another program.*one job at a time"):
            action()
    target.discard()
    assert other.partial.exists() == (harm == "replace")
    assert not target.path.exists()


def test_partial_file_must_be_there_to_be_opened(tmp_path):
    with pytest.raises(StorageError, match="^opening at byte 0 failed: No such file") as caught:
        FileBytes(tmp_path / "missing")
    assert caught.value.where == str(tmp_path / "missing")


def test_created_file_has_usual_permissions(tmp_path):
    target = Target(tmp_path / "x.nwb")
    before = os.umask(0o027)
    try:
        target.create()
    finally:
        os.umask(before)
    assert stat.S_IMODE(target.partial.stat().st_mode) == 0o640


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o660, 0o664, 0o444, 0o400])
def test_overwriting_keeps_the_permissions(tmp_path, mode):
    """And the files on the way are never more open, but that their owner writes them."""
    target = Target(tmp_path / "x.nwb")
    target.path.write_text("old")
    target.path.chmod(mode)
    group = 12345 if os.getuid() == 0 else os.getgid()
    os.chown(target.path, -1, group)
    before = os.umask(0)
    try:
        target.reserve([Process.this()])
        target.create()
        Journal.create(target.journal, like=Permissions.of(target.partial)).close()
    finally:
        os.umask(before)
    for path in (target.partial, target.journal, target.path.with_name("x.nwb.lock")):
        assert (permissions(path), path.stat().st_gid) == (mode | 0o600, group), path
    target.publish(overwrite=True)
    target.lock.release()
    assert (permissions(target.path), target.path.stat().st_gid) == (mode, group)
    assert os.listdir(tmp_path) == ["x.nwb"]


@pytest.mark.parametrize(("mode", "left"), [(0o660, 0o600), (0o664, 0o644), (0o640, 0o600), (0o666, 0o666)])
def test_the_rights_of_a_group_are_not_given_to_another(tmp_path, monkeypatch, mode, left):
    def refuse(*arguments: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refuse)
    os.close(create_file(tmp_path / "x", Permissions(mode, os.getgid() + 1)))
    assert permissions(tmp_path / "x") == left


def test_permissions_that_change_while_the_file_is_written(tmp_path):
    target = Target(tmp_path / "x.nwb")
    target.path.write_text("old")
    target.create()
    target.path.chmod(0o600)
    target.publish(overwrite=True)
    assert permissions(target.path) == 0o600


def test_a_link_of_the_final_name_is_replaced_and_not_followed(tmp_path):
    target, other = Target(tmp_path / "x.nwb"), tmp_path / "other"
    other.write_text("precious")
    other.chmod(0o600)
    target.path.symlink_to(other)
    target.create()
    assert permissions(target.partial) == 0o600
    target.publish(overwrite=True)
    assert not target.path.is_symlink() and permissions(target.path) == 0o600
    assert other.read_text() == "precious"


def test_a_link_in_place_of_a_file_to_resume_is_not_followed(tmp_path):
    target, victim = Target(tmp_path / "x.nwb"), tmp_path / "victim"
    victim.write_text("precious")
    for link in (target.partial, target.journal):
        link.symlink_to(victim)
    for action in (target.adopt, lambda: FileBytes(target.journal)):
        with pytest.raises(StorageError, match="symbolic link.*not followed"):
            action()
    assert victim.read_text() == "precious"


def test_other_ranks_follow_no_link(tmp_path):
    target, victim = Target(tmp_path / "x.nwb"), tmp_path / "victim"
    victim.write_bytes(b"0123456789abcdef")
    target.partial.symlink_to(victim)
    with pytest.raises(TargetError, match="every rank must see"):
        target.recognise(b"0123456789abcdef")


def test_a_partial_file_of_two_names_is_not_gone_on_with(tmp_path):
    """What is written to it would change the file of the other name, a backup perhaps."""
    target = Target(tmp_path / "x.nwb")
    target.partial.write_text("precious" * 4)
    os.link(target.partial, tmp_path / "backup")
    with pytest.raises(TargetError, match="one name, it has 2.*copy"):
        target.adopt()
    assert (tmp_path / "backup").read_text() == "precious" * 4


def test_reserving_finds_a_folder_that_takes_no_files(tmp_path):
    """By trying: `os.access` is wrong on network file systems, and for root. Nothing is left of the trial."""
    with mounted("ro") as folder:
        if folder is None:
            pytest.skip("mounting a file system is refused here; it needs root")
        with pytest.raises(TargetError, match="cannot be written to: Read-only") as caught:
            Target(folder / "x.nwb").reserve([Process.this()])
    assert caught.value.where == str(folder / "x.nwb.lock")


def test_a_job_that_has_lost_its_lock_touches_nothing(tmp_path):
    target = Target(tmp_path / "x.nwb")
    target.reserve([Process.this()])
    target.create()
    (tmp_path / "x.nwb.lock").unlink()
    for action in (target.create, target.adopt, target.check_ours, target.publish):
        with pytest.raises(TargetError, match="lock of this job was broken"):
            action()
    target.discard()
    assert target.partial.exists()
    target.lock.release()


def test_a_rank_looks_now_and_then(tmp_path, monkeypatch):
    target = Target(tmp_path / "x.nwb")
    target.create()
    target.check_now_and_then()
    target.partial.rename(tmp_path / "aside")
    target.check_now_and_then()  # it has just looked
    monkeypatch.setattr(targets, "LOOK_SECONDS", 0.0)
    with pytest.raises(TargetError, match="replaced or removed"):
        target.check_now_and_then()


def test_read_at(disk):
    path, file = disk
    path.write_bytes(b"0123456789")
    assert [file.read_at(*place) for place in ((3, 4), (5, 8), (1, 10), (0, 0))] == [b"456", b"89", b"", b""]


def test_create_does_not_follow_a_link_of_that_name(tmp_path):
    target, victim = Target(tmp_path / "x.nwb"), tmp_path / "victim"
    victim.write_text("precious")
    target.partial.symlink_to(victim)
    target.create()
    assert victim.read_text() == "precious" and not target.partial.is_symlink()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
def test_folder_that_takes_no_files(tmp_path, monkeypatch, number):
    """Root may write anywhere, so the refusal is made here."""

    def refuse(*arguments: object, **keywords: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(TargetError, match="cannot be written to") as caught:
        Target(tmp_path / "x.nwb").create()
    assert os.strerror(number) in str(caught.value)
    assert caught.value.where == str(tmp_path / "x.nwb.partial")


def test_partial_that_is_a_folder(tmp_path):
    target = Target(tmp_path / "x.nwb")
    target.partial.mkdir()
    with pytest.raises(TargetError, match="cannot be written to"):
        target.create()


def test_space_is_required_before_the_first_byte(tmp_path):
    target = Target(tmp_path / "x.nwb")
    target.require_space(1)
    with pytest.raises(
        StorageError, match=r"needs at least 1125899906842624000 bytes, the file system has \d+ free"
    ):
        target.require_space(1_000 << 50)


@pytest.mark.parametrize("overwrite", [False, True])
def test_publish_is_one_step(tmp_path, overwrite):
    target = Target(tmp_path / "x.nwb")
    if overwrite:
        target.path.write_text("old")
    target.create()
    target.partial.write_text("new")
    inode = target.partial.stat().st_ino
    target.publish(overwrite=overwrite)
    assert target.path.read_text() == "new" and target.path.stat().st_ino == inode
    assert os.listdir(tmp_path) == ["x.nwb"]


def test_publish_does_not_replace_what_has_appeared_meanwhile(tmp_path):
    target = Target(tmp_path / "x.nwb")
    target.create()
    target.path.write_text("of another job")
    with pytest.raises(
        TargetError, match="has appeared while it was written.*x.nwb.partial: give it another name"
    ):
        target.publish()
    assert target.path.read_text() == "of another job" and target.partial.exists()


def test_publish_makes_the_folder_remember(tmp_path, monkeypatch):
    target, synced = Target(tmp_path / "x.nwb"), []
    target.create()

    def note(descriptor: int) -> None:
        synced.append((stat.S_ISDIR(os.fstat(descriptor).st_mode), target.path.exists()))

    monkeypatch.setattr(os, "fsync", note)
    target.publish()
    assert synced == [(True, True)]


def test_folder_that_cannot_be_synced_is_no_failure(tmp_path, monkeypatch):
    """The file has its name by then; some file systems refuse to sync folders."""
    target = Target(tmp_path / "x.nwb")
    target.create()

    def refuse(descriptor: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    target.publish()
    assert target.path.exists()


def test_publish_that_fails_leaves_both_files(tmp_path, monkeypatch):
    target = Target(tmp_path / "x.nwb")
    target.path.write_text("old")
    target.create()

    def refuse(*arguments: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(
        StorageError, match="could not be renamed: Invalid cross-device link.*rename it by hand"
    ):
        target.publish(overwrite=True)
    assert target.path.read_text() == "old" and target.partial.exists()


def test_discard_removes_the_partial_file_only(tmp_path):
    target = Target(tmp_path / "x.nwb")
    target.path.write_text("final")
    target.create()
    target.discard()
    target.discard()
    assert os.listdir(tmp_path) == ["x.nwb"]


def test_discard_leaves_what_was_not_created_here(tmp_path):
    target = Target(tmp_path / "x.nwb")
    target.partial.write_text("of another job")
    target.discard()
    assert target.partial.exists()
