"""What the kernel tells of the machine below a process: which start of it this is, and what it shares with whom."""

from __future__ import annotations

import os
from pathlib import Path


def boot() -> str:
    """Return the identifier of the running kernel, new after every start; empty where it is not known. Independent."""
    return text("/proc/sys/kernel/random/boot_id")


def namespace(kind: str) -> str:
    """Return the namespace of a kind, such as ``net``, in which this process is; empty where it is not known.

    Independent. Its number means something on this machine only.
    """
    try:
        return os.readlink(f"/proc/self/ns/{kind}")
    except OSError:
        return ""


def text(path: str | os.PathLike[str]) -> str:
    """Return what a file says, without blanks around it; nothing where there is none that can be read. Independent."""
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""
