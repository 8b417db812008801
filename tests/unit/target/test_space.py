"""What a file system and quotas leave, and what is refused by it."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from failure.mounts import disk

from parnwb.target import space
from parnwb.target.space import QUOTA, QUOTACTL_FD, Space, command_left, quota_left, space_left, told_by_command

NOW = 1_000_000.0
SET_QUOTA = 0x800008
OWNER = 12345
LIMITS_VALID = 1


def quota(hard: int = 0, soft: int = 0, used: int = 0, grace_ends: int = 0) -> bytes:
    """Return a quota as the kernel tells it: limits in KiB, what is used in bytes."""
    return QUOTA.pack(hard, soft, used, 0, 0, 0, grace_ends, 0, 0)


@pytest.mark.parametrize(
    ("told", "left"),
    [
        (quota(), None),
        (quota(used=10**9), None),
        (quota(hard=100), 100 * 1024),
        (quota(hard=100, used=1000), 100 * 1024 - 1000),
        (quota(hard=100, used=200 * 1024), 0),  # the limit was lowered
        (quota(soft=100, used=200 * 1024, grace_ends=int(NOW) + 1), None),
        (quota(hard=300, soft=100, used=200 * 1024, grace_ends=int(NOW) + 1), 100 * 1024),
        (quota(hard=300, soft=100, used=200 * 1024, grace_ends=int(NOW)), 0),
        (quota(hard=300, soft=100, used=50 * 1024, grace_ends=5), 250 * 1024),
        (quota(hard=1 << 40), 1 << 50),
    ],
)
def test_what_a_quota_leaves(told: bytes, left: int | None) -> None:
    assert len(told) == 72
    assert quota_left(told + bytes(100), NOW) == left


@pytest.mark.parametrize(("flags", "left"), [(0b0010, 5120), (0b0001, None), (0b1000, None)])
def test_a_limit_counts_where_it_is_enforced(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: int, left: int | None
) -> None:
    """The bits of users' and groups' quotas lie beside each other; here only users have one."""
    answers = {(space.GET_QUOTA, 0): quota(hard=5), (space.GET_STATE, 0): space.STATE.pack(1, flags)}
    monkeypatch.setattr(space, "_ask", lambda descriptor, command, kind, owner: answers.get((command, kind)))
    monkeypatch.setattr(space, "_is_exempt", lambda: False)
    found = space_left(tmp_path)
    if left is None:
        assert found.rule == "the file system"
    else:
        assert found == Space(f"the quota of user {os.geteuid()}", left)


def test_without_quotas_the_file_system_tells(tmp_path: Path) -> None:
    info = os.statvfs(tmp_path)
    found = space_left(tmp_path)
    assert found.rule == "the file system"
    assert abs(found.free - info.f_bavail * info.f_frsize) < 2**30  # others write meanwhile


# -- a real quota ------------------------------------------------------------------------------------------------


@pytest.fixture
def quotas() -> Iterator[Path]:
    """A file system with room, of which one user and group may have 2 MiB each."""
    with disk(quotas=True) as made:
        if made is None:
            pytest.skip("mounting ext4 with quotas needs root and a kernel with CONFIG_QFMT_V2")
        made.folder.parent.chmod(0o755)
        made.folder.chmod(0o777)
        yield made.folder


def limit(folder: Path, kind: int, kibibytes: int) -> None:
    """Set the hard limit of the owner, as setquota does."""
    descriptor = os.open(folder, os.O_RDONLY)
    limits = QUOTA.pack(kibibytes, 0, 0, 0, 0, 0, 0, 0, LIMITS_VALID)
    numbers = (QUOTACTL_FD, descriptor, SET_QUOTA << 8 | kind, OWNER)
    assert ctypes.CDLL(None, use_errno=True).syscall(*map(ctypes.c_long, numbers), limits) == 0
    os.close(descriptor)


def as_owner(folder: Path, program: str) -> str:
    """Run a program that is not root, which no quota binds; return what it printed last."""
    argv = [sys.executable, "-c", BECOME + program, str(folder)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    return (done.stdout + done.stderr).strip().splitlines()[-1]


BECOME = (
    "import os, sys\nfrom pathlib import Path\nfrom parnwb.target import Target\nfolder = sys.argv[1]\n"
    f"os.setgid({OWNER}); os.setgroups([]); os.setuid({OWNER})\n"
)
REQUIRE = "Target(Path(folder) / 'out.nwb').require_space({nbytes}); print('fits')"
WRITE = "print(os.write(os.open(folder + '/' + str(os.getpid()), os.O_WRONLY | os.O_CREAT), bytes({nbytes})))"


@pytest.mark.parametrize(("kind", "name"), [(0, "user"), (1, "group")])
def test_a_real_quota_is_known_beforehand(quotas: Path, kind: int, name: str) -> None:
    limit(quotas, kind, 2048)
    assert as_owner(quotas, WRITE.format(nbytes=2**20)) == str(2**20)
    assert as_owner(quotas, REQUIRE.format(nbytes=2**20 - 65536)) == "fits"
    said = as_owner(quotas, REQUIRE.format(nbytes=2**20 + 65536))
    assert f"needs at least {2**20 + 65536} bytes, the quota of {name} {OWNER} has" in said
    assert as_owner(quotas, WRITE.format(nbytes=2**20 + 65536)) != str(2**20 + 65536)  # the kernel says so, too


def test_no_quota_binds_root(quotas: Path) -> None:
    limit(quotas, 0, 1)
    assert space_left(quotas).rule == "the file system"


# -- what commands print --------------------------------------------------------------------------------------

HEADER = "Disk quotas for user lab (uid 1000): \n Filesystem  blocks  quota  limit  grace  files  quota  limit  grace\n"


@pytest.mark.parametrize(
    ("printed", "left"),
    [
        ("     /lustre     100       0     400       -       3       0       0       -\n", 300 * 1024),
        ("     /lustre     100       0       0       -       3       0       0       -\n", None),
        ("/lustre/with/a/long/name\n       100     200     400       -       3       0       0       -\n", 300 * 1024),
        ("     /lustre     300*    200     400   6d23h       3       0       0       -\n", 100 * 1024),
        ("     /lustre     300*    200     400    none       3       0       0       -\n", 0),
        ("     /lustre     300*    200     400 expired       3       0       0       -\n", 0),
        (HEADER + " server:/home     100     200     400           3     0     0\n", 300 * 1024),
        (HEADER + " 10.0.0.1:/x      300*    200     400    none   3     0     0\n", 0),
        ("Disk quotas for user lab (uid 1000): none\n", None),
        ("", None),
    ],
)
def test_what_a_command_says_is_left(printed: str, left: int | None) -> None:
    assert command_left(printed) == left


@pytest.mark.parametrize(("kind", "program"), [("lustre", "lfs"), ("nfs4", "quota")])
def test_a_network_file_system_is_asked_by_its_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, program: str
) -> None:
    """A stand-in prints what the command of that name does, for the group only."""
    tool = tmp_path / program
    tool.write_text('#!/bin/sh\ncase " $* " in *" -g "*) echo "  /there  100  0  164  -  1  0  0  -";; esac\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(space, "file_system", lambda folder: kind)
    monkeypatch.setattr(space, "_is_exempt", lambda: False)
    assert list(told_by_command(tmp_path)) == [Space(f"the quota of group {os.getegid()}", 64 * 1024)]
    assert space_left(tmp_path).free == 64 * 1024
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert list(told_by_command(tmp_path)) == []
