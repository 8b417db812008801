"""Striping, with an ``lfs`` that is a shell script: no test has run on Lustre."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from failure.resuming import Stop, commits_every, committed_in, session, stopped_at, write

from parnwb import NWBParallelIO
from parnwb.comm import Ranks
from parnwb.commits.generation import renew
from parnwb.machine import storage, striping
from parnwb.machine.striping import Striping, advised_stripes, create_striped, striping_for, striping_of
from parnwb.target import Target
from parnwb.target.permissions import Permissions, create_file
from parnwb.target.process import Process

GB = 10**9


@pytest.fixture
def lfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a program on the path that answers as Lustre's does, and return the folder with what it is told."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "lfs").write_text(f"""#!/bin/sh
echo "$@" >> {tmp_path}/told
case $1 in
    getstripe) echo "stripe_count:  $(cat {tmp_path}/count) stripe_size:   1048576 pattern: 0 stripe_offset: -1" ;;
    setstripe) for last; do :; done; : > "$last" ;;
esac
""")
    (programs / "lfs").chmod(0o755)
    (tmp_path / "count").write_text("1")
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return tmp_path


@pytest.mark.parametrize(
    ("nbytes", "hosts", "stripes"),
    [(GB // 2, 8, 1), (100 * GB, 1, 2), (100 * GB, 8, 16), (5 * GB, 8, 5), (10**15, 500, 64)],
)
def test_advice_follows_from_bytes_and_hosts(nbytes: int, hosts: int, stripes: int) -> None:
    assert advised_stripes(nbytes, hosts) == stripes


def test_it_is_read(lfs: Path) -> None:
    assert striping_of(lfs) == Striping(1, 1048576)


def test_what_a_user_has_set_counts(lfs: Path) -> None:
    assert striping_for(lfs, 100 * GB, 4) == Striping(8)
    assert striping_for(lfs, GB, 4) is None
    for count in ("4", "-1"):
        (lfs / "count").write_text(count)
        assert striping_for(lfs, 100 * GB, 4) is None


def test_without_lfs_nothing_is_known_or_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert striping_of(tmp_path) is None and striping_for(tmp_path, 100 * GB, 4) is None
    assert not create_striped(tmp_path / "file", Striping(8))
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_created_that_nobody_else_can_open(lfs: Path) -> None:
    assert create_striped(lfs / "file", Striping(8))
    assert "setstripe --stripe-count 8 --stripe-size 4194304" in (lfs / "told").read_text()
    assert stat.S_IMODE((lfs / "file").stat().st_mode) == 0o600


def test_a_name_that_is_taken_is_not_touched(lfs: Path) -> None:
    (lfs / "file").write_text("mine")
    (lfs / "link").symlink_to(lfs / "file")
    for name in ("file", "link"):
        assert not create_striped(lfs / name, Striping(8))
    assert (lfs / "file").read_text() == "mine" and not (lfs / "told").exists()


def test_the_partial_file_is_spread_and_has_the_usual_permissions(lfs: Path) -> None:
    plain = create_file(lfs / "plain", None)
    target = Target(lfs / "out.nwb")
    token = target.create(Striping(8))
    assert target.partial.read_bytes() == token
    assert stat.S_IMODE(target.partial.stat().st_mode) == stat.S_IMODE(os.fstat(plain).st_mode)
    os.close(plain)
    assert "--stripe-count 8" in (lfs / "told").read_text()


def test_a_file_that_is_replaced_keeps_its_permissions(lfs: Path) -> None:
    target = Target(lfs / "out.nwb")
    target.path.touch()
    target.path.chmod(0o640)
    target.create(Striping(8))
    assert stat.S_IMODE(target.partial.stat().st_mode) == 0o640
    assert Permissions.of(target.path) is not None


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("kind", "spread"), [("lustre", True), ("ext4", False)])
def test_a_new_file_is_spread_before_it_is_filled(
    lfs: Path, monkeypatch: pytest.MonkeyPatch, kind: str, spread: bool
) -> None:
    """On Lustre alone, over as many servers as one host fills; a server is worth it from a byte on here."""
    monkeypatch.setattr(storage, "file_system", lambda folder: kind)
    monkeypatch.setattr(striping, "GB", 1)
    with NWBParallelIO(lfs / "out.nwb", "w", progress=False) as io:
        io.write(session(1, movie=False))
    told = (lfs / "told").read_text().splitlines() if (lfs / "told").exists() else []
    asked = f"getstripe -d --stripe-count --stripe-size {lfs}"
    assert told == [asked, f"setstripe --stripe-count 2 --stripe-size 4194304 {lfs}/out.nwb.partial"] * spread
    assert (lfs / "out.nwb").stat().st_size > 0


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("kind", "spread"), [("lustre", True), ("ext4", False)])
def test_a_new_generation_is_spread_as_the_old(
    lfs: Path, monkeypatch: pytest.MonkeyPatch, kind: str, spread: bool
) -> None:
    """Of a file that a lost job may still write to; its folder may not be spread."""
    monkeypatch.setattr(storage, "file_system", lambda folder: kind)
    (lfs / "count").write_text("6")
    target = Target(lfs / "out.nwb")
    with commits_every(2), stopped_at(3), pytest.raises(Stop):
        write(target.path, session(), "w", commit_interval=1)
    (lfs / "told").unlink(missing_ok=True)
    target.reserve([Process.this()])
    renew(Ranks(), target, committed_in(target.path))
    target.lock.release()
    told = (lfs / "told").read_text().splitlines() if (lfs / "told").exists() else []
    asked = f"getstripe -d --stripe-count --stripe-size {target.partial}"
    assert told == [asked, f"setstripe --stripe-count 6 --stripe-size 1048576 {target.next_partial}"] * spread
