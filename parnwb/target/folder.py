"""``FolderTarget``: a folder of many files that gets its name when all of them are there."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import warnings
from pathlib import Path

from parnwb.errors import StorageError, TargetError
from parnwb.striping import Striping
from parnwb.target.disk import identity, sync_folder, write_whole
from parnwb.target.target import TOKEN_BYTES, Target
from parnwb.target.visible import open_soon

TOKEN_NAME = ".parnwb"
# Of Zarr, versions 2 and 3.
MARKS = (".zgroup", ".zmetadata", ".zarray", "zarr.json")


class FolderTarget(Target):
    """The final path of a Zarr store and its partial twin. All methods are independent.

    The partial folder holds a file of its own (``.parnwb``) while it is written, by which all ranks recognise it.

    Parameters
    ----------
    path
        Where the finished folder goes.

    Attributes
    ----------
    replaced
        Where an existing folder is for the moment in which the new one takes its place.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.replaced = path.with_name(path.name + ".replaced")

    def check_kind(self) -> None:
        """Refuse to take the place of what is no Zarr store.

        Raises
        ------
        TargetError
            Something else has the name.
        """
        if os.path.lexists(self.path) and not is_store(self.path):
            raise TargetError(
                "a Zarr store takes the place of a Zarr store only, and this is none",
                where=str(self.path),
                remedy="Choose another name, such as out.nwb.zarr",
            )
        if os.path.lexists(self.replaced):
            raise TargetError(
                "an earlier job has ended while its store took the place of another, which is still here",
                where=str(self.replaced),
                remedy=f"Remove it if {self.path.name} is there; else rename {self.partial.name} to that first",
            )

    def create(self, striping: Striping | None = None) -> bytes:
        """Create the partial folder anew and return the token in it, by which other ranks recognise it.

        Parameters
        ----------
        striping
            Not looked at: files of single chunks are small.
        """
        token = os.urandom(TOKEN_BYTES)
        try:
            self.lock.check_ours()
            self._remove_partial()
            os.mkdir(self.partial)
            descriptor = os.open(self.partial / TOKEN_NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            try:
                write_whole(descriptor, token)
            finally:
                os.close(descriptor)
            self._ours = identity(os.lstat(self.partial))
        except OSError as error:
            raise TargetError(
                f"the output folder cannot be written to: {error.strerror}",
                where=str(self.partial),
                remedy="Check its permissions, the quota and whether it is mounted read-only",
            ) from error
        self.forget_lost()
        return token

    def _remove_partial(self) -> None:
        if not os.path.lexists(self.partial):
            return
        marked = (self.partial / TOKEN_NAME).exists() or is_store(self.partial)  # the token goes just before the rename
        if self.partial.is_symlink() or not self.partial.is_dir() or not marked:
            raise TargetError(
                "something that is no unfinished store of an earlier job has the partial store's name",
                where=str(self.partial),
                remedy="Give it another name, or remove it",
            )
        _remove(self.partial)

    def recognise(self, token: bytes) -> None:
        """Check that this rank sees the partial folder that the root created, not one of the same name.

        Raises
        ------
        TargetError
            The folder is of this host only, or another program has replaced it.
        """
        try:
            descriptor = open_soon(self.partial / TOKEN_NAME)
            try:
                seen = os.pread(descriptor, len(token), 0)
            finally:
                os.close(descriptor)
            self._ours = identity(os.lstat(self.partial))
            reason = "this rank sees another folder of this name"
        except OSError as error:
            seen, reason = b"", f"{error.strerror}"
        if seen != token:
            raise TargetError(
                f"every rank must see the folder that the root has created: {reason}",
                where=f"{self.partial} on host {socket.gethostname()}",
                remedy="Write to a folder that all hosts share, and from one job at a time",
            )

    def discard(self) -> None:
        """Remove the partial folder if it was created here; another job's stays."""
        if self._ours is not None:
            with contextlib.suppress(TargetError, OSError):
                self.check_ours()
                _remove(self.partial)

    def publish(self, *, overwrite: bool = False) -> None:
        """Give the complete folder its name and make the folder around it remember that.

        A store that is there already gets another name first, because no file system replaces a folder that holds
        anything; it is removed in the end.

        Raises
        ------
        TargetError
            A folder of this name has appeared meanwhile and is not to be replaced, or the partial one is not ours.
        StorageError
            The file system refuses.
        """
        self.check_ours()
        there = os.path.lexists(self.path)
        if there and not overwrite:
            raise TargetError(
                "the output has appeared while it was written, and is not replaced",
                where=str(self.path),
                remedy=f"All data are in {self.partial}: give it another name",
            )
        self.check_kind()
        try:
            os.unlink(self.partial / TOKEN_NAME)
            sync_folder(self.partial)
            if there:
                os.rename(self.path, self.replaced)
            os.rename(self.partial, self.path)
        except OSError as error:
            raise StorageError(
                f"the complete store could not be renamed: {error.strerror}",
                where=str(self.partial),
                remedy="All data are in this folder: rename it by hand",
            ) from error
        self.forget_journal()
        if there:
            self._remove_replaced()

    def _remove_replaced(self) -> None:
        try:
            _remove(self.replaced)
        except OSError as error:
            warnings.warn(f"{self.replaced}, which was replaced, could not be removed: {error.strerror}", stacklevel=2)


def is_store(path: Path) -> bool:
    """Tell whether a folder looks like a Zarr store. Independent."""
    return path.is_dir() and any((path / name).exists() for name in MARKS)


def stored_bytes(path: Path) -> int:
    """Return the bytes of a file, or of all files in a folder. Independent."""
    if not path.is_dir():
        return os.path.getsize(path)
    return sum(os.lstat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(path) for name in names)


def _remove(path: Path) -> None:
    """Remove a folder, or a link to one but not what it leads to."""
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path)
