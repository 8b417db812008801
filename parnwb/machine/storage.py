"""File systems: which one holds a folder, and who may write one file on it. Nothing here knows of MPI or HDF5."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from parnwb.errors import LaunchError, PlanError


class Sharing(Enum):
    """How several hosts may write one file."""

    PARALLEL = "all ranks of all hosts write"
    ROOT = "with several hosts the root writes for all: clients cache a file's pages apart from each other"
    DOUBTFUL = (
        "with several hosts the root writes for all: it is not known how clients cache a file's pages; "
        "--writers-per-node lets ranks of all hosts write"
    )
    LOCAL = "one host only: it is not shared"
    UNKNOWN = "all ranks write: nothing is known of it"


@dataclass(frozen=True)
class Kind:
    """A kind of file system.

    Parameters
    ----------
    name
        For people.
    sharing
        Who may write one file.
    """

    name: str
    sharing: Sharing


LUSTRE = Kind("Lustre", Sharing.PARALLEL)
NFS, _SMB = Kind("NFS", Sharing.ROOT), Kind("SMB", Sharing.ROOT)
# By the type that the kernel names. What clients cache is from each one's documentation; tests had local
# ones only, and a program that caches pages as they may.
KINDS = {
    "lustre": LUSTRE,
    "gpfs": Kind("Spectrum Scale (GPFS)", Sharing.PARALLEL),
    "beegfs": Kind("BeeGFS", Sharing.PARALLEL),
    "ceph": Kind("CephFS", Sharing.PARALLEL),
    "fuse.ceph": Kind("CephFS", Sharing.PARALLEL),
    "fuse.ceph-fuse": Kind("CephFS", Sharing.PARALLEL),
    "wekafs": Kind("WekaFS", Sharing.PARALLEL),
    "panfs": Kind("PanFS", Sharing.PARALLEL),
    "pvfs2": Kind("OrangeFS", Sharing.PARALLEL),
    "nfs": NFS,
    "nfs4": NFS,
    "cifs": _SMB,
    "smb3": _SMB,
    "9p": Kind("9p", Sharing.ROOT),
    "afs": Kind("AFS", Sharing.ROOT),
    "fuse.sshfs": Kind("sshfs", Sharing.ROOT),
    "fuse.glusterfs": Kind("GlusterFS", Sharing.ROOT),
    "fuse.s3fs": Kind("s3fs", Sharing.ROOT),
    "fuse.rclone": Kind("rclone", Sharing.ROOT),
    "ext2": Kind("ext2", Sharing.LOCAL),
    "ext3": Kind("ext3", Sharing.LOCAL),
    "ext4": Kind("ext4", Sharing.LOCAL),
    "xfs": Kind("XFS", Sharing.LOCAL),
    "btrfs": Kind("Btrfs", Sharing.LOCAL),
    "zfs": Kind("ZFS", Sharing.LOCAL),
    "tmpfs": Kind("tmpfs", Sharing.LOCAL),
    "ramfs": Kind("ramfs", Sharing.LOCAL),
    "overlay": Kind("overlay", Sharing.LOCAL),
}


def kind_of(kernel_name: str) -> Kind:
    """Return the kind of a file system, by the type that the kernel names. Independent.

    Behind FUSE is any program, and most that users can mount keep pages, or whole files, for each client.
    """
    doubtful = kernel_name.startswith("fuse")
    return KINDS.get(kernel_name, Kind(kernel_name, Sharing.DOUBTFUL if doubtful else Sharing.UNKNOWN))


def file_system(folder: Path) -> str:
    """Return the type of the file system that holds ``folder``, as the kernel names it. Independent."""
    real = os.path.realpath(folder)
    best, kind = "", "unknown"
    try:
        lines = os.fsdecode(Path("/proc/self/mounts").read_bytes()).split("\n")
    except OSError:
        return kind
    for fields in (line.split(" ") for line in lines if line):
        mount = re.sub(r"\\([0-7]{3})", lambda digits: chr(int(digits[1], 8)), fields[1])
        inside = real == mount or real.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, fields[2]
    return kind


@dataclass(frozen=True)
class Client:
    """Through what a rank sees a folder. Ranks of one client have one cache of a file's pages.

    Parameters
    ----------
    host
        Told apart from others of the same name.
    kernel_name
        Type of the file system.
    device
        Number by which the kernel knows what is mounted there. A folder that a container was given has the host's
        number; what a container has mounted by itself, such as sshfs, has another one and caches pages apart.
    """

    host: str
    kernel_name: str
    device: int

    @classmethod
    def of(cls, host: str, folder: Path) -> Client:
        """Return through what this process sees ``folder``. Independent."""
        try:
            device = folder.stat().st_dev
        except OSError:
            device = 0  # whoever does not see the folder is refused when the file is begun
        return cls(host, file_system(folder), device)


@dataclass(frozen=True)
class Writers:
    """Which ranks write to the file, and for whom.

    Parameters
    ----------
    of
        For each rank, the one that writes its bytes.
    reason
        In words, for the report; empty where every rank writes its own.
    """

    of: tuple[int, ...]
    reason: str = ""

    @classmethod
    def each(cls, ranks: int) -> Writers:
        """Return that every rank writes its own bytes. Independent."""
        return cls(tuple(range(ranks)))

    @property
    def root_alone(self) -> bool:
        """Whether the root writes for all others."""
        return len(self.of) > 1 and set(self.of) == {0}

    def served_by(self, rank: int) -> bool:
        """Tell whether a rank writes for others."""
        return any(writer == rank != other for other, writer in enumerate(self.of))


def check_writers_per_node(given: object) -> None:
    """Refuse what is no number of writers. Independent.

    Raises
    ------
    PlanError
        It is neither None nor a number from 0 on.
    """
    if given is not None and (not isinstance(given, int) or isinstance(given, bool) or given < 0):
        raise PlanError(
            f"writers_per_node must be a number of ranks, 0 for the root alone, or None, got {given!r}",
            remedy="Leave it out: what is right follows from the file system",
        )


def writers(clients: Sequence[Client], per_node: int | None) -> Writers:
    """Return who writes. Independent.

    Parameters
    ----------
    clients
        Of each rank.
    per_node
        How many ranks of each client are to write; 0: the root alone, for all; None: all, or where clients would
        damage each other's pages, or nobody knows whether they would, the root.

    Raises
    ------
    LaunchError
        Several clients are to write where that is not safe.
    """
    several = len(set(clients)) > 1
    unsafe, doubtful = (_of_sharing(clients, sharing) for sharing in (Sharing.ROOT, Sharing.DOUBTFUL))
    if per_node is None and several and unsafe is not None:
        reason = f"the root writes for all ranks, because {_in_words(clients)} cannot write one file on {unsafe}"
        return Writers((0,) * len(clients), reason)
    if per_node is None and several and doubtful is not None:
        reason = f"the root writes for all ranks, because nobody knows whether {_in_words(clients)} can write one file "
        reason += f"on {doubtful}"
        return Writers((0,) * len(clients), reason)
    if per_node == 0 and len(clients) > 1:
        return Writers((0,) * len(clients), "the root writes for all ranks, as asked for")
    if per_node and several and unsafe is not None:
        raise LaunchError(
            f"{_in_words(clients)} cannot write one file safely on a file system of type {unsafe}",
            where=f"writers_per_node={per_node}",
            remedy="Leave writers_per_node out, so that the root writes for all, or write to a parallel file system",
        )
    if not per_node:
        return Writers.each(len(clients))
    members = {client: [rank for rank, other in enumerate(clients) if other == client] for client in set(clients)}
    of = [0] * len(clients)
    for ranks in members.values():
        for place, rank in enumerate(ranks):
            of[rank] = ranks[place % min(per_node, len(ranks))]
    reason = f"{per_node} rank(s) of each host write for the others" if of != list(range(len(clients))) else ""
    return Writers(tuple(of), reason)


def _of_sharing(clients: Sequence[Client], sharing: Sharing) -> str | None:
    """Return the first type of such file systems through which clients see the folder."""
    return next((c.kernel_name for c in clients if kind_of(c.kernel_name).sharing is sharing), None)


def _in_words(clients: Sequence[Client]) -> str:
    """Return who the clients are, where they are several."""
    hosts, mounts = len({client.host for client in clients}), len(set(clients))
    return f"{hosts} hosts" if hosts > 1 else f"{mounts} mounts of the folder on {clients[0].host}"
