"""A folder that gets its name when all of it is there."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from parnwb.errors import StorageError, TargetError
from parnwb.target import FolderFiles, FolderTarget, stored_bytes
from parnwb.target.process import Process


@pytest.fixture
def target(tmp_path: Path) -> FolderTarget:
    target = FolderTarget(tmp_path / "out.nwb.zarr")
    target.reserve([Process.this()])
    return target


def filled(target: FolderTarget, *names: str) -> FolderFiles:
    files = FolderFiles(target.partial)
    files.make_folders(["a/b"])
    files.write("a/b", [(name, b"12345") for name in names])
    files.write("", [(".zgroup", b"{}")])
    return files


def test_a_folder_gets_its_name_when_it_is_complete(target: FolderTarget) -> None:
    token = target.create()
    target.recognise(token)
    files = filled(target, "0.0", "0.1")
    files.sync()
    assert not target.path.exists()
    target.publish()
    assert sorted(path.name for path in target.path.rglob("*")) == [".zgroup", "0.0", "0.1", "a", "b"]
    assert stored_bytes(target.path) == 12 and not target.partial.exists()


def test_an_existing_store_is_replaced_only_when_asked_to(target: FolderTarget) -> None:
    target.path.mkdir()
    (target.path / ".zgroup").write_text("old")
    target.create()
    filled(target, "0")
    with pytest.raises(TargetError, match="is not replaced"):
        target.publish()
    target.publish(overwrite=True)
    assert (target.path / ".zgroup").read_text() == "{}" and not target.replaced.exists()


def test_what_is_no_store_is_never_replaced(target: FolderTarget) -> None:
    target.path.mkdir()
    (target.path / "letters").touch()
    with pytest.raises(TargetError, match="takes the place of a Zarr store only"):
        target.check(overwrite=True)
    target.partial.mkdir()
    (target.partial / "letters").touch()
    with pytest.raises(TargetError, match="no unfinished store"):
        target.create()
    assert (target.partial / "letters").exists()


def test_a_replaced_store_that_was_left_is_told(target: FolderTarget) -> None:
    target.replaced.mkdir()
    with pytest.raises(TargetError, match="still here"):
        target.check_place()


def test_another_folder_of_the_name_is_not_written_to(target: FolderTarget) -> None:
    target.create()
    lost = filled(target, "0")
    again = FolderTarget(target.path)
    again.lock = target.lock
    again.create()
    with pytest.raises(StorageError, match="writing a/b"):
        lost.write("a/b", [("1", b"late")])
    with pytest.raises(TargetError, match="replaced or removed"):
        target.check_ours()
    assert os.listdir(target.partial) == [".parnwb"]


def test_another_token_is_not_recognised(target: FolderTarget) -> None:
    target.create()
    with pytest.raises(TargetError, match="every rank must see"):
        target.recognise(b"another's")


def test_what_was_created_is_discarded(target: FolderTarget) -> None:
    target.create()
    filled(target, "0")
    target.discard()
    assert not target.partial.exists()
    target.partial.mkdir()
    target.discard()
    assert target.partial.exists(), "another job's"


def test_every_file_that_is_made_safe_is_told_and_each_folder_once(
    target: FolderTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    target.create()
    files = filled(target, *map(str, range(250)))
    files.write("a/b", [("last", b"1")])
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.readlink(f"/proc/self/fd/{descriptor}")))
    files.sync_some()
    assert files.unsafe == 152 and synced == [f"{target.partial}/a/b/{n}" for n in range(100)], "the oldest"
    told = list(files.syncing())
    assert files.unsafe == 0 and len(told) == 154 and told[0] == "a/b/100"
    assert len(synced) == len(set(synced)) == 254
    assert not list(files.syncing())


def test_a_failed_fsync_is_told(target: FolderTarget, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, "broken")

    target.create()
    files = filled(target, "0")
    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StorageError, match="fsync a/b/0 failed: broken"):
        files.sync()


def test_what_is_removed_or_measured_is_told_file_by_file(target: FolderTarget, tmp_path: Path) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/file").touch()
    told: list[str] = []

    def begun() -> None:
        target.create()
        filled(target, "0", "1", "2")
        (target.partial / "a/link").symlink_to(tmp_path / "kept")

    begun()
    target.publish()
    assert stored_bytes(target.path, told.append) == 17
    assert {f"measuring {target.path}/{name}" for name in (".zgroup", "a/b/0", "a/b/1", "a/b/2")} == set(told)
    target.step = told.append
    begun()
    begun()
    for place, clear in ((target.partial, target.discard), (target.replaced, lambda: target.publish(overwrite=True))):
        if not target.partial.exists():
            begun()
        told.clear()
        clear()
        expected = {f"removing {place}/{name}" for name in (".zgroup", "a", "a/link", "a/b", "a/b/0", "a/b/1", "a/b/2")}
        assert expected <= set(told) and not place.exists()
    assert (tmp_path / "kept/file").exists()


@pytest.mark.parametrize("mode", [0o700, 0o750, 0o777, 0o500])
def test_a_store_is_never_more_open_than_the_one_that_it_replaces(target: FolderTarget, mode: int) -> None:
    def mode_of(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    target.path.mkdir()
    (target.path / ".zgroup").write_text("old")
    target.path.chmod(mode)
    before = os.umask(0o022)
    try:
        target.create()
        filled(target, "0")
    finally:
        os.umask(before)
    assert mode_of(target.partial) == 0o700
    target.publish(overwrite=True)
    assert mode_of(target.path) == mode and (target.path / ".zgroup").read_text() == "{}"


def test_a_new_store_is_as_open_as_the_umask_says(target: FolderTarget) -> None:
    before = os.umask(0o027)
    try:
        target.create()
    finally:
        os.umask(before)
    target.publish()
    assert stat.S_IMODE(target.path.stat().st_mode) == 0o750


@pytest.mark.parametrize("broken", [1, 2])
def test_a_store_that_cannot_be_replaced_keeps_its_name(
    target: FolderTarget, monkeypatch: pytest.MonkeyPatch, broken: int
) -> None:
    target.path.mkdir()
    (target.path / ".zgroup").write_text("old")
    target.create()
    filled(target, "0")
    rename, left = os.rename, list(range(broken))

    def fail(source: Path, to: Path) -> None:
        if to == target.path and left:
            left.pop()
            raise OSError(errno.EIO, "broken")
        rename(source, to)

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(StorageError, match="could not be renamed: broken") as caught:
        target.publish(overwrite=True)
    assert target.partial.is_dir()
    if broken == 1:
        assert (target.path / ".zgroup").read_text() == "old" and not target.replaced.exists()
        target.check_place()
    else:
        assert f"the store that was there is {target.replaced} now" in str(caught.value)
