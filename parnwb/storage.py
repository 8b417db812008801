"""The partial file on disk: writes that check what they did, and a last step that cannot be half done."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from parnwb.errors import StorageError, TargetError

IOV_MAX = min(1024, os.sysconf("SC_IOV_MAX") if hasattr(os, "sysconf") else 16)
MAX_CALL_BYTES = 1 << 30


class Target:
    """The final path of a file and its partial twin. All methods are independent; the root calls those of layout.

    Parameters
    ----------
    path
        Where the finished file goes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.partial = path.with_name(path.name + ".partial")
        self.journal = path.with_name(path.name + ".partial.journal")

    def check(self, *, overwrite: bool) -> None:
        """Refuse what could not be finished later.

        Raises
        ------
        TargetError
            The folder is missing or cannot be written to, or the file exists and is not to be replaced.
        """
        folder = self.path.parent
        if not folder.is_dir():
            raise TargetError("the output folder must exist", where=str(folder), remedy="Create it first")
        if self.path.is_dir():
            raise TargetError("the output must be a file, not a folder", where=str(self.path))
        if self.path.exists() and not overwrite:
            raise TargetError(
                "the output file exists and is not replaced",
                where=str(self.path),
                remedy="Choose another name, or pass overwrite=True (--overwrite)",
            )

    def create(self) -> None:
        """Create the partial file anew; a partial of an earlier, failed attempt is replaced."""
        try:
            with contextlib.suppress(FileNotFoundError):
                self.partial.unlink()
            os.close(os.open(self.partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        except OSError as error:
            raise TargetError(
                f"the output folder cannot be written to: {error.strerror}",
                where=str(self.partial),
                remedy="Check its permissions, the quota and whether it is mounted read-only",
            ) from error

    def require_space(self, nbytes: int) -> None:
        """Refuse to begin what the file system cannot hold.

        Raises
        ------
        StorageError
            Fewer than ``nbytes`` are free.
        """
        info = os.statvfs(self.path.parent)
        free = info.f_bavail * info.f_frsize
        if free < nbytes:
            raise StorageError(
                f"the file needs at least {nbytes} bytes, the file system has {free} free",
                where=str(self.path.parent),
                remedy="Free some space or choose another folder",
            )

    def discard(self) -> None:
        """Remove the partial file."""
        with contextlib.suppress(OSError):
            self.partial.unlink()

    def publish(self) -> None:
        """Give the complete file its name and make the folder remember it."""
        try:
            os.replace(self.partial, self.path)
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise StorageError(
                f"the complete file could not be renamed: {error.strerror}", where=str(self.partial)
            ) from error


class FileBytes:
    """One rank's handle on the partial file. Independent."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDWR)

    def write_at(self, pieces: Sequence[Any], address: int) -> None:
        """Write ``pieces`` one after another from ``address`` on, with as few calls as can be.

        Raises
        ------
        StorageError
            The file system refuses; the address and its reason are named.
        """
        views = [memoryview(piece).cast("B") for piece in pieces if len(piece)]
        first = 0
        while first < len(views):
            batch: list[memoryview] = []
            size = 0
            for view in views[first : first + IOV_MAX]:
                if batch and size + len(view) > MAX_CALL_BYTES:
                    break
                batch.append(view[:MAX_CALL_BYTES])
                size += len(batch[-1])
            written = self._write(batch, address)
            address += written
            while first < len(views) and written >= len(views[first]):
                written -= len(views[first])
                first += 1
            if written:
                views[first] = views[first][written:]

    def _write(self, batch: list[memoryview], address: int) -> int:
        try:
            written = os.pwritev(self._descriptor, batch, address)
        except OSError as error:
            raise self._failed("writing", address, error) from error
        if written == 0:
            raise self._failed("writing", address, OSError(errno.EIO, "the system wrote nothing"))
        return written

    def truncate(self, size: int) -> None:
        """Set the file's size."""
        try:
            os.ftruncate(self._descriptor, size)
        except OSError as error:
            raise self._failed("setting the size", size, error) from error

    def sync(self) -> None:
        """Make the bytes safe. A failure is final: the kernel forgets what it could not write."""
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            raise self._failed("fsync", 0, error) from error

    def close(self) -> None:
        """Close the handle."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _failed(self, doing: str, address: int, error: OSError) -> StorageError:
        remedies = {
            errno.ENOSPC: "The file system is full: free some space or choose another folder",
            errno.EDQUOT: "The quota is used up: free some space or choose another folder",
            errno.EFBIG: "The file is larger than this system or `ulimit -f` allows",
        }
        return StorageError(
            f"{doing} at byte {address} failed: {error.strerror}",
            where=str(self._path),
            remedy=remedies.get(error.errno or 0, "Check the file system"),
        )
