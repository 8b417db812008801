"""Small and read-only file systems, where this machine lets tests mount them."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SMALL_BYTES = 3 * 2**20


@contextmanager
def mounted(options: str) -> Iterator[Path | None]:
    """Mount a file system in memory with such options; None where that is refused, as to all but root."""
    folder = Path(tempfile.mkdtemp(prefix="parnwb-mount-"))
    command = ["mount", "-t", "tmpfs", "-o", options, "parnwb-test", str(folder)]
    done = subprocess.run(command, capture_output=True, timeout=20)
    try:
        yield folder if done.returncode == 0 else None
    finally:
        if done.returncode == 0:
            subprocess.run(["umount", "-l", str(folder)], capture_output=True, timeout=20)
        folder.rmdir()
