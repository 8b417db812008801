"""Over how many storage servers a file on Lustre is spread: looked up, advised, set on a new file; by ``lfs``."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

GB = 1_000_000_000
STRIPE_BYTES = 4 * 1024 * 1024
MOST_STRIPES = 64
LFS_SECONDS = 30


@dataclass(frozen=True)
class Striping:
    """How a file is spread.

    Parameters
    ----------
    count
        Storage servers; -1 for all that there are.
    size
        Bytes that lie on one of them before the next begins.
    """

    count: int
    size: int = STRIPE_BYTES


def advised_stripes(nbytes: int, hosts: int) -> int:
    """Return over how many storage servers a file is to be spread. Independent.

    One server takes about 1 GB/s, which a host or two can send; a small file gains nothing.
    """
    return max(1, min(2 * hosts, MOST_STRIPES, nbytes // GB))


def striping_of(path: Path) -> Striping | None:
    """Return how a file is spread, or new files in a folder will be; None where that is not to be had. Independent."""
    said = _lfs("getstripe", "-d", "--stripe-count", "--stripe-size", str(path))
    named = dict(re.findall(r"stripe_(count|size):\s*(-?\d+)", said))
    if len(named) == 2:
        return Striping(int(named["count"]), int(named["size"]))
    return None


def striping_for(folder: Path, nbytes: int, hosts: int) -> Striping | None:
    """Return how a new file is to be spread; None to leave it as the folder has it. Independent.

    What somebody has set for the folder counts: only the usual one server is thought to be nobody's wish.
    """
    found, count = striping_of(folder), advised_stripes(nbytes, hosts)
    return Striping(count) if found is not None and found.count == 1 < count else None


def create_striped(path: Path, striping: Striping) -> bool:
    """Create an empty file that is spread so, which nobody else can open; tell whether it is there. Independent."""
    if path.is_symlink() or path.exists():
        return False
    _lfs("setstripe", "--stripe-count", str(striping.count), "--stripe-size", str(striping.size), str(path))
    return path.exists()


def _lfs(*arguments: str) -> str:
    """Return what ``lfs`` says; nothing where there is none, or it fails."""
    program = shutil.which("lfs")
    if program is None:
        return ""
    try:
        done = subprocess.run(
            [program, *arguments], capture_output=True, text=True, timeout=LFS_SECONDS, umask=0o077, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
