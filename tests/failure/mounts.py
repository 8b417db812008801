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


class Disk:
    """An ext4 file system in a file: it fills up and breaks as a real one does."""

    def __init__(self, image: Path, folder: Path, options: str) -> None:
        self._image, self.folder, self._options = image, folder, options

    def mount(self) -> bool:
        """Mount it; tell whether that is allowed."""
        return _run("mount", "-o", f"loop{self._options}", str(self._image), str(self.folder))

    def unmount(self) -> None:
        _run("umount", str(self.folder)) or _run("umount", "-l", str(self.folder))

    def repair(self) -> None:
        """Mount it again after it has gone read-only, which lets the kernel replay its journal."""
        self.unmount()
        assert self.mount(), "the file system cannot be mounted again"


ABORT = ("mount", "-o", "remount,abort")
"""With a folder: lets an ext4 file system go read-only under the files that are open, as it does after an error."""


@contextmanager
def disk(megabytes: int = 64, *, quotas: bool = False) -> Iterator[Disk | None]:
    """Make a file system on a disk of its own; None where that is refused, as to all but root."""
    features, options = (["-O", "quota"], ",usrquota,grpquota") if quotas else ([], "")
    with tempfile.TemporaryDirectory(prefix="parnwb-disk-") as name:
        made = Disk(Path(name) / "image", Path(name) / "mounted", options)
        made.folder.mkdir()
        with (Path(name) / "image").open("wb") as image:
            image.truncate(megabytes * 2**20)
        able = _run("mkfs.ext4", "-q", "-F", *features, str(Path(name) / "image")) and made.mount()
        try:
            yield made if able else None
        finally:
            if able:
                made.unmount()


def _run(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=30).returncode == 0
    except FileNotFoundError:
        return False
