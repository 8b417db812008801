"""The partial file on disk: writes that check what they did, and a last step that cannot be half done."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from parnwb.errors import StorageError, TargetError
from parnwb.lock import Lock
from parnwb.permissions import OWNER_READS_AND_WRITES, Permissions, create_file
from parnwb.process import Process

IOV_MAX = min(1024, os.sysconf("SC_IOV_MAX") if hasattr(os, "sysconf") else 16)
MAX_CALL_BYTES = 1 << 30
# What a file system says that has no fsync of folders, or a folder that may be written to but not be read.
NO_FOLDER_SYNC = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM)
TOKEN_BYTES = 16
# A rank whose job has lost the output notices it after so long at the latest, at its next write.
LOOK_SECONDS = 5.0


class Target:
    """The final path of a file and its partial twin. All methods are independent; the root calls those of layout.

    Parameters
    ----------
    path
        Where the finished file goes.

    Attributes
    ----------
    partial, journal
        The file while it is written, and what has been committed of it.
    lock
        Says which job writes them.
    lost
        Is there while processes of an earlier job, whose lock was broken, may still write to ``partial``, or to
        ``path`` if it appended.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.token_at = 0
        self.partial = path.with_name(path.name + ".partial")
        self.journal = path.with_name(path.name + ".partial.journal")
        self.manifest = path.with_name(path.name + ".crc")
        self.partial_manifest = path.with_name(path.name + ".partial.crc")
        self.lost = path.with_name(path.name + ".partial.lost")
        self.lock = Lock(path.with_name(path.name + ".lock"), self.lost)
        self._ours: tuple[int, int] | None = None
        self._adopted = False
        self._looked = 0.0

    @property
    def next_partial(self) -> Path:
        """The partial file of the next generation, while it is made."""
        return self.partial.with_name(self.partial.name + ".next")

    @property
    def next_journal(self) -> Path:
        """The journal of the next generation, while it is made."""
        return self.journal.with_name(self.journal.name + ".next")

    def reserve(self, processes: Sequence[Process], *, break_lock: bool = False) -> None:
        """Keep all other jobs away from this output, from now until ``lock.release``.

        This creates a file, so a folder that cannot be written to is found here, before any work.

        Parameters
        ----------
        processes
            All ranks, the root first.
        break_lock
            Whether to take the output from another job.

        Raises
        ------
        TargetError
            There is no such folder, another job writes this output, or the folder takes no files.
        """
        self.check_place()
        self.lock.take(processes, like=Permissions.of(self.path), break_lock=break_lock)
        if not os.path.lexists(self.partial) and not os.path.lexists(self.path):  # nobody can have either open
            self.forget_lost()

    def check_place(self) -> None:
        """Refuse a folder or a name that cannot be.

        Raises
        ------
        TargetError
            The folder is missing, or the name is a folder's or a device's, too long or no name.
        """
        folder, name = self.path.parent, str(self.path)
        if "\0" in name:
            raise TargetError("a file name cannot hold a null byte", where=repr(name), remedy="Choose another name")
        if not os.path.isdir(folder):
            raise TargetError("the output folder must exist", where=str(folder), remedy="Create it first")
        try:
            with contextlib.suppress(FileNotFoundError):
                os.lstat(self.lock.longest)
        except OSError as error:
            raise TargetError(
                f"the output cannot have this name: {error.strerror}",
                where=str(self.path),
                remedy="Choose a shorter name, or another folder",
            ) from error
        if self.path.is_dir():
            raise TargetError(
                "the output must be a file, not a folder", where=name, remedy="Add a file name such as out.nwb"
            )
        # Renaming over it would succeed, and as root take the machine's /dev/null away.
        with contextlib.suppress(FileNotFoundError):
            kind = os.lstat(self.path).st_mode
            if not (stat.S_ISREG(kind) or stat.S_ISLNK(kind)):
                raise TargetError(
                    "the output must be a regular file, not a device, pipe or socket",
                    where=name,
                    remedy="Choose another name",
                )

    def check(self, *, overwrite: bool) -> None:
        """Refuse what could not be finished later.

        Raises
        ------
        TargetError
            As ``check_place``; or the file exists and is not to be replaced.
        """
        self.check_place()
        if os.path.lexists(self.path) and not overwrite:
            raise TargetError(
                "the output file exists and is not replaced",
                where=str(self.path),
                remedy="Choose another name, or pass overwrite=True (--overwrite)",
            )
        if os.path.lexists(self.manifest) and not overwrite:
            raise TargetError(
                "checksums of an earlier file of this name are there and are not replaced",
                where=str(self.manifest),
                remedy="Remove them, or pass overwrite=True (--overwrite)",
            )

    def create(self) -> bytes:
        """Create the partial file anew and return what it holds, by which other ranks recognise it.

        A partial file of an earlier, failed attempt is replaced. Its journal goes first, for good: beside the
        new file it would vouch for chunks that are not in there. Where a file is to be overwritten, the new one
        is never more open than that.
        """
        token = os.urandom(TOKEN_BYTES)
        try:
            self.lock.check_ours()
            with contextlib.suppress(FileNotFoundError):
                self.journal.unlink()
                sync_folder(self.path.parent)
            for path in (self.partial, self.partial_manifest, self.next_partial, self.next_journal):
                path.unlink(missing_ok=True)
            descriptor = create_file(self.partial, Permissions.of(self.path))
            try:
                self._ours = _identity(os.fstat(descriptor))
                _write_whole(descriptor, token)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise TargetError(
                f"the output folder cannot be written to: {error.strerror}",
                where=str(self.partial),
                remedy="Check its permissions, the quota and whether it is mounted read-only",
            ) from error
        self.forget_lost()
        return token

    def adopt(self) -> bytes:
        """Take over the partial file of an earlier attempt, and return what it begins with from now on.

        Its first bytes are HDF5's superblock, which is written last.

        Raises
        ------
        TargetError
            It has a second name, under which it would be changed as well.
        """
        token = os.urandom(TOKEN_BYTES)
        self.lock.check_ours()
        disk = FileBytes(self.partial)
        try:
            status = disk.status()
            if status.st_nlink != 1 or not stat.S_ISREG(status.st_mode):
                raise TargetError(
                    f"the partial file must be a file of one name, it has {status.st_nlink}",
                    where=str(self.partial),
                    remedy="Replace it by a copy of itself",
                )
            disk.write_at([token], 0)
            self._ours = _identity(status)
        finally:
            disk.close()
        self._adopted = True
        return token

    def recognise(self, token: bytes) -> None:
        """Check that this rank sees the partial file that the root created, not one of the same name.

        Raises
        ------
        TargetError
            The folder is of this host only, or another program has replaced the file.
        """
        try:
            descriptor = os.open(self.partial, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                seen = os.pread(descriptor, len(token), self.token_at)
                self._ours = _identity(os.fstat(descriptor))
            finally:
                os.close(descriptor)
            reason = "this rank sees another file of this name"
        except OSError as error:
            seen, reason = b"", f"{error.strerror}"
        if seen != token:
            raise TargetError(
                f"every rank must see the file that the root has created: {reason}",
                where=f"{self.partial} on host {socket.gethostname()}",
                remedy="Write to a folder that all hosts share, and from one job at a time",
            )

    @property
    def has_lost_writers(self) -> bool:
        """Whether processes of a job that lost its lock may still write to the partial file, or to one appended to."""
        return os.path.lexists(self.lost)

    def check_no_lost_writers(self) -> None:
        """Refuse to change the existing file in place while a lost job may still write to it.

        Raises
        ------
        TargetError
            It may.
        """
        if self.has_lost_writers:
            raise TargetError(
                "processes of a job whose lock was broken may still write to this file, and would damage what is added",
                where=str(self.path),
                remedy="Copy it, give the copy its name, which takes it out of their reach, then remove "
                f"{self.lost.name}",
            )

    def check_ours(self) -> None:
        """Check that nobody has replaced or removed the partial file, or broken the lock if this rank holds it.

        Raises
        ------
        TargetError
            It is another file now, or gone; or another job has the lock.
        """
        self._looked = time.monotonic()
        self.lock.check_ours()
        try:
            ours = _identity(os.lstat(self.partial)) == self._ours
        except OSError:
            ours = False
        if not ours:
            raise TargetError(
                "the partial file was replaced or removed by another program while it was written",
                where=str(self.partial),
                remedy="Write to one output file from one job at a time",
            )

    def check_now_and_then(self) -> None:
        """Do as ``check_ours`` if the last time was some seconds ago: for every write, on every rank."""
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self.check_ours()

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

    def warn_of_space(self, nbytes: int) -> None:
        """Warn where an estimate says that the file system cannot hold so many bytes."""
        info = os.statvfs(self.path.parent)
        free = info.f_bavail * info.f_frsize
        if free < nbytes:
            warnings.warn(
                f"the file will need about {nbytes} bytes, the file system of {self.path.parent} has {free} free; "
                "a job that finds it full ends, and can be resumed when there is room",
                stacklevel=2,
            )

    def discard(self) -> None:
        """Remove the partial file and its journal if they were created here; another job's stay."""
        if self._ours is not None and not self._adopted:
            with contextlib.suppress(TargetError, OSError):
                self.check_ours()
                self.journal.unlink(missing_ok=True)
                self.partial_manifest.unlink(missing_ok=True)
                self.partial.unlink()

    def publish(self, *, overwrite: bool = False) -> None:
        """Give the complete file its name and make the folder remember it.

        Raises
        ------
        TargetError
            A file of this name has appeared meanwhile and is not to be replaced, or the partial file is not ours.
        StorageError
            The file system refuses.
        """
        self.check_ours()
        if os.path.lexists(self.path) and not overwrite:
            raise TargetError(
                "the output file has appeared while it was written, and is not replaced",
                where=str(self.path),
                remedy=f"All data are in {self.partial}: give it another name",
            )
        replaced = Permissions.of(self.path)
        try:
            if replaced is not None:
                self._make_like(replaced)
            self.manifest.unlink(missing_ok=True)  # it vouches for the file that goes now
            os.replace(self.partial, self.path)
        except OSError as error:
            raise StorageError(
                f"the complete file could not be renamed: {error.strerror}",
                where=str(self.partial),
                remedy="All data are in this file: rename it by hand",
            ) from error
        if replaced is not None and replaced.mode & OWNER_READS_AND_WRITES != OWNER_READS_AND_WRITES:
            with contextlib.suppress(OSError):
                os.chmod(self.path, stat.S_IMODE(os.stat(self.path).st_mode) & ~0o600 | replaced.mode & 0o600)
        self.forget_journal()

    def _make_like(self, replaced: Permissions) -> None:
        descriptor = os.open(self.partial, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            replaced.give(descriptor, also=OWNER_READS_AND_WRITES)  # or a job that ends here could not be resumed
        finally:
            os.close(descriptor)

    def forget_journal(self) -> None:
        """Name the checksums of a file that has its final name, and remove its journal once the names are safe.

        Raises
        ------
        StorageError
            The file system refuses.
        """
        try:
            if os.path.lexists(self.partial_manifest):
                os.replace(self.partial_manifest, self.manifest)
        except OSError as error:
            raise StorageError(
                f"the checksums could not be renamed: {error.strerror}",
                where=str(self.partial_manifest),
                remedy=f"The file is complete: rename its checksums to {self.manifest.name} by hand",
            ) from error
        sync_folder(self.path.parent)
        with contextlib.suppress(OSError):
            self.journal.unlink(missing_ok=True)
        self.forget_lost()

    def forget_lost(self) -> None:
        """Forget a lost job that cannot reach the partial file any more."""
        with contextlib.suppress(OSError):
            self.lost.unlink(missing_ok=True)


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


def _write_whole(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _identity(status: os.stat_result) -> tuple[int, int]:
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
        self.size, self.identity = status.st_size, _identity(status)
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
