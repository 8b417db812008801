"""``Space``: what the file system and the quotas of a user leave for a file, as far as they tell.

Quotas for projects (directories) show in the free space of their folders on ext4, XFS and others. Those of users and
groups are asked of the kernel. Of network file systems the kernel does not know them: of Lustre its command lfs is
asked, of NFS the command quota, which asks the server; those of GPFS are not asked for.
"""

from __future__ import annotations

import ctypes
import os
import re
import stat
import struct
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from parnwb.machine.storage import file_system

QUOTACTL_FD = 443  # the number of the system call, the same on all machines; since Linux 5.14
GET_QUOTA, GET_STATE = 0x800007, (ord("X") << 8) + 5
# Hard and soft limit (KiB), bytes used, three numbers of inodes, end of the soft limit's grace, another time, validity.
QUOTA = struct.Struct("=8QI4x")
STATE = struct.Struct("=bxH")  # the beginning of the answer: version, flags
ANSWER_BYTES = 256
COMMANDS = {
    "lustre": ("lfs", "quota", "-q", "{kind}", "{owner}", "{folder}"),
    "nfs": ("quota", "-w", "-v", "{kind}", "-f", "{folder}"),
}
COMMAND_SECONDS = 10
QUOTA_LINE = re.compile(r"^\s*(?:\S*[/:]\S*\s+)?(?P<used>\d+)\*?\s+(?P<soft>\d+)\s+(?P<hard>\d+)\s+(?P<grace>\S+)")
CAP_SYS_RESOURCE = 24  # of the kernel's capabilities: exempt from quotas


@dataclass(frozen=True)
class Space:
    """What one rule leaves.

    Parameters
    ----------
    rule
        What grants it, as the subject of a sentence.
    free
        Bytes that may be written still.
    """

    rule: str
    free: int


def space_left(folder: Path) -> Space:
    """Return the least that any known rule leaves for new files in a folder. Independent."""
    info = os.statvfs(folder)
    return min(
        [Space("the file system", info.f_bavail * info.f_frsize), *_quotas(folder), *told_by_command(folder)],
        key=lambda space: space.free,
    )


def told_by_command(folder: Path) -> Iterator[Space]:
    """Yield what quotas of a network file system leave, where it has a command that tells. Independent."""
    command = COMMANDS.get(file_system(folder).removesuffix("4"))
    if command is None or _is_exempt():
        return
    for kind, name, owner in (("-u", "user", os.geteuid()), ("-g", "group", os.getegid())):
        argv = [word.format(kind=kind, owner=owner, folder=os.path.realpath(folder)) for word in command]
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return
        free = command_left(done.stdout)
        if free is not None:
            yield Space(f"the quota of {name} {owner}", free)


def command_left(printed: str) -> int | None:
    """Return the bytes that a quota leaves, as a command prints it; None without a limit. Independent.

    ``lfs quota -q`` and ``quota -w`` both print a line of used, soft and hard limit in KiB, after the file system's
    name. ``*`` marks what is exceeded, and the grace after it is ``none`` or ``expired`` where it is over.
    """
    for line in printed.splitlines():
        found = QUOTA_LINE.search(line)
        if found is None:
            continue
        used, soft, hard = (int(found[name]) for name in ("used", "soft", "hard"))
        if soft and used > soft and found["grace"] in ("none", "expired"):
            return 0
        return max(0, hard - used) * 1024 if hard else None
    return None


def _quotas(folder: Path) -> Iterator[Space]:
    """Yield what the quotas of this process's user and group leave, where they are enforced."""
    if _is_exempt():
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # a folder that may be written to but not be read
        return
    try:
        status = os.fstat(descriptor)
        group = status.st_gid if status.st_mode & stat.S_ISGID else os.getegid()
        for kind, (name, owner) in enumerate((("user", os.geteuid()), ("group", group))):
            answer = _ask(descriptor, GET_QUOTA, kind, owner)
            if answer is not None and _is_enforced(descriptor, kind):
                free = quota_left(answer, time.time())
                if free is not None:
                    yield Space(f"the quota of {name} {owner}", free)
    finally:
        os.close(descriptor)


def quota_left(answer: bytes, now: float) -> int | None:
    """Return the bytes that a quota leaves, as the kernel tells it; None if there is no limit. Independent.

    A soft limit counts when it was exceeded for longer than its grace: from then on the kernel refuses every byte.
    """
    hard, soft, used, _, _, _, grace_ends, _, _ = QUOTA.unpack_from(answer)
    if soft and used > 1024 * soft and 0 < grace_ends <= now:
        return 0
    return max(0, 1024 * hard - used) if hard else None


def _is_enforced(descriptor: int, kind: int) -> bool:
    """Tell whether a limit holds, or is only kept account of. What does not tell is taken to hold."""
    answer = _ask(descriptor, GET_STATE, kind, 0)
    return answer is None or bool(STATE.unpack_from(answer)[1] & 2 << 2 * kind)


def _ask(descriptor: int, command: int, kind: int, owner: int) -> bytes | None:
    """Ask the kernel about quotas on a folder's file system; None where it does not answer."""
    answer = ctypes.create_string_buffer(ANSWER_BYTES)
    call = ctypes.CDLL(None, use_errno=True).syscall
    numbers = (QUOTACTL_FD, descriptor, command << 8 | kind, owner)
    return answer.raw if call(*map(ctypes.c_long, numbers), answer) == 0 else None


def _is_exempt() -> bool:
    """Tell whether the kernel lets this process exceed quotas, as it lets root."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return any(bool(int(line.split()[1], 16) >> CAP_SYS_RESOURCE & 1) for line in lines if line[:7] == "CapEff:")
    except OSError:
        return False
