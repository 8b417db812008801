"""``Target``: the names of a file while it is written, and a last step that cannot be half done."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

from parnwb.errors import StorageError, TargetError
from parnwb.machine.striping import Striping
from parnwb.target.disk import FileBytes, identity, sync_folder, write_whole
from parnwb.target.lock import Lock
from parnwb.target.permissions import OWNER_READS_AND_WRITES, Permissions, create_file
from parnwb.target.process import Process
from parnwb.target.space import space_left
from parnwb.target.visible import open_soon

TOKEN_BYTES = 16
# A rank whose job has lost the output notices it after so long at the latest, at its next write.
LOOK_SECONDS = 5.0


def tell_nobody(text: str) -> None:
    """Take note of no step. Independent."""


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
    step
        Is told what comes next where there can be much to do, so that a watchdog sees that it goes on.
    """

    kind = "file"

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
        self.step: Callable[[str], None] = tell_nobody

    @property
    def next_partial(self) -> Path:
        """The partial file of the next generation, while it is made."""
        return self.partial.with_name(self.partial.name + ".next")

    @property
    def next_journal(self) -> Path:
        """The journal of the next generation, while it is made."""
        return self.journal.with_name(self.journal.name + ".next")

    @property
    def is_complete(self) -> bool:
        """Whether an earlier job has finished the file, and none has begun it anew."""
        return self.path.exists() and not self.partial.exists() and not self.journal.exists()

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

    def try_out(self, *, break_lock: bool = False) -> None:
        """Refuse what ``reserve`` would refuse to this process, and leave everything as it was.

        Raises
        ------
        TargetError
            As ``reserve``.
        """
        self.check_place()
        self.lock.try_out([Process.this()], like=Permissions.of(self.path), break_lock=break_lock)

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
        self.check_kind()

    def check_kind(self) -> None:
        """Refuse to take the place of what is no file.

        Raises
        ------
        TargetError
            A folder or a device has the name.
        """
        name = str(self.path)
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

    def create(self, striping: Striping | None = None) -> bytes:
        """Create the partial file anew and return what it holds, by which other ranks recognise it.

        A partial file of an earlier, failed attempt is replaced. Its journal goes first, for good: beside the
        new file it would vouch for chunks that are not in there. Where a file is to be overwritten, the new one
        is never more open than that.

        Parameters
        ----------
        striping
            How the file is to be spread over storage servers; None as the folder has it.
        """
        token = os.urandom(TOKEN_BYTES)
        try:
            self.lock.check_ours()
            self._clear()
            self._make(token, striping)
        except OSError as error:
            raise TargetError(
                f"the output folder cannot be written to: {error.strerror}",
                where=str(self.partial),
                remedy="Check its permissions, the quota and whether it is mounted read-only",
            ) from error
        self.forget_lost()
        return token

    def _clear(self) -> None:
        """Remove what an earlier attempt has left."""
        with contextlib.suppress(FileNotFoundError):
            self.journal.unlink()
            sync_folder(self.path.parent)
        for path in (self.partial, self.partial_manifest, self.next_partial, self.next_journal):
            path.unlink(missing_ok=True)

    def _make(self, token: bytes, striping: Striping | None) -> None:
        """Create the partial file with a token in it."""
        descriptor = create_file(self.partial, Permissions.of(self.path), striping)
        try:
            self._ours = identity(os.fstat(descriptor))
            write_whole(descriptor, token)
        finally:
            os.close(descriptor)

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
            self._ours = identity(status)
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
            seen, self._ours = self._seen(len(token))
            reason = f"this rank sees another {self.kind} of this name"
        except OSError as error:
            seen, reason = b"", f"{error.strerror}"
        if seen != token:
            raise TargetError(
                f"every rank must see the {self.kind} that the root has created: {reason}",
                where=f"{self.partial} on host {socket.gethostname()}",
                remedy="Write to a folder that all hosts share, and from one job at a time",
            )

    def _seen(self, nbytes: int) -> tuple[bytes, tuple[int, int]]:
        """Return the token that this rank sees, and the identity of what holds it."""
        descriptor = open_soon(self.partial)
        try:
            return os.pread(descriptor, nbytes, self.token_at), identity(os.fstat(descriptor))
        finally:
            os.close(descriptor)

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
            ours = identity(os.lstat(self.partial)) == self._ours
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
        """Refuse to begin what the file system, or a quota that is known, cannot hold.

        Raises
        ------
        StorageError
            Fewer than ``nbytes`` are free.
        """
        space = space_left(self.path.parent)
        if space.free < nbytes:
            raise StorageError(
                f"the file needs at least {nbytes} bytes, {space.rule} has {space.free} free",
                where=str(self.path.parent),
                remedy="Free some space or choose another folder",
            )

    def warn_of_space(self, nbytes: int) -> None:
        """Warn where an estimate says that the file system or a quota cannot hold so many bytes."""
        space = space_left(self.path.parent)
        if space.free < nbytes:
            warnings.warn(
                f"the file will need about {nbytes} bytes, {space.rule} has {space.free} free in "
                f"{self.path.parent}; a job that finds it full ends, and can be resumed when there is room",
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

    def withdraw(self, published: tuple[int, int]) -> None:
        """Remove the finished file and its checksums.

        Parameters
        ----------
        published
            The ``identity`` of the file that is meant: another one that has its name now stays.
        """
        with contextlib.suppress(OSError):
            if identity(os.lstat(self.path)) == published:
                self.manifest.unlink(missing_ok=True)
                self.path.unlink()

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
                f"the output {self.kind} has appeared while it was written, and is not replaced",
                where=str(self.path),
                remedy=f"All data are in {self.partial}: give it another name",
            )
        self.publish_parts()
        try:
            self._take_name()
        except OSError as error:
            raise StorageError(
                f"the complete {self.kind} could not be renamed: {error.strerror}",
                where=str(self.partial),
                remedy=f"All data are in this {self.kind}: rename it by hand",
            ) from error
        self.forget_journal()

    def publish_parts(self) -> None:
        """Give their names to other files that this one needs; there are none here."""

    def _take_name(self) -> None:
        """Rename the partial file, with the permissions of the one whose place it takes."""
        replaced = Permissions.of(self.path)
        if replaced is not None:
            self._make_like(replaced)
        self.manifest.unlink(missing_ok=True)  # it vouches for the file that goes now
        os.replace(self.partial, self.path)
        if replaced is not None and replaced.mode & OWNER_READS_AND_WRITES != OWNER_READS_AND_WRITES:
            with contextlib.suppress(OSError):
                os.chmod(self.path, stat.S_IMODE(os.stat(self.path).st_mode) & ~0o600 | replaced.mode & 0o600)

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
