"""The bytes of a file on disk: every read and write checks what it did, and a failed fsync is final."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from parnwb.errors import StorageError, TargetError

IOV_MAX = min(1024, os.sysconf("SC_IOV_MAX") if hasattr(os, "sysconf") else 16)
MAX_CALL_BYTES = 1 << 30
# What a file system says that has no fsync of folders, or a folder that may be written to but not be read.
NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder safe. Independent; some file systems cannot do it and need not.

    Raises
    ------
    StorageError
        The file system has failed to.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in NO_FOLDER_SYNC:
            raise StorageError(
                f"the names in the folder could not be made safe: {error.strerror}",
                where=str(folder),
                remedy="Check the file system, then resume (--resume, mode 'resume')",
            ) from error


def write_whole(descriptor: int, data: bytes) -> None:
    """Write all of ``data`` to an open file, however often that takes. Independent."""
    while data:
        data = data[os.write(descriptor, data) :]


def identity(status: os.stat_result) -> tuple[int, int]:
    """Return what tells one file from another of the same name. Independent."""
    return status.st_dev, status.st_ino


class FileBytes:
    """One rank's handle on the partial file. Independent."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        except OSError as error:
            raise self._failed("opening", 0, error) from error

    def status(self) -> os.stat_result:
        """Return what ``os.fstat`` says."""
        return os.fstat(self._descriptor)

    def read_at(self, nbytes: int, address: int) -> bytes:
        """Return ``nbytes`` from ``address`` on; fewer at the end of the file.

        Raises
        ------
        StorageError
            The file system refuses.
        """
        pieces: list[bytes] = []
        try:
            while nbytes and (piece := os.pread(self._descriptor, min(nbytes, MAX_CALL_BYTES), address)):
                pieces.append(piece)
                nbytes, address = nbytes - len(piece), address + len(piece)
        except OSError as error:
            raise self._failed("reading", address, error) from error
        return b"".join(pieces)

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
            errno.ELOOP: "A symbolic link has its name, and is not followed: remove it",
        }
        return StorageError(
            f"{doing} at byte {address} failed: {error.strerror}",
            where=str(self._path),
            remedy=remedies.get(error.errno or 0, "Check the file system"),
        )


class ExistingBytes:
    """The file that is appended to, for an overlay to show through. Independent.

    Inside calls of HDF5 nothing may raise: a read that fails gives zeros, and ``check`` raises what happened.

    Parameters
    ----------
    path
        The file.
    lock
        Whether to keep others from opening it with HDF5, as a writer does, until ``close``.

    Attributes
    ----------
    size
        Bytes of the file when it was opened.
    """

    def __init__(self, path: Path, *, lock: bool) -> None:
        self._path = path
        self._error: OSError | None = None
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise TargetError(
                f"the file cannot be opened for appending: {error.strerror}",
                where=str(path),
                remedy="Check its name and permissions, and whether it is mounted read-only",
            ) from error
        status = os.fstat(self._descriptor)
        self.size, self.identity = status.st_size, identity(status)
        if lock:
            self._lock()

    def _lock(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise TargetError(
                "the file is open elsewhere, and only one program can change it at a time",
                where=str(self._path),
                remedy="Close it there first; this program may have it open itself, as with NWBHDF5IO",
            ) from error
        except OSError:
            return  # a file system without locks, where HDF5 has none either

    def read_into(self, view: memoryview, address: int) -> None:
        """Fill ``view`` from ``address`` on, with zeros past the end of the file and where reading fails."""
        done = 0
        try:
            while done < len(view):
                count = os.preadv(self._descriptor, [view[done : done + MAX_CALL_BYTES]], address + done)
                if count == 0:
                    break
                done += count
        except OSError as error:
            self._error = self._error or error
        view[done:] = bytes(len(view) - done)

    def read(self, address: int, count: int) -> bytes:
        """Return ``count`` bytes.

        Raises
        ------
        StorageError
            The file system refused, now or in an earlier read.
        """
        data = bytearray(count)
        self.read_into(memoryview(data), address)
        self.check()
        return bytes(data)

    def current_size(self) -> int:
        """Return how many bytes the file has now."""
        return os.fstat(self._descriptor).st_size

    def check(self) -> None:
        """Raise the first error of any read.

        Raises
        ------
        StorageError
            There was one.
        """
        if self._error is not None:
            raise StorageError(
                f"reading the existing file failed: {self._error.strerror}",
                where=str(self._path),
                remedy="Check the file system",
            ) from self._error

    def close(self) -> None:
        """Close the file, which ends the lock."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
