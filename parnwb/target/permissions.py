"""``Permissions``: new files that are never more open than the one whose place they take."""

from __future__ import annotations

import contextlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from parnwb.machine.striping import Striping, create_striped

OWNER_READS_AND_WRITES = 0o600


@dataclass(frozen=True)
class Permissions:
    """Who may do what with a file.

    Parameters
    ----------
    mode
        Permission bits.
    group
        Number of its group.
    """

    mode: int
    group: int

    @classmethod
    def of(cls, path: Path) -> Permissions | None:
        """Return those of a file, behind a link if ``path`` is one; None if there is none. Independent."""
        try:
            status = path.stat()
        except OSError:
            return None
        return cls(stat.S_IMODE(status.st_mode) & 0o777, status.st_gid)

    def give(self, descriptor: int, *, also: int = 0) -> None:
        """Give an open file these permissions, and ``also`` some bits. Independent.

        Where the group cannot be kept, the group's rights are cut to those of everybody: they were not another's.
        """
        mode = self.mode
        if os.fstat(descriptor).st_gid != self.group:
            try:
                os.fchown(descriptor, -1, self.group)
            except OSError:
                mode &= 0o707 | (mode & 0o007) << 3
        with contextlib.suppress(OSError):  # some file systems have one mode for all files
            os.fchmod(descriptor, mode | also)


def create_file(path: Path, like: Permissions | None, striping: Striping | None = None) -> int:
    """Create a file, whose name nothing may have, not even a link, and return its descriptor. Independent.

    Parameters
    ----------
    like
        What the file is given from the beginning, its owner's right to write beside; None leaves it to the umask.
    striping
        On Lustre, how it is spread over storage servers, which can be said only when a file is created.
    """
    first = 0o666 if like is None else OWNER_READS_AND_WRITES
    if striping is not None and create_striped(path, striping):
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        if like is None:
            os.fchmod(descriptor, first & ~_umask())
    else:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, first)
    if like is not None:
        like.give(descriptor, also=OWNER_READS_AND_WRITES)
    return descriptor


def _umask() -> int:
    """Return the permissions that new files of this process do not have; as Linux tells it, without changing it."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(next(line for line in status.splitlines() if line.startswith("Umask:")).split()[1], 8)
    except (OSError, StopIteration):
        return 0o077
