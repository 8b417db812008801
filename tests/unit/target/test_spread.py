"""The names of a file and its parts: whatever ends a job, no file has its name whose parts have not theirs."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import pytest

from parnwb.errors import StorageError, TargetError
from parnwb.target import Permissions, Process, SpreadTarget, spread


def parts_of(path: Path) -> list[Path]:
    """Return the parts that the text of a file names, where the real ones are HDF5."""
    try:
        return [path.parent / name for name in path.read_text().split()]
    except (OSError, UnicodeDecodeError):
        return []


def begun(path: Path, local: Path | None = None) -> SpreadTarget:
    target = SpreadTarget(path, parts_of, local)
    target.reserve([Process.this()])
    target.create()
    return target


def write(target: SpreadTarget, ranks: int = 2) -> None:
    for rank in range(ranks):
        part = target.part(rank, Permissions.of(target.path))
        part.create()
        part.working.write_text(f"{target.parts.name} of rank {rank}")
        part.bring(lambda step: None)
        part.close()
    target.partial.write_text(" ".join(f"{target.parts.name}/{rank:04d}.h5" for rank in range(ranks)))


def made(path: Path, *, overwrite: bool = False) -> SpreadTarget:
    target = begun(path)
    write(target)
    target.publish(overwrite=overwrite)
    target.lock.release()
    return target


def is_whole(path: Path) -> bool:
    """Tell whether a file has all of its parts, each its own."""
    return bool(parts_of(path)) and all(
        part.is_file() and part.read_text() == f"{part.parent.name} of rank {int(part.stem)}" for part in parts_of(path)
    )


def names(folder: Path) -> list[str]:
    return sorted(item.name for item in folder.iterdir())


def test_parts_have_their_names_with_the_file(tmp_path: Path) -> None:
    made(tmp_path / "out.nwb")
    assert names(tmp_path) == ["out.nwb", "out.nwb.parts"]
    assert is_whole(tmp_path / "out.nwb")


def test_without_parts_there_is_no_folder(tmp_path: Path) -> None:
    target = begun(tmp_path / "out.nwb")
    target.publish()
    target.lock.release()
    assert names(tmp_path) == ["out.nwb"]


def test_a_file_that_is_replaced_is_whole_until_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.nwb"
    made(path)
    replace, seen = os.replace, []

    def look(source: Path, destination: Path) -> None:
        seen.append(is_whole(path))
        replace(source, destination)
        seen.append(is_whole(path))

    monkeypatch.setattr(os, "replace", look)
    made(path, overwrite=True)
    assert seen == [True, True]
    assert is_whole(path)
    assert names(tmp_path) == ["out.nwb", "out.nwb.parts.2"]
    made(path, overwrite=True)
    assert names(tmp_path) == ["out.nwb", "out.nwb.parts"]


def test_parts_of_another_file_are_never_touched(tmp_path: Path) -> None:
    """Somebody has given the first file another name: its parts are where they were."""
    made(tmp_path / "out.nwb")
    (tmp_path / "out.nwb").rename(tmp_path / "kept.nwb")
    made(tmp_path / "out.nwb")
    made(tmp_path / "out.nwb", overwrite=True)
    assert is_whole(tmp_path / "kept.nwb") and is_whole(tmp_path / "out.nwb")


def test_what_is_no_part_stays(tmp_path: Path) -> None:
    made(tmp_path / "out.nwb")
    (tmp_path / "out.nwb.parts" / "notes.txt").write_text("mine")
    made(tmp_path / "out.nwb", overwrite=True)
    assert names(tmp_path / "out.nwb.parts") == ["notes.txt"]


def test_a_link_in_the_place_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "0000.h5").write_text("mine")
    (tmp_path / "out.nwb.partial.parts").symlink_to("elsewhere")
    with pytest.raises(TargetError, match="folder of the parts cannot be created"):
        begun(tmp_path / "out.nwb")
    assert (tmp_path / "elsewhere" / "0000.h5").read_text() == "mine"


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("last", ["parts", "master", "fsync"])
def test_a_job_may_end_between_any_two_renames(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: str, old: bool
) -> None:
    """``last`` is the call that is never made; the next job finds nothing that is half a file, and leaves nothing."""
    path = tmp_path / "out.nwb"
    if old:
        made(path)

    class Killed(BaseException):
        pass

    def killed(*arguments: object) -> None:
        raise Killed

    target = begun(path)
    write(target)
    with monkeypatch.context() as patch:
        if last == "fsync":
            patch.setattr(spread, "sync_folder", killed)
        else:
            patch.setattr(os, "rename" if last == "parts" else "replace", killed)
        with pytest.raises(Killed):
            target.publish(overwrite=True)
    target.lock.release()
    assert is_whole(path) if old else not path.exists()
    made(path, overwrite=old)
    assert is_whole(path)
    assert [name for name in names(tmp_path) if name.startswith("out.nwb.parts")] == [parts_of(path)[0].parent.name]
    assert not [name for name in names(tmp_path) if "partial" in name]


def test_a_job_that_fails_leaves_nothing(tmp_path: Path) -> None:
    target = begun(tmp_path / "out.nwb")
    write(target)
    target.discard()
    target.lock.release()
    assert names(tmp_path) == []


def test_a_file_that_appears_meanwhile_stays(tmp_path: Path) -> None:
    target = begun(tmp_path / "out.nwb")
    write(target)
    (tmp_path / "out.nwb").write_text("another")
    with pytest.raises(TargetError, match="has appeared"):
        target.publish()
    assert (tmp_path / "out.nwb").read_text() == "another"
    assert "out.nwb.parts" not in names(tmp_path)


def test_a_folder_that_appears_meanwhile_stays(tmp_path: Path) -> None:
    target = begun(tmp_path / "out.nwb")
    write(target)
    (tmp_path / "out.nwb.parts").mkdir()
    (tmp_path / "out.nwb.parts" / "0000.h5").write_text("another")
    with pytest.raises(StorageError, match=re.escape("rename it to out.nwb.parts, then out.nwb.partial to out.nwb")):
        target.publish()
    assert (tmp_path / "out.nwb.parts" / "0000.h5").read_text() == "another"
    assert not (tmp_path / "out.nwb").exists()


def test_parts_are_no_more_open_than_the_file_that_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out.nwb"
    path.write_text("private")
    path.chmod(0o640)
    target = made(path, overwrite=True)
    modes = [stat.S_IMODE(os.stat(name).st_mode) for name in (path, target.parts, *parts_of(path))]
    assert modes == [0o640, 0o750, 0o640, 0o640]


# -- a job that has lost its lock ----------------------------------------------------------------------------


@pytest.mark.parametrize("is_local", [False, True])
def test_a_part_of_the_job_that_took_the_output_stays(tmp_path: Path, is_local: bool) -> None:
    """Both jobs have the same paths, and the older one only now learns that it is not alone."""
    local = tmp_path / "local" if is_local else None
    if local is not None:
        local.mkdir()
    old = begun(tmp_path / "out.nwb", local)
    lost = old.part(0)
    lost.create().write_at([b"old"], 0)
    new = SpreadTarget(tmp_path / "out.nwb", parts_of, local)
    new.create()
    part = new.part(0)
    part.create().write_at([b"new"], 0)
    lost.remove()
    with pytest.raises(TargetError, match="part was replaced or removed by another program.*0000.h5 on host"):
        lost.bring(lambda step: None)
    lost.close()
    lost.remove()
    assert part.working.read_bytes() == b"new"
    part.bring(lambda step: None)
    part.close()
    assert part.partial.read_bytes() == b"new"
    old.lock.release()


def test_a_part_that_another_host_has_brought_stays(tmp_path: Path) -> None:
    """The folders in which the ranks of the two jobs write are not the same, the one to which parts are moved is."""
    hosts = [tmp_path / "first", tmp_path / "second"]
    for host in hosts:
        host.mkdir()
    old = begun(tmp_path / "out.nwb", hosts[0])
    lost = old.part(0)
    lost.create().write_at([b"old"], 0)
    new = SpreadTarget(tmp_path / "out.nwb", parts_of, hosts[1])
    new.create()
    part = new.part(0)
    part.create().write_at([b"new"], 0)
    part.bring(lambda step: None)
    with pytest.raises(TargetError, match="replaced or removed by another program"):
        lost.bring(lambda step: None)
    assert part.partial.read_bytes() == b"new"
    for each in (lost, part):
        each.close()
    old.lock.release()


# -- node-local folders --------------------------------------------------------------------------------------


def test_parts_are_moved_from_a_local_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spread, "PIECE_BYTES", 5)
    local = tmp_path / "local"
    local.mkdir()
    target = begun(tmp_path / "out.nwb", local)
    part, steps = target.part(3), []
    part.create()
    assert part.working.parent == local
    part.working.write_bytes(bytes(range(23)))
    part.bring(steps.append)
    assert (target.partial_parts / "0003.h5").read_bytes() == bytes(range(23))
    assert names(local) == [] and len(steps) == 5
    part.close()


def test_two_outputs_of_one_name_have_their_own_local_parts(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b", "local")]
    for folder in folders:
        folder.mkdir()
    parts = [SpreadTarget(folder / "out.nwb", parts_of, folders[2]).part(0).working for folder in folders[:2]]
    assert parts[0] != parts[1]
    parts[0].write_text("left by a job that was killed")
    SpreadTarget(folders[0] / "out.nwb", parts_of, folders[2]).part(0).create().close()
    assert parts[0].read_bytes() == b""


def test_a_local_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    target = SpreadTarget(tmp_path / "out.nwb", parts_of, tmp_path / "gone")
    with pytest.raises(TargetError, match="must exist on every host.*gone on host"):
        target.part(0)
