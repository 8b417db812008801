"""Memory: what limits this process and this host still leave, and whether the reads of all ranks fit into it."""

from __future__ import annotations

import ctypes
import os
import resource
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from parnwb.errors import PlanError
from parnwb.machine.kernel import boot, text

MiB = 1024 * 1024
SLACK = 64 * MiB
"""What a process may hold freed and use again, in bytes: the kernel does not count it as free."""

PROCESS = Path("/proc/self")
# By the type of file system: where the limit is, what is used, what of that other memory can be made from.
CGROUP_FILES = {
    "cgroup2": ("memory.max", "memory.current", ("inactive_file", "active_file", "slab_reclaimable")),
    "cgroup": ("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file")),
}


@dataclass(frozen=True)
class Room:
    """What one limit leaves.

    Parameters
    ----------
    rule
        Name of the limit.
    owner
        Equal for all processes that share it.
    free
        Bytes that may be taken still; file caches count as free.
    """

    rule: str
    owner: tuple[str | int, ...]
    free: int


@dataclass(frozen=True)
class Claim:
    """What one rank needs at least, in bytes, and the room that it finds."""

    needed: int
    rooms: tuple[Room, ...]


def check_fits(claims: Sequence[Claim]) -> None:
    """Refuse what cannot succeed: ranks that share a limit and together need more than it leaves. Independent.

    Parameters
    ----------
    claims
        Of all ranks, in their order.

    Raises
    ------
    PlanError
        Names the limit, what is needed and what there is.
    """
    for owner in dict.fromkeys(room.owner for claim in claims for room in claim.rooms):
        shares = [(claim.needed, room) for claim in claims for room in claim.rooms if room.owner == owner]
        needed, free = sum(share for share, _ in shares), max(room.free for _, room in shares)
        if needed > max(0, free) + SLACK * len(shares):
            raise PlanError(
                f"what ranks read at once must fit into memory: {len(shares)} of them need at least "
                f"{needed // MiB} MiB, {shares[0][1].rule} leaves {max(0, free) // MiB} MiB",
                where=str(owner[0]),
                remedy="Use a smaller buffer_mb, smaller chunks (thinner ones, where data come in order), "
                "or fewer ranks on a host; or raise the limit",
            )


def give_back() -> None:
    """Give freed memory back to the system, where malloc can. Independent; once for a file.

    What the threads of a rank have encoded is freed as chunks of many lengths, of which malloc keeps up to 64 MiB for
    each thread, also of those that have ended; this gives back what lies between things in use, and keeps the end. A
    simulation goes on for hours after its file is written. It takes less than a millisecond, but more where a program
    has left many small gaps: some 3 seconds for a million of them.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))


def rooms(process: Path = PROCESS) -> tuple[Room, ...]:
    """Return what every limit that is known leaves to this process. Independent; empty where /proc is not known."""
    host = (socket.gethostname(), boot())
    memory = _table(process.parent / "meminfo")
    swap = memory.get("SwapFree", 0)
    found = list(_process_rooms(process, host))
    if "MemAvailable" in memory:
        found.append(Room("the memory of this host (MemAvailable)", host, memory["MemAvailable"] + swap))
    found += [Room(rule, (*host, *owner), free + swap) for rule, owner, free in _cgroups(process)]
    return tuple(found)


def _process_rooms(process: Path, host: tuple[str, str]) -> Iterator[Room]:
    status = _table(process / "status")
    limits = (("RLIMIT_AS", "VmSize", "ulimit -v"), ("RLIMIT_DATA", "VmData", "ulimit -d"))
    for name, used, command in limits:
        limit, _ = resource.getrlimit(getattr(resource, name))
        if limit != resource.RLIM_INFINITY and used in status:
            yield Room(f"{name} ({command})", (*host, os.getpid(), name), limit - status[used])


def _cgroups(process: Path) -> Iterator[tuple[str, tuple[int, int], int]]:
    """Yield name, identity and free bytes of the memory cgroup of this process, and of all above it."""
    for kind, root, mount in _mounts(process):
        limit_file, usage_file, reclaimable = CGROUP_FILES[kind]
        for height, folder in enumerate(_upwards(mount, _path_within(process, kind, root))):
            if height > 0 and text(folder / "memory.use_hierarchy") == "0":
                continue  # its limit does not hold for cgroups below it
            limit, usage = text(folder / limit_file), text(folder / usage_file)
            if limit.isdigit() and usage.isdigit():  # "max" is no limit
                stat, kernel = _table(folder / "memory.stat"), text(folder / "memory.kmem.usage_in_bytes")
                cached = sum(stat.get(name, 0) for name in reclaimable) + (int(kernel) if kernel.isdigit() else 0)
                free = int(limit) - int(usage) + cached
                yield f"the cgroup limit ({folder / limit_file})", _identity(folder), free


def _mounts(process: Path) -> Iterator[tuple[str, str, Path]]:
    """Yield type, root and place of every file system with the cgroups that limit memory."""
    for line in text(process / "mountinfo").splitlines():
        before, _, after = line.partition(" - ")
        kind, *_, options = after.split()
        if kind == "cgroup2" or (kind == "cgroup" and "memory" in options.split(",")):
            root, mount = before.split()[3:5]
            yield kind, root, Path(mount)


def _path_within(process: Path, kind: str, root: str) -> str:
    """Return the path of this process's cgroup below the root that is mounted; empty if it is not below it."""
    for line in text(process / "cgroup").splitlines():
        number, controllers, path = line.split(":", 2)
        if (kind == "cgroup2" and number == "0") or (kind == "cgroup" and "memory" in controllers.split(",")):
            inside = os.path.relpath(path, root)
            return "" if inside.startswith("..") else inside
    return ""


def _upwards(mount: Path, path: str) -> Iterator[Path]:
    folder = mount / path if (mount / path).is_dir() else mount
    while folder != mount:
        yield folder
        folder = folder.parent
    yield mount


def _identity(folder: Path) -> tuple[int, int]:
    try:
        status = folder.stat()
    except OSError:
        return 0, 0
    return status.st_dev, status.st_ino


def _table(path: Path) -> dict[str, int]:
    """Return the numbers of a file of names and numbers, in bytes where it says kB."""
    found = {}
    for fields in (line.replace(":", " ").split() for line in text(path).splitlines()):
        if len(fields) >= 2 and fields[1].isdigit():
            found[fields[0]] = int(fields[1]) * (1024 if fields[-1] == "kB" else 1)
    return found
