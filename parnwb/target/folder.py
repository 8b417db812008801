"""``FolderTarget``: a folder of many files that gets its name when all of them are there."""

from __future__ import annotations

import contextlib
import os
import stat
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from parnwb.errors import TargetError
from parnwb.machine.striping import Striping
from parnwb.target.disk import identity, sync_folder, write_whole
from parnwb.target.permissions import Permissions
from parnwb.target.target import Target, tell_nobody
from parnwb.target.visible import open_soon

OWNER_DOES_ALL = 0o700
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

    kind = "folder"

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

    def _clear(self) -> None:
        if not os.path.lexists(self.partial):
            return
        marked = (self.partial / TOKEN_NAME).exists() or is_store(self.partial)  # the token goes just before the rename
        if self.partial.is_symlink() or not self.partial.is_dir() or not marked:
            raise TargetError(
                "something that is no unfinished store of an earlier job has the partial store's name",
                where=str(self.partial),
                remedy="Give it another name, or remove it",
            )
        _remove(self.partial, self.step)

    def _make(self, token: bytes, striping: Striping | None) -> None:
        """Create the partial folder with a token in it; files of single chunks are too small to be spread.

        Where it is to replace a store nobody else sees into it before it has that one's permissions.
        """
        os.mkdir(self.partial, 0o777 if Permissions.of(self.path) is None else OWNER_DOES_ALL)
        self._ours = identity(os.lstat(self.partial))
        descriptor = os.open(self.partial / TOKEN_NAME, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            write_whole(descriptor, token)
        finally:
            os.close(descriptor)

    def _seen(self, nbytes: int) -> tuple[bytes, tuple[int, int]]:
        descriptor = open_soon(self.partial / TOKEN_NAME)
        try:
            return os.pread(descriptor, nbytes, 0), identity(os.lstat(self.partial))
        finally:
            os.close(descriptor)

    def discard(self) -> None:
        """Remove the partial folder if it was created here; another job's stays."""
        if self._ours is not None:
            with contextlib.suppress(TargetError, OSError):
                self.check_ours()
                _remove(self.partial, self.step)

    def publish(self, *, overwrite: bool = False) -> None:
        """Give the complete folder its name and make the folder around it remember that.

        A store that is there already gets another name first, because no file system replaces a folder that holds
        anything; it is removed in the end. Raises as ``Target.publish``.
        """
        super().publish(overwrite=overwrite)
        if os.path.lexists(self.replaced):
            self._remove_replaced()

    def _take_name(self) -> None:
        self.check_kind()
        os.unlink(self.partial / TOKEN_NAME)
        sync_folder(self.partial)
        replaced = Permissions.of(self.path)
        if replaced is None:
            os.rename(self.partial, self.path)
        else:
            self._replace(replaced)

    def _replace(self, permissions: Permissions) -> None:
        descriptor = os.open(self.partial, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            permissions.give(descriptor, also=OWNER_DOES_ALL)  # or a job that ends here could not be tidied up after
            os.rename(self.path, self.replaced)
            self._take_free_name()
            if permissions.mode & OWNER_DOES_ALL != OWNER_DOES_ALL:
                given = stat.S_IMODE(os.fstat(descriptor).st_mode)
                with contextlib.suppress(OSError):
                    os.fchmod(descriptor, given & ~OWNER_DOES_ALL | permissions.mode & OWNER_DOES_ALL)
        finally:
            os.close(descriptor)

    def _take_free_name(self) -> None:
        """Rename the partial folder, or give the store that was there its name back."""
        try:
            os.rename(self.partial, self.path)
        except OSError as error:
            try:
                os.rename(self.replaced, self.path)
            except OSError:
                error.strerror = f"{error.strerror}; and the store that was there is {self.replaced} now"
            raise

    def _remove_replaced(self) -> None:
        try:
            _remove(self.replaced, self.step)
        except OSError as error:
            warnings.warn(f"{self.replaced}, which was replaced, could not be removed: {error.strerror}", stacklevel=2)


def is_store(path: Path) -> bool:
    """Tell whether a folder looks like a Zarr store. Independent."""
    return path.is_dir() and any((path / name).exists() for name in MARKS)


def stored_bytes(path: Path, step: Callable[[str], None] = tell_nobody) -> int:
    """Return the bytes of a file, or of all files in a folder. Independent.

    Parameters
    ----------
    step
        Is told each file of a folder.
    """
    if not path.is_dir():
        return os.path.getsize(path)
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            step(f"measuring {folder}/{name}")
            total += os.lstat(os.path.join(folder, name)).st_size
    return total


def _remove(path: Path, step: Callable[[str], None]) -> None:
    """Remove a folder, or a link to one but not what it leads to; say so for each file."""
    if path.is_symlink():
        path.unlink()
        return
    for folder, inner, names, descriptor in os.fwalk(path, topdown=False, onerror=_fail):
        for name in names:
            step(f"removing {folder}/{name}")
            os.unlink(name, dir_fd=descriptor)
        for name in inner:
            step(f"removing {folder}/{name}")
            try:
                os.rmdir(name, dir_fd=descriptor)
            except NotADirectoryError:  # it is a link to a folder
                os.unlink(name, dir_fd=descriptor)
    path.rmdir()


def _fail(error: OSError) -> NoReturn:
    raise error
