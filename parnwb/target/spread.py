"""``SpreadTarget``: a file that holds the places of its data, and the parts beside it that hold the data.

Names change in an order in which no file has its own before its parts have theirs::

    OUT.nwb.partial.parts/0000.h5 ...   written by ranks, perhaps in another folder first
    OUT.nwb.partial                     written by the root, when all parts are whole
    OUT.nwb.partial.parts -> OUT.nwb.parts      all parts at once, to a name that nothing else had
    OUT.nwb.partial -> OUT.nwb                  an earlier file with its own parts was whole until here
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
from collections.abc import Callable, Iterable
from pathlib import Path

from parnwb.errors import StorageError, TargetError
from parnwb.machine.striping import Striping
from parnwb.target.disk import MAX_CALL_BYTES, FileBytes, identity, sync_folder
from parnwb.target.permissions import Permissions, create_file
from parnwb.target.target import Target

PIECE_BYTES = min(MAX_CALL_BYTES, 32 * 1024 * 1024)
OWN_NAME = re.compile(r"\d+\.h5")
PartsOf = Callable[[Path], Iterable[Path]]


class Part:
    """One rank's part. All calls are independent.

    A job that has taken the output from this one writes to the same paths. So nothing is done to what has a path unless
    it is the file that was made here, which stays open until ``close``: no other one can have its inode meanwhile.

    Parameters
    ----------
    working
        Where it is written.
    partial
        Where it is in the end, before the file is complete.
    like
        Whose permissions it gets; None leaves them to the umask.
    """

    def __init__(self, working: Path, partial: Path, like: Permissions | None) -> None:
        self.working, self.partial, self.like = working, partial, like
        self._disk: FileBytes | None = None

    def create(self) -> FileBytes:
        """Create it, empty, and return its bytes; what a job that was killed has left there is replaced.

        Raises
        ------
        TargetError
            The folder takes no files.
        """
        try:
            self.working.unlink(missing_ok=True)
            self._disk = _created(self.working, self.like)
        except OSError as error:
            raise TargetError(
                f"the folder for this rank's part cannot be written to: {error.strerror}",
                where=f"{self.working} on host {socket.gethostname()}",
                remedy="Check that it exists on every host, its permissions and the quota",
            ) from error
        return self._disk

    @property
    def is_ours(self) -> bool:
        """Whether the file that was made here still has the path."""
        return self._disk is not None and _has_path(self._disk, self.working)

    def bring(self, step: Callable[[str], None]) -> None:
        """Move it beside the others and make its name safe; ``step`` is told of each piece.

        Raises
        ------
        TargetError
            Another job has put its own part in the place of this one.
        StorageError
            A file system refuses; the part stays where it was.
        """
        if not self.is_ours:
            raise _replaced(self.working)
        if self.working != self.partial:
            self._move(step)
        sync_folder(self.partial.parent)

    def _move(self, step: Callable[[str], None]) -> None:
        assert self._disk is not None
        try:
            made = _created(self.partial, self.like)
        except FileExistsError as error:  # the folder was empty when this job began
            raise _replaced(self.partial) from error
        try:
            address = 0
            while piece := self._disk.read_at(PIECE_BYTES, address):
                step(f"moving {self.working.name} to its folder, byte {address}")
                made.write_at([piece], address)
                address += len(piece)
            made.sync()
        finally:
            made.close()
        self.remove()

    def remove(self) -> None:
        """Remove it where it was written; another job's stays."""
        if self.is_ours:
            self.working.unlink(missing_ok=True)

    def close(self) -> None:
        """Close its bytes."""
        if self._disk is not None:
            self._disk.close()
            self._disk = None


class SpreadTarget(Target):
    """The final path of a file, its partial twin, and the folder of its parts.

    Parameters
    ----------
    path
        Where the finished file goes.
    parts_of
        Tells in which files the parts of a file are.
    local
        Folder of each host in which ranks write their parts before these are moved; None for beside the file.

    Attributes
    ----------
    partial_parts, parts
        Folder of the parts while they are written, and when the file has its name; the latter is chosen by ``create``.
    """

    def __init__(self, path: Path, parts_of: PartsOf, local: Path | None = None) -> None:
        super().__init__(path)
        self.partial_parts = path.with_name(path.name + ".partial.parts")
        self.parts = path.with_name(path.name + ".parts")
        self._parts_of, self._local = parts_of, local

    def part(self, rank: int, like: Permissions | None = None) -> Part:
        """Return the part of a rank.

        Parameters
        ----------
        rank
            Whose.
        like
            Permissions of the file that is replaced, which the root looks up: a host that looks before the file is
            there may remember for a minute that it is not.
        """
        name = f"{rank:04d}.h5"
        partial = self.partial_parts / name
        if self._local is None:
            return Part(partial, partial, like)
        if not self._local.is_dir():
            raise TargetError(
                "the node-local folder must exist on every host",
                where=f"{self._local} on host {socket.gethostname()}",
                remedy="Create it first, or name one that every host has; $VARIABLES are those of each rank",
            )
        # The same for the same output, so that the next job replaces what one that was killed has left.
        output = hashlib.sha256(os.fsencode(self.path)).hexdigest()[:12]
        return Part(self._local / f"{self.path.name}.{output}.{name}", partial, like)

    def create(self, striping: Striping | None = None) -> bytes:
        """Create the partial file and the folder of parts anew; return as ``Target.create``."""
        leftovers = [] if not self.partial.exists() else self._folders(self.partial) - self._folders(self.path)
        token = super().create(striping)
        for folder in (self.partial_parts, *leftovers):
            _remove(folder)
        try:
            os.mkdir(self.partial_parts)
            if (replaced := Permissions.of(self.path)) is not None:
                os.chmod(self.partial_parts, _of_folder(replaced.mode))
        except OSError as error:
            raise TargetError(
                f"the folder of the parts cannot be created: {error.strerror}",
                where=str(self.partial_parts),
                remedy="Check the permissions of the output folder, or remove what has this name",
            ) from error
        self.parts = self._free_name()
        return token

    def discard(self) -> None:
        """Remove the partial file and its parts if they were created here."""
        is_ours = self._ours is not None
        super().discard()
        if is_ours and not os.path.lexists(self.partial):
            _remove(self.partial_parts)

    def withdraw(self, published: tuple[int, int]) -> None:
        """Remove the finished file with its checksums and parts, if it is the one that is meant."""
        folders = self._folders(self.path) if self.path.exists() else set()
        super().withdraw(published)
        for folder in folders if not os.path.lexists(self.path) else ():
            _remove(folder)

    def publish(self, *, overwrite: bool = False) -> None:
        """Give first the parts their names, then the file; then remove the parts of the file that it replaces.

        Those that the new file names as well stay: it may have been made from the old one, virtual datasets and all.
        """
        replaced = self._folders(self.path) if overwrite else set()
        super().publish(overwrite=overwrite)
        superseded = replaced - {self.parts}
        for folder in superseded - self._folders(self.path) if superseded else ():
            _remove(folder)

    def publish_parts(self) -> None:
        """Give the parts their names and make these safe."""
        try:
            if not any(self.partial_parts.iterdir()):
                self.partial_parts.rmdir()
                return
            os.rename(self.partial_parts, self.parts)
        except OSError as error:
            raise StorageError(
                f"the folder of the parts could not be renamed: {error.strerror}",
                where=str(self.partial_parts),
                remedy=f"All data are there: rename it to {self.parts.name}, then {self.partial.name} to "
                f"{self.path.name}",
            ) from error
        sync_folder(self.path.parent)

    def _free_name(self) -> Path:
        """Return a name that nothing has: another file may have the parts in any folder that is there."""
        number, name = 2, self.path.with_name(self.path.name + ".parts")
        while os.path.lexists(name):
            name, number = self.path.with_name(f"{self.path.name}.parts.{number}"), number + 1
        return name

    def _folders(self, file: Path) -> set[Path]:
        """Return the folders that were made here for a file's parts."""
        own = re.compile(re.escape(self.path.name) + r"\.parts(\.\d+)?")
        folders = {part.parent for part in self._parts_of(file)}
        return {folder for folder in folders if folder.parent == self.path.parent and own.fullmatch(folder.name)}


def _created(path: Path, like: Permissions | None) -> FileBytes:
    """Create a file whose name nothing has, and return its bytes. Independent."""
    descriptor = create_file(path, like)
    try:
        disk = FileBytes(path)
        if identity(disk.status()) != identity(os.fstat(descriptor)):
            disk.close()
            raise _replaced(path)
        return disk
    finally:
        os.close(descriptor)


def _has_path(disk: FileBytes, path: Path) -> bool:
    try:
        return identity(os.lstat(path)) == identity(disk.status())
    except OSError:
        return False


def _replaced(path: Path) -> TargetError:
    return TargetError(
        "a rank's part was replaced or removed by another program while it was written",
        where=f"{path} on host {socket.gethostname()}",
        remedy="Write to one output file from one job at a time",
    )


def _remove(folder: Path) -> None:
    """Remove a folder of parts, and nothing in it that is no part; a link is not followed."""
    if folder.is_symlink():
        return
    with contextlib.suppress(OSError):
        for part in list(folder.iterdir()):
            if OWN_NAME.fullmatch(part.name):
                part.unlink()
        folder.rmdir()


def _of_folder(mode: int) -> int:
    """Return the permissions of a folder that lets those in who may read a file. Independent."""
    return 0o700 | mode | (mode & 0o444) >> 2
